"""The JSON of each API as its owner documents it, and the framing it travels in. No I/O, no logic."""
