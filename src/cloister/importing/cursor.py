"""Cursor's `.cursor/environment.json`: how the machine of a cloud agent is made ready.

https://cursor.com/schemas/environment.schema.json
"""

from cloister.errors import UsageError
from cloister.importing.documents import parse_json
from cloister.importing.draft import Draft
from cloister.importing.script import Section, assemble

_NO_MEANING = {
    "agentCanUpdateSnapshot": "what an agent leaves on its disk is never kept for others",
    "build": "images are not built from a Dockerfile; build it elsewhere, then: cloister image pull REFERENCE",
    "env": "its values are Cursor's; write them into [variables]",
    "name": "a name would select another vault; add `name` yourself",
    "persistedDirectories": "the whole disk after setup is kept",
    "ports": "nothing outside reaches a sandbox; a service's `ready` may name its port",
    "repositoryDependencies": "a sandbox has one repository; clone others in [setup] script",
    "snapshot": "a disk of Cursor's; what it holds has to be installed by [setup] script",
    "user": "everything runs as root of its own sandbox",
}


def read(raw: bytes, path: str, workspace: str) -> Draft:
    """Return what the file says. UsageError when it cannot be read."""
    document = parse_json(raw, path)
    draft = Draft()
    install = _text(document, "install", path)
    _take_services(document, path, draft)
    if install.strip():
        draft.take("install", "setup.script, and setup.maintenance, since it runs on a kept disk too")
        beside = "\n".join(service.text for service in draft.services.values())
        draft.script = draft.maintenance = assemble([Section(title=f"{path}: install", body=install)], also=beside)
    for key in document:
        if key not in ("install", "start", "terminals", "$schema"):
            draft.leave(key, _NO_MEANING.get(key, "nothing here has this meaning"))
    return draft


def _take_services(document: dict[str, object], path: str, draft: Draft) -> None:
    start = _text(document, "start", path)
    if "docker" in start:
        draft.leave("start", f"`{start}`: there is no Docker in a sandbox")
    elif start.strip():
        draft.set_service("start", f"set -e\n{start.strip()}\nexec sleep infinity\n", "start")
    terminals = document.get("terminals", [])
    for number, terminal in enumerate(terminals if isinstance(terminals, list) else [], start=1):
        if not isinstance(terminal, dict):
            raise UsageError(f"{path}: terminals: number {number} is no object")
        command = _text(terminal, "command", path)
        where = f"terminals, number {number}"
        if "docker" in command:
            draft.leave(where, f"`{command}`: there is no Docker in a sandbox")
        elif command.strip():
            draft.set_service(_text(terminal, "name", path) or f"terminal-{number}", command.strip(), where)


def _text(owner: dict[str, object], key: str, path: str) -> str:
    value = owner.get(key, "")
    if not isinstance(value, str):
        raise UsageError(f"{path}: {key} is no text")
    return value
