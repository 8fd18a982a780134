"""Programs that do the work."""
