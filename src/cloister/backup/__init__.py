"""A copy of what cannot be made again, while the server runs, and a state directory from it."""
