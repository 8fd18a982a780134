"""Development containers: `devcontainer.json` (https://containers.dev/implementors/json_reference/)."""

import re
import shlex

from cloister.importing.devcontainer_features import take_feature
from cloister.importing.documents import parse_json
from cloister.importing.draft import Draft
from cloister.importing.script import Section, assemble
from cloister.importing.versions import version_of_image

_ONCE = ("onCreateCommand", "updateContentCommand", "postCreateCommand")
"""Run when the container is made, in this order."""
_MAINTENANCE = "updateContentCommand"
_EDITORS = "an editor's"
_NO_PORTS = "nothing outside reaches a sandbox; a service's `ready` may name its port"
_RUNTIME = "sandboxes are not started by Docker; limits are those of [limits]"
_NO_MEANING = {
    "appPort": _NO_PORTS,
    "build": "images are not built from a Dockerfile; build it elsewhere, then: cloister image pull REFERENCE",
    "capAdd": _RUNTIME,
    "containerUser": "everything runs as root of its own sandbox",
    "context": "images are not built from a Dockerfile",
    "customizations": _EDITORS,
    "dockerComposeFile": "containers do not run in a sandbox; install programs in [setup], start them in [services]",
    "dockerFile": "images are not built from a Dockerfile; build it elsewhere, then: cloister image pull REFERENCE",
    "extensions": _EDITORS,
    "forwardPorts": _NO_PORTS,
    "hostRequirements": "a machine is not chosen here; write what a task may use into [limits]",
    "init": _RUNTIME,
    "initializeCommand": "it is for the host, where nothing of a repository runs",
    "mounts": "nothing of the host is in a sandbox; the disk after setup is kept",
    "name": "a name would select another vault; add `name` yourself",
    "otherPortsAttributes": _NO_PORTS,
    "overrideCommand": _RUNTIME,
    "overrideFeatureInstallOrder": "features are not installed",
    "portsAttributes": _NO_PORTS,
    "postAttachCommand": "it is for whoever attaches an editor",
    "postStartCommand": "nothing runs at each start but [services]; put it there, or into [setup] script",
    "privileged": _RUNTIME,
    "remoteUser": "everything runs as root of its own sandbox",
    "runArgs": _RUNTIME,
    "runServices": "containers do not run in a sandbox",
    "secrets": 'give those that setup needs: `NAME = { mode = "setup" }` in [secrets], and cloister secret set',
    "securityOpt": _RUNTIME,
    "service": "containers do not run in a sandbox",
    "settings": _EDITORS,
    "shutdownAction": _RUNTIME,
    "updateRemoteUserUID": "everything runs as root of its own sandbox",
    "userEnvProbe": _EDITORS,
    "waitFor": "an agent starts when setup is over",
    "workspaceFolder": "the work tree is at /workspace/NAME",
    "workspaceMount": "the work tree is at /workspace/NAME",
}
_LOOKED_AT = {"$schema", "containerEnv", "features", "image", "remoteEnv", *_ONCE}
_PLACEHOLDER = re.compile(r"\$\{([A-Za-z]+)(?::([^:}]*)(?::([^}]*))?)?\}")


def read(raw: bytes, path: str, workspace: str) -> Draft:
    """Return what the file says. UsageError when it cannot be read."""
    document = parse_json(raw, path)
    draft = Draft()
    _take_image(document.get("image"), draft)
    features = document.get("features")
    for name, options in (features if isinstance(features, dict) else {}).items():
        take_feature(str(name), options, draft)
    for key in ("containerEnv", "remoteEnv"):
        table = document.get(key)
        for name, value in (table if isinstance(table, dict) else {}).items():
            _take_variable(str(name), value, f"{key}.{name}", workspace, draft)
    sections = {key: _sections(key, document[key], workspace, draft) for key in _ONCE if key in document}
    draft.script = assemble([section for found in sections.values() for section in found])
    draft.maintenance = assemble(sections.get(_MAINTENANCE, []))
    if draft.maintenance:
        draft.take(_MAINTENANCE, "setup.maintenance too, since it runs again when the content changes")
    for key, value in document.items():
        if key not in _LOOKED_AT and value not in ("none", None, [], {}):
            draft.leave(key, _NO_MEANING.get(key, "nothing here has this meaning"))
    return draft


def _take_image(image: object, draft: Draft) -> None:
    if not isinstance(image, str):
        return
    known = version_of_image(image)
    if known is not None:
        draft.set_version(*known, where=f"image {image}")
    hint = f"to start from it: cloister image pull {image}, and image = ... in this file"
    draft.leave("image", f"{image}: images come to a machine by its administrator alone; {hint}")


def _take_variable(name: str, value: object, where: str, workspace: str, draft: Draft) -> None:
    if value is None:
        draft.leave(where, "takes a variable away, which nothing here does")
        return
    text, unknown = _resolve(str(value), workspace)
    if unknown:
        how = "give it with --var, or, when it is a secret, with cloister secret set"
        draft.leave(where, f"{unknown} is of the developer's own machine or container; {how}")
    else:
        draft.set_variable(name, text, where)


def _sections(key: str, value: object, workspace: str, draft: Draft) -> list[Section]:
    """Return the commands of a lifecycle key, which is a command line, its words, or a table of both.

    Those of a table run at once there, and one after the other here.
    """
    table = value if isinstance(value, dict) else {"": value}
    sections = []
    for name, command in table.items():
        where = f"{key}.{name}" if name else key
        words = [command] if isinstance(command, str) else command
        if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
            draft.leave(where, "is neither a command line nor a list of words")
            continue
        resolved = [_resolve(word, workspace) for word in words]
        unknown = next((found for _, found in resolved if found), None)
        text = resolved[0][0] if isinstance(command, str) else shlex.join(word for word, _ in resolved)
        if unknown:
            draft.leave(where, f"{unknown} is of the developer's own machine or container")
        elif text.strip():
            draft.take(where, "a part of setup.script")
            sections.append(Section(title=where, body=text, options=["set +o pipefail"] if "|" in text else []))
    return sections


def _resolve(text: str, workspace: str) -> tuple[str, str | None]:
    """Fill in what is known; return the text, and the first placeholder that is not."""
    known = {
        "containerWorkspaceFolder": workspace,
        "containerWorkspaceFolderBasename": workspace.rpartition("/")[2],
        "localWorkspaceFolderBasename": workspace.rpartition("/")[2],
    }
    unknown: list[str] = []

    def fill_in(found: re.Match[str]) -> str:
        if found[1] in ("localEnv", "env", "containerEnv") and found[3] is not None:
            return found[3]
        if found[1] in known:
            return known[found[1]]
        if found[1] in ("localEnv", "env", "containerEnv", "localWorkspaceFolder", "devcontainerId"):
            unknown.append(found[0])
        return found[0]

    filled = _PLACEHOLDER.sub(fill_in, text)
    return filled, unknown[0] if unknown else None
