"""Check runs and commit statuses: who may make them, and what becomes of them."""

from collections.abc import Mapping
from typing import Any

from cloister.testing.github.hosted import Caller, CheckRunOnForge, Hosted
from cloister.testing.github.refusals import RefusedError, unprocessable

Fields = dict[str, Any]


def create_run(url: str, repository: Hosted, body: Mapping[str, Any], caller: Caller) -> Fields:
    """Make one. RefusedError: a person makes none."""
    _check(repository, body.get("head_sha", ""), caller)
    run = CheckRunOnForge(
        id=repository.id * 10_000 + len(repository.runs) + 1, head=body["head_sha"], name=body["name"]
    )
    _take(run, body)
    repository.runs[run.id] = run
    return run_to_fields(url, repository, run)


def update_run(url: str, repository: Hosted, number: int, body: Mapping[str, Any], caller: Caller) -> Fields:
    """Change one: annotations are added to those that are there. RefusedError."""
    run = repository.runs.get(number)
    if run is None:
        raise RefusedError(404, "Not Found")
    _check(repository, run.head, caller)
    _take(run, body)
    return run_to_fields(url, repository, run)


def create_status(repository: Hosted, commit: str, body: Mapping[str, Any], caller: Caller) -> Fields:
    """Make a status. RefusedError."""
    if not caller.may_write(repository):
        raise RefusedError(403, "Resource not accessible by personal access token")
    if not repository.has(commit):
        raise RefusedError(422, f"No commit found for SHA: {commit}")
    if len(body.get("description") or "") > 140:
        raise unprocessable("description is too long (maximum is 140 characters)")
    status = {"context": "default", "description": None, "target_url": None, **body}
    repository.statuses.append((commit, status))
    return {**status, "id": len(repository.statuses)}


def run_to_fields(url: str, repository: Hosted, run: CheckRunOnForge) -> Fields:
    """Return it in GitHub's words."""
    return {
        "id": run.id,
        "head_sha": run.head,
        "name": run.name,
        "external_id": run.external_id,
        "details_url": run.details_url,
        "html_url": f"{url}/{repository.full_name}/runs/{run.id}",
        "url": f"{url}/api/v3/repos/{repository.full_name}/check-runs/{run.id}",
        "status": run.status,
        "conclusion": run.conclusion,
        "started_at": None,
        "completed_at": None,
        "check_suite": None,
        "app": None if run.log is None else {"id": 15368, "slug": "github-actions", "name": "GitHub Actions"},
        "output": {
            "title": run.output.get("title"),
            "summary": run.output.get("summary"),
            "text": run.output.get("text"),
            "annotations_count": len(run.annotations),
            "annotations_url": f"{url}/api/v3/repos/{repository.full_name}/check-runs/{run.id}/annotations",
        },
        "pull_requests": [],
    }


def _check(repository: Hosted, commit: str, caller: Caller) -> None:
    if caller.app is None:
        raise RefusedError(403, "You must authenticate via a GitHub App.")
    if caller.app.permissions.get("checks") != "write":
        raise RefusedError(403, "Resource not accessible by integration")
    if not repository.has(commit):
        raise RefusedError(422, f"No commit found for SHA: {commit}")


def _take(run: CheckRunOnForge, body: Mapping[str, Any]) -> None:
    run.external_id = body.get("external_id", run.external_id)
    run.details_url = body.get("details_url", run.details_url)
    run.conclusion = body.get("conclusion", run.conclusion)
    run.status = "completed" if "conclusion" in body else body.get("status", run.status)
    output = dict(body.get("output", {}))
    run.annotations += output.pop("annotations", [])
    run.output = {**run.output, **output}
    run.told.append(run.status)
