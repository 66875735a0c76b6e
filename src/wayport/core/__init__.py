"""The vocabulary that every other package speaks. No I/O."""
