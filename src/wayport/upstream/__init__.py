"""The only outgoing LLM I/O."""
