"""The worker's own routes: one file per group, listed in server/routes.py."""
