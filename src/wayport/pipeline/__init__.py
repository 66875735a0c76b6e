"""THE REQUEST PATH. Newcomers start in pipeline.py."""
