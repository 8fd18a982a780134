"""Files that a browser saves, and never shows as a page."""

from urllib.parse import quote


def saved_as(name: str) -> dict[str, str]:
    """Return the header that lets a browser save an answer under that name (RFC 6266)."""
    return {"Content-Disposition": f"attachment; filename*=UTF-8''{quote(name, safe='', errors='replace')}"}
