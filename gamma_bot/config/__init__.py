"""``gamma.yml``: its schema, its loader, and errors with line and column."""
