"""The HTTP API: what the command line, the Python client and other programs speak."""
