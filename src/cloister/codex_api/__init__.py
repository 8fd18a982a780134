"""The API that the `codex cloud` client speaks, as far as it uses it (observed with 0.144 and 0.150)."""
