"""One file for each migration: `v0001_what_it_brings.py`, whose revision is its number."""
