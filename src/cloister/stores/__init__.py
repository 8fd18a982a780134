"""The database: tasks, attempts, events, snapshots and sealed secrets, one module per table."""
