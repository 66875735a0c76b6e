"""Translation between dialects: pure functions around one neutral form. No await, clock, config or log."""
