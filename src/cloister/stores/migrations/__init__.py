"""How the tables came to be, step by step (Alembic)."""

NEWEST = "0028"
"""The revision that this version of Cloister works with."""
