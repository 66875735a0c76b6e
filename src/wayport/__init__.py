"""Wayport: a self-hosted gateway to every LLM. Importing this does no work."""

__version__ = "0.1.0"
