"""The web pages: rendered here, from what the front door answers; scripts only make them livelier."""
