"""Facts about models as data: prices, windows, capabilities. Offline."""
