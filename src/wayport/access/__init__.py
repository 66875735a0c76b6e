"""Who may: keys, principals, limits, budgets."""
