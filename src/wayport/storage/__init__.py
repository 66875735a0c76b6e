"""Tables, migrations and engines: SQLite by default, PostgreSQL."""
