"""Cloister runs coding-agent tasks in sandboxes of their own, on your own machines."""
