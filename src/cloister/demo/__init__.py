"""The tour: a real project with a seeded bug, and a task that fixes it in a sandbox."""
