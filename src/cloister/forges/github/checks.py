"""Results of checks at GitHub: check runs for an app, commit statuses for a person's token, who may make no others."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from cloister.forges.github.client import in_our_words
from cloister.forges.github.host import GitHubHost
from cloister.forges.github.job_logs import JobLogs
from cloister.model.check_report import CHECKS_NAME, Annotation, CheckReport, Conclusion, FailedCheck
from cloister.model.sandbox import Commit
from cloister.model.task import Repository
from cloister.protocols import CheckBoard

READ: Mapping[str, str] = {"checks": "read", "metadata": "read"}
PERMISSIONS: Mapping[str, str] = {"checks": "write", "metadata": "read"}
MOST_AT_ONCE = 50
"""Annotations in one request (`Create a check run`)."""
FAILED = ("failure", "timed_out")
_LONGEST_DESCRIPTION = 140
_LONGEST_TAIL = 8000
_MOST_FAILED = 20
_MOST_LOGS = 4
_ACTIONS = "github-actions"
_STATES = {Conclusion.SUCCESS: "success", Conclusion.FAILURE: "failure", Conclusion.NEUTRAL: "error"}


class GitHubChecks:
    """`CheckBoard` at one GitHub."""

    def __init__(self, host: GitHubHost, logs: JobLogs) -> None:
        self._host = host
        self._logs = logs

    async def report(self, repository: Repository, report: CheckReport) -> None:
        """See `protocols.CheckBoard`."""
        name, token = await self._host.login_for(repository, PERMISSIONS)
        async with in_our_words(f"checks of {report.commit[:12]} in {name}"):
            if self._host.is_app:
                await self._run(name, token, report)
            else:
                await self._status(name, token, report)

    async def failed(self, repository: Repository, commit: Commit) -> Sequence[FailedCheck]:
        """See `protocols.CheckBoard`. Only jobs of GitHub Actions have logs at GitHub; the first few are looked at."""
        name, token = await self._host.login_for(repository, READ)
        found: list[tuple[Mapping[str, Any], FailedCheck]] = []
        async with in_our_words(f"checks of {commit[:12]} in {name}"):
            path = f"/repos/{name}/commits/{commit}/check-runs?filter=latest&per_page=100"
            async for run in self._host.client.getiter(path, oauth_token=token, iterable_key="check_runs"):
                if run["conclusion"] not in FAILED or run["name"] == CHECKS_NAME:
                    continue
                places: Sequence[Mapping[str, Any]] = ()
                if run["output"]["annotations_count"]:
                    place = f"/repos/{name}/check-runs/{run['id']}/annotations?per_page={MOST_AT_ONCE}"
                    places = await self._host.client.getitem(place, oauth_token=token)
                found.append((run, _failed(run, places)))
                if len(found) == _MOST_FAILED:
                    break
        jobs = [run["id"] for run, _ in found if (run["app"] or {}).get("slug") == _ACTIONS][:_MOST_LOGS]
        logs = {job: await self._logs.tail(repository, job) for job in jobs}  # a job's number is its check run's
        return [replace(failed, log=logs.get(run["id"], "")) for run, failed in found]

    async def _status(self, name: str, token: str | None, report: CheckReport) -> None:
        """The newest of its context counts."""
        data = {
            "state": "pending" if report.conclusion is None else _STATES[report.conclusion],
            "context": CHECKS_NAME.lower(),
            "description": report.title[:_LONGEST_DESCRIPTION],
            "target_url": report.address,
        }
        await self._host.client.post(f"/repos/{name}/statuses/{report.commit}", data=data, oauth_token=token)

    async def _run(self, name: str, token: str | None, report: CheckReport) -> None:
        """Find the run or make it, then end it; annotations are added in batches, and once."""
        run = await self._find(name, token, report)
        if run is None:
            data = {"head_sha": report.commit, "external_id": report.id, **_running(report)}
            run = await self._host.client.post(f"/repos/{name}/check-runs", data=data, oauth_token=token)
        elif report.conclusion is None or run["status"] == "completed":
            return
        if report.conclusion is None:
            return
        path = f"/repos/{name}/check-runs/{run['id']}"
        told = run["output"]["annotations_count"]
        for batch in _batched(report.annotations[told:]):
            data = {**_running(report), "output": {**_output(report), "annotations": [_annotation(it) for it in batch]}}
            await self._host.client.patch(path, data=data, oauth_token=token)
        ended = {"name": CHECKS_NAME, "status": "completed", "conclusion": report.conclusion.value}
        await self._host.client.patch(path, data={**ended, "output": _output(report)}, oauth_token=token)

    async def _find(self, name: str, token: str | None, report: CheckReport) -> Mapping[str, Any] | None:
        path = f"/repos/{name}/commits/{report.commit}/check-runs?check_name={CHECKS_NAME}&filter=all&per_page=100"
        async for run in self._host.client.getiter(path, oauth_token=token, iterable_key="check_runs"):
            if run["external_id"] == report.id:
                found: Mapping[str, Any] = run
                return found
        return None


_: type[CheckBoard] = GitHubChecks


def _failed(run: Mapping[str, Any], places: Sequence[Mapping[str, Any]]) -> FailedCheck:
    output = run["output"]
    said = [output["title"], output["summary"], (output["text"] or "")[-_LONGEST_TAIL:]]
    named = [f"{it['path']}:{it['start_line']}: {it['message']}" for it in places]
    return FailedCheck(
        name=run["name"],
        conclusion=run["conclusion"],
        address=run["html_url"] or "",
        text="\n".join(part for part in (*said, *named) if part)[: 2 * _LONGEST_TAIL],
    )


def _batched(annotations: Sequence[Annotation]) -> Iterator[Sequence[Annotation]]:
    for begin in range(0, len(annotations), MOST_AT_ONCE):
        yield annotations[begin : begin + MOST_AT_ONCE]


def _running(report: CheckReport) -> Mapping[str, object]:
    address = {} if report.address is None else {"details_url": report.address}
    return {"name": CHECKS_NAME, "status": "in_progress", **address}


def _output(report: CheckReport) -> Mapping[str, object]:
    text = {"text": report.text} if report.text else {}
    return {"title": report.title, "summary": report.summary, **text}


def _annotation(it: Annotation) -> Mapping[str, object]:
    return {
        "path": it.path,
        "start_line": it.line,
        "end_line": it.line,
        "annotation_level": it.level.value,
        "title": it.title,
        "message": it.message,
    }
