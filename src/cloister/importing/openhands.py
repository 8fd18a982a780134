"""OpenHands' `.openhands/setup.sh`: a script that it runs each time it begins to work on a repository."""

import re

from cloister.errors import UsageError
from cloister.importing.documents import decode
from cloister.importing.draft import Draft
from cloister.importing.script import Section, assemble

_EXPORT = re.compile(r"^[ \t]*(?:export|source|\.)[ \t]", re.MULTILINE)
_SHEBANG = re.compile(r"^#!.*\n")


def read(raw: bytes, path: str, workspace: str) -> Draft:
    """Return what the file says. UsageError when it is not text."""
    text = decode(raw, path)
    if not text.strip():
        raise UsageError(f"{path} is empty")
    if "\x00" in text:
        raise UsageError(f"{path} holds a NUL, so it is no script")
    draft = Draft()
    draft.script = assemble([Section(title=path, body=_SHEBANG.sub("", text))])
    draft.take(path, "setup.script, as a copy: what is kept of setup is told apart by its text")
    if _EXPORT.search(text):
        hint = "write variables into [variables], or append their exports to ~/.bashrc"
        draft.leave(path, f"what it exports ends with the script, and the agent does not see it; {hint}")
    return draft
