"""Providers: whom we can call. The OpenAI-compatible hundred are rows of one data file; one with behaviour has a file."""
