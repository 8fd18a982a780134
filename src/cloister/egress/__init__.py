"""Egress: an unprivileged process of its own that decides who may be reached, and carries the bytes."""
