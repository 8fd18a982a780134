"""Secrets: sealed at rest, opened for one phase, masked in what is shown."""
