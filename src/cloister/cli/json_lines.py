"""Tasks and events as JSON: what `--json` prints."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from cloister.event_line import event_to_line
from cloister.model.choice import choose
from cloister.model.event import RecordedEvent, TaskFinished
from cloister.model.image import Image
from cloister.model.inbox import ForgeDelivery
from cloister.model.model_usage import UsageTotal
from cloister.model.pack import ListedAgent
from cloister.model.sandbox import Change
from cloister.model.snapshot import SnapshotRecord
from cloister.model.stored_environment import StoredEnvironment
from cloister.model.task import AttemptStatus, Outcome, TaskStatus, Turn

if TYPE_CHECKING:
    from cloister.environments import EnvironmentReport
    from cloister.importing import ImportedEnvironment
    from cloister.preview import CacheAnswer, Preview

Fields = dict[str, object]


def to_json(value: object) -> str:
    """Return one line of ASCII, so that nothing a sandbox wrote can reach a terminal as it is."""
    return json.dumps(value, ensure_ascii=True, separators=(", ", ": "))


def finished_to_json(recorded: RecordedEvent, status: TaskStatus) -> Fields:
    """Return `task_finished` with what each attempt left."""
    assert isinstance(recorded.event, TaskFinished)
    attempts = [attempt_to_json(attempt) for attempt in status.attempts]
    return {**event_to_line(recorded), "attempts": attempts, "choice": choice_to_json(status.attempts)}


def task_to_json(status: TaskStatus, *, diffs: bool = False) -> Fields:
    """Return a task, with its attempts' diffs when asked."""
    task = status.task
    return {
        "task": task.id,
        "state": status.state,
        "verdict": status.verdict,
        "repository": task.repository.address,
        "ref": task.revision.ref,
        "commit": task.revision.commit,
        "environment": task.environment.name,
        "environment_source": asdict(task.environment_source) if task.environment_source else None,
        "agent": task.agent,
        "command": task.command,
        "prompt": task.prompt,
        "ask": task.ask,
        "review": asdict(task.review) if task.review else None,
        "files": [asdict(file) for file in task.files],
        "accepted_at": task.accepted_at.isoformat(),
        "asked_by": task.asked_by,
        "priority": task.priority,
        "archived": status.archived,
        "pull_request": None if status.pull_request is None else asdict(status.pull_request),
        "queue_position": status.queue_position,
        "held_by": status.held_by,
        "finished_at": status.finished_at.isoformat() if status.finished_at else None,
        "attempts": [attempt_to_json(attempt, diff=diffs) for attempt in status.attempts],
        "choice": choice_to_json(status.attempts),
        "turn": status.last_turn.number,
        "turns": [turn_to_json(turn) for turn in status.turns],
    }


def turn_to_json(turn: Turn) -> Fields:
    """Return a turn, with its attempts but without their diffs."""
    return {
        "turn": turn.number,
        "prompt": turn.prompt,
        "accepted_at": turn.accepted_at.isoformat(),
        "continues": turn.continues,
        "files": [asdict(file) for file in turn.files],
        "attempts": [attempt_to_json(attempt, diff=False) for attempt in turn.attempts],
        "choice": choice_to_json(turn.attempts),
    }


def choice_to_json(attempts: Sequence[AttemptStatus]) -> Fields:
    """Return which attempt is the best one, and why; no reason where there was nothing to choose from."""
    choice = choose(attempts)
    return {"attempt": choice.attempt.number, "reason": choice.reason or None}


def attempt_to_json(status: AttemptStatus, *, diff: bool = True) -> Fields:
    """Return an attempt and how it ended."""
    fields: Fields = {"attempt": status.attempt, "number": status.number, "state": status.state}
    if status.outcome is not None:
        fields |= _outcome_to_json(status.outcome, diff=diff)
    return fields


def change_to_json(change: Change) -> Fields:
    """Return a change. Bytes of it that are not UTF-8 become lone surrogates, as Python reads them (PEP 383)."""
    stats = change.stats
    return {
        "diff": change.diff.decode(errors="surrogateescape"),
        "diff_stats": {"files": stats.files, "added": stats.added, "removed": stats.removed},
        "flags": [
            {"kind": flag.kind.name.lower(), "path": flag.path, "detail": flag.detail, "more": flag.more}
            for flag in change.flags
        ],
    }


def image_to_json(image: Image) -> Fields:
    """Return what is known of an image."""
    return {
        "name": image.name,
        "digest": image.digest,
        "created_at": image.created_at.isoformat(),
        "size_bytes": image.size_bytes,
        "packages": dict(image.packages),
        "source": image.source,
        "variables": dict(image.variables),
        "toolchains": [asdict(toolchain) for toolchain in image.toolchains],
        "package_managers": dict(image.package_managers),
    }


def agent_to_json(agent: ListedAgent) -> Fields:
    """Return an agent, and what of it is installed."""
    return {**asdict(agent), "installed_at": agent.installed_at.isoformat() if agent.installed_at else None}


def snapshot_to_json(record: SnapshotRecord) -> Fields:
    """Return what is known of a snapshot."""
    return {
        "key": record.key,
        "environment": record.environment,
        "repository": record.repository,
        "commit": record.commit,
        "created_at": record.created_at.isoformat(),
        "expires_at": record.expires_at.isoformat(),
        "last_used_at": record.last_used_at.isoformat() if record.last_used_at else None,
        "size_bytes": record.size_bytes,
        "digest": f"sha256:{record.digest}" if record.digest else None,
        "ref": record.ref,
        "below": record.below,
    }


def stored_to_json(stored: StoredEnvironment) -> Fields:
    """Return what is known of a version of a stored environment."""
    return {
        "name": stored.name,
        "version": stored.version,
        "digest": f"sha256:{stored.digest}",
        "origin": stored.origin,
        "created_at": stored.created_at.isoformat(),
        "deleted_at": stored.deleted_at.isoformat() if stored.deleted_at else None,
    }


def report_to_json(report: "EnvironmentReport") -> Fields:
    """Return a version of a stored environment with its text, and what that says."""
    environment = report.environment
    uses = environment.secrets if environment else ()
    return {
        **stored_to_json(report.stored),
        "text": report.stored.text,
        "problem": report.problem or None,
        "image": environment.image if environment else None,
        "agent": environment.agent if environment else None,
        "secrets": [{"name": use.name, "has_value": use.name not in report.without_value} for use in uses],
    }


def preview_to_json(preview: "Preview") -> Fields:
    """Return how a repository would be made ready."""
    scripts, toolchains = preview.needs.scripts, preview.needs.toolchains
    return {
        "environment": preview.environment.name,
        "environment_source": asdict(preview.source),
        "image": preview.environment.image,
        "commit": preview.revision.commit,
        "steps": [asdict(step) for step in scripts.plan.steps],
        "versions": [
            {"language": it.toolchain.language, "version": it.toolchain.version, "source": it.source}
            for it in toolchains.choices
        ],
        "notes": [*toolchains.notes, *scripts.plan.notes],
        "differing": list(scripts.differing),
        "setup": scripts.setup,
        "maintenance": scripts.maintenance,
    }


def delivery_to_json(delivery: ForgeDelivery) -> Fields:
    """Return what a forge told of, and what came of it."""
    return {
        **asdict(delivery),
        "arrived_at": delivery.arrived_at.isoformat(),
        "next_at": delivery.next_at.isoformat() if delivery.next_at else None,
    }


def imported_to_json(imported: "ImportedEnvironment", *, written: Path | None) -> Fields:
    """Return the environment file that was made, and what was made of each line of its source."""
    return {
        "source": imported.source,
        "others": list(imported.others),
        "taken": [asdict(note) for note in imported.taken],
        "left": [asdict(note) for note in imported.left],
        "secrets": list(imported.secrets),
        "text": imported.text,
        "written": str(written) if written else None,
    }


def cache_answer_to_json(answer: "CacheAnswer") -> Fields:
    """Return whether a kept disk fits, and why not."""
    missed = answer.last_miss
    return {
        "key": answer.recipe.key,
        "hit": answer.fit.reason is None,
        "reason": answer.fit.reason,
        "nearest": snapshot_to_json(answer.fit.nearest) if answer.fit.nearest else None,
        "own": asdict(answer.own) if answer.own else None,
        "parts": dict(answer.recipe.parts),
        "differing": sorted(answer.differing) if answer.fit.nearest else [],
        "last_miss": {"task": missed.task, "at": missed.at.isoformat(), "reason": missed.reason} if missed else None,
    }


def usage_to_json(total: UsageTotal) -> Fields:
    """Return what the calls of a model used together."""
    return {"calls": total.calls, **asdict(total.usage), "cost": total.cost, "estimated": total.estimated}


def _outcome_to_json(outcome: Outcome, *, diff: bool) -> Fields:
    change = outcome.change
    timings: Mapping[str, float | None] = {
        **{str(phase): seconds for phase, seconds in outcome.seconds.items()},
        "accepted_to_agent_seconds": outcome.accepted_to_agent_seconds,
    }
    changed = change_to_json(change) if change is not None else {"diff": None, "diff_stats": None, "flags": []}
    if not diff:
        del changed["diff"]
    return {
        "verdict": outcome.verdict,
        "reason": outcome.reason,
        "hint": outcome.hint,
        "exit_status": outcome.exit_status,
        "review": asdict(outcome.review) if outcome.review else None,
        "message": outcome.message,
        "artifacts": [asdict(artifact) for artifact in outcome.artifacts],
        "checks": [asdict(result) for result in outcome.checks],
        "usage": usage_to_json(outcome.usage) if outcome.usage else None,
        "timings": timings,
        **changed,
    }
