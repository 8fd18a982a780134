"""Shows what a record says, in lines that a person reads."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from cloister.cli.terminal import neutralize_line
from cloister.model.task import Verdict
from cloister.narration import more_to_text, stats_to_text, style_of

_SHOWN = 12
_MOST_DECISIONS_SHOWN = 10


def record_lines(statement: Mapping[str, object], key_id: str) -> list[Text]:
    """Return the lines. `key_id` is that of the key that verified it."""
    said: Mapping[str, Any] = statement["predicate"]  # type: ignore[assignment]
    lines = [
        Text(f"{name:<13}{neutralize_line(text)}", style=style)
        for name, text, style in (*_of_task(said), *_of_phases(said), *_of_result(said))
    ]
    return [*lines, Text(f"{'signed':<13}by {key_id[:16]} at {said['at']}: valid", style="green")]


Line = tuple[str, str, str]


def _of_task(said: Mapping[str, Any]) -> Iterator[Line]:
    task, attempt, repository, environment = (said[key] for key in ("task", "attempt", "repository", "environment"))
    retries = f", taken over {attempt['retry']} times" if attempt["retry"] else ""
    yield "attempt", f"{attempt['number']} of {task['attempts']} of task {task['id']}{retries}", ""
    yield "repository", f"{repository['address']} at {repository['ref']} ({repository['commit'][:_SHOWN]})", ""
    image = environment["image"]
    digest = f" ({image['sha256'][:_SHOWN]})" if image["sha256"] else ""
    yield "environment", f"{environment['name']}, image {image['name']}{digest}", ""
    if said["snapshot"]:
        how = "hit" if said["snapshot"]["hit"] else f"none fits ({said['snapshot']['reason']})"
        yield "snapshot", f"{said['snapshot']['key'][:_SHOWN]}: {how}", ""
        if disk := said["snapshot"].get("stands_on"):
            what = f"sha256 {disk['sha256'][:_SHOWN]}" if disk["sha256"] else "its digest was not computed yet"
            yield "stood on", f"{disk['key'][:_SHOWN]}: {what}", ""
    yield "asked", f"agent {task['agent']}, prompt sha256 {task['prompt']['sha256'][:_SHOWN]}", ""


def _of_phases(said: Mapping[str, Any]) -> Iterator[Line]:
    for phase in ("setup", "agent"):
        modes = [policy["mode"] for policy in said["policies"] if policy["phase"] == phase]
        secrets = said["secrets"].get(phase, {})
        names = [*secrets.get("present", ()), *(f"{name} (brokered)" for name in secrets.get("brokered", ()))]
        if modes or names:
            yield phase, f"network {', then '.join(modes) or 'off'}, secrets {', '.join(names) or 'none'}", ""
    egress = said["egress"]
    yield "requests", f"{egress['allowed']} let out, {egress['refused']} refused", ""
    refused = [it for it in egress["decisions"] or () if it["verdict"] == "refused"]
    for it in refused[:_MOST_DECISIONS_SHOWN]:
        yield "", f"refused {it['method']} {it['host']}:{it['port']}{it['path']}: {it['rule']}", "red"
    if len(refused) > _MOST_DECISIONS_SHOWN:
        yield "", f"and {len(refused) - _MOST_DECISIONS_SHOWN} more: --json has them", ""
    for found in said["residue"]:
        yield (
            "residue",
            f"{found['action']}: {'; '.join([*found['details'], *more_to_text(found.get('more', 0))])}",
            "yellow",
        )
    for restored in said["instructions_restored"]:
        if restored["paths"]:
            yield "restored", ", ".join([*restored["paths"], *more_to_text(restored.get("more", 0))]), "yellow"
        for left in restored.get("left", ()):
            yield "not restored", f"{left}, which leads agents elsewhere", "yellow"


def _of_result(said: Mapping[str, Any]) -> Iterator[Line]:
    change, checks, outcome = said["change"], said["checks"], said["outcome"]
    if change:
        stats = stats_to_text(change["files"], change["added"], change["removed"])
        yield "change", f"{stats}, diff sha256 {change['sha256'][:_SHOWN]}, commit {change['commit'][:_SHOWN]}", ""
        for flag in change["flags"]:
            yield "look at", flag, "yellow"
    for number, results in enumerate(checks.get("rounds", [])[:-1], 1):
        yield "checks", f"round {number}{_names(results)}; told to the agent", ""
    yield "checks", f"{checks['state']}{_names(checks['results'])}", ""
    reason = f": {outcome['reason']}".partition("\n")[0] if outcome["reason"] not in ("", outcome["verdict"]) else ""
    yield "verdict", f"{outcome['verdict']}{reason}", style_of(Verdict(outcome["verdict"]))
    yield "made with", ", ".join(f"{name} {version}" for name, version in said["versions"].items()), ""
    for sentence in said["not_enforced"]:
        yield "not enforced", sentence, "yellow"


def _names(results: Sequence[Mapping[str, Any]]) -> str:
    words = [f"{it['name']} {'passed' if it['ok'] else 'failed'}" for it in results]
    return f": {', '.join(words)}" if words else ""
