"""Attempts that wait for a worker, and what workers write about them."""
