"""Makes `api.json` out of GitHub's published OpenAPI description (npm: @octokit/openapi, of the version below).

`python -m cloister.testing.github.trim package/generated/api.github.com.json > api.json` writes it anew.
"""

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PACKAGE = "@octokit/openapi"
VERSION = "23.0.2"
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "/app": ("get",),
    "/app-manifests/{code}/conversions": ("post",),
    "/app/hook/config": ("get",),
    "/app/hook/deliveries": ("get",),
    "/app/installations": ("get",),
    "/app/installations/{installation_id}/access_tokens": ("post",),
    "/installation/repositories": ("get",),
    "/repos/{owner}/{repo}": ("get",),
    "/repos/{owner}/{repo}/actions/jobs/{job_id}/logs": ("get",),
    "/repos/{owner}/{repo}/branches": ("get",),
    "/repos/{owner}/{repo}/branches/{branch}": ("get",),
    "/repos/{owner}/{repo}/collaborators/{username}/permission": ("get",),
    "/repos/{owner}/{repo}/installation": ("get",),
    "/repos/{owner}/{repo}/issues/comments/{comment_id}": ("get", "patch"),
    "/repos/{owner}/{repo}/issues/comments/{comment_id}/reactions": ("post",),
    "/repos/{owner}/{repo}/issues/{issue_number}": ("get",),
    "/repos/{owner}/{repo}/issues/{issue_number}/assignees": ("post",),
    "/repos/{owner}/{repo}/issues/{issue_number}/comments": ("get", "post"),
    "/repos/{owner}/{repo}/issues/{issue_number}/labels": ("post",),
    "/repos/{owner}/{repo}/issues/{issue_number}/reactions": ("post",),
    "/repos/{owner}/{repo}/pulls": ("get", "post"),
    "/repos/{owner}/{repo}/pulls/comments/{comment_id}": ("get", "patch"),
    "/repos/{owner}/{repo}/pulls/comments/{comment_id}/reactions": ("post",),
    "/repos/{owner}/{repo}/pulls/{pull_number}": ("get", "patch"),
    "/repos/{owner}/{repo}/pulls/{pull_number}/comments": ("get",),
    "/repos/{owner}/{repo}/pulls/{pull_number}/comments/{comment_id}/replies": ("post",),
    "/repos/{owner}/{repo}/pulls/{pull_number}/files": ("get",),
    "/repos/{owner}/{repo}/pulls/{pull_number}/merge": ("put",),
    "/repos/{owner}/{repo}/pulls/{pull_number}/reviews": ("get", "post"),
    "/repos/{owner}/{repo}/pulls/{pull_number}/reviews/{review_id}": ("get",),
    "/repos/{owner}/{repo}/check-runs": ("post",),
    "/repos/{owner}/{repo}/check-runs/{check_run_id}": ("get", "patch"),
    "/repos/{owner}/{repo}/check-runs/{check_run_id}/annotations": ("get",),
    "/repos/{owner}/{repo}/commits/{ref}/check-runs": ("get",),
    "/repos/{owner}/{repo}/commits/{ref}/statuses": ("get",),
    "/repos/{owner}/{repo}/statuses/{sha}": ("post",),
    "/user": ("get",),
    "/user/repos": ("get",),
    "/users/{username}": ("get",),
}
"""What Cloister and its tests ask."""

_WORDS = ("description", "summary", "example", "examples", "externalDocs", "tags")


def trim(description: Mapping[str, Any]) -> dict[str, Any]:
    """Return these operations alone, with what they refer to, without words, as JSON Schema has it."""
    paths = {
        path: {key: value for key, value in description["paths"][path].items() if key in (*methods, "parameters")}
        for path, methods in OPERATIONS.items()
    }
    kept: dict[str, Any] = {"openapi": description["openapi"], "version": description["info"]["version"]}
    kept["paths"] = _plain(paths)
    kept["components"] = {}
    wanted = list(_references(kept["paths"]))
    while wanted:
        _, _, kind, name = wanted.pop().split("/")
        of_kind = kept["components"].setdefault(kind, {})
        if name not in of_kind:
            of_kind[name] = _plain(description["components"][kind][name])
            wanted += _references(of_kind[name])
    return kept


def _references(value: object) -> Iterator[str]:
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "$ref" and isinstance(below, str):
                yield below
            else:
                yield from _references(below)
    elif isinstance(value, list):
        for below in value:
            yield from _references(below)


def _plain(value: Any, *, names: bool = False) -> Any:
    """Leave words out, but not the properties that are called so; say `nullable` as JSON Schema does."""
    if isinstance(value, list):
        return [_plain(below) for below in value]
    if not isinstance(value, dict):
        return value
    if names:
        return {key: _plain(below) for key, below in value.items()}
    kept = {
        key: _plain(below, names=key == "properties")
        for key, below in value.items()
        if key not in _WORDS and key != "nullable" and not key.startswith("x-")
    }
    if not value.get("nullable"):
        return kept
    if isinstance(kept.get("type"), str) and "enum" not in kept:
        return {**kept, "type": [kept["type"], "null"]}
    return {"anyOf": [kept, {"type": "null"}]}


if __name__ == "__main__":
    json.dump(trim(json.loads(Path(sys.argv[1]).read_bytes())), sys.stdout, indent=1, sort_keys=True)
    sys.stdout.write("\n")
