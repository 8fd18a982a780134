"""Where repositories live: one module or folder per kind of forge."""
