"""The admin API's routers, thin."""
