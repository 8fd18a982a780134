"""A GitHub of one's own for tests: its REST subset that Cloister uses, in front of real bare repositories."""
