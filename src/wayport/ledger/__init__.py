"""How much: pricing and the journal."""
