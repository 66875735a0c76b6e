"""The control process: configuration, database, journal writer, leases, admin API."""
