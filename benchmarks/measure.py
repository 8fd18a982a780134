"""The frame of every benchmark: samples taken in turns, ratios of pairs, bars, and where results are written."""

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from chart import Group, Stroke, draw_bars
from rich.console import Console
from rich.table import Table

REPOSITORY = Path(__file__).resolve().parent.parent
RESULTS = REPOSITORY / "benchmarks" / "results"
PAGES = REPOSITORY / "docs" / "benchmarks"

Probe = Callable[[], Awaitable[float]]
"""Does the thing once and returns the seconds that count; what it must clean up does not count."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What was measured of one subject in one row of a table."""

    row: str
    """What was done."""
    subject: str
    """Who did it."""
    values: tuple[float, ...]
    unit: str = "ms"

    @property
    def p50(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def p95(self) -> float:
        """The value that 95 of 100 do not exceed; the largest of few."""
        return sorted(self.values)[max(0, -(-95 * len(self.values) // 100) - 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A figure that was promised, as a ratio or a difference taken in the same minutes."""

    what: str
    value: float
    at_most: float
    unit: str = "x"

    @property
    def passed(self) -> bool:
        """Whether the promise holds."""
        return self.value <= self.at_most


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """One benchmark's result."""

    name: str
    """Of its files."""
    title: str
    about: str
    """What was measured, and how, in Markdown."""
    samples: tuple[Samples, ...]
    bars: tuple[Bar, ...] = ()


async def take_turns(row: str, probes: Mapping[str, Probe], *, rounds: int, warm_up: bool = True) -> dict[str, Samples]:
    """Let every subject do `row` once per round, so that what the machine does meanwhile meets all of them.

    The order is turned around from round to round; with `warm_up`, a first round that nobody counts fills the caches.
    """
    values: dict[str, list[float]] = {subject: [] for subject in probes}
    for number in range(-1 if warm_up else 0, rounds):
        for subject in list(probes) if number % 2 else reversed(list(probes)):
            seconds = await probes[subject]()
            if number >= 0:
                values[subject].append(seconds * 1000)
    return {subject: Samples(row=row, subject=subject, values=tuple(measured)) for subject, measured in values.items()}


def paired_ratio(of: Samples, against: Samples) -> float:
    """Return the median of the rounds' own ratios."""
    return statistics.median(ours / theirs for ours, theirs in zip(of.values, against.values, strict=True))


def publish(report: Report) -> bool:
    """Print the report and write its JSON, page and chart. False when a bar was not reached."""
    document = {"machine": _machine(), "versions": _versions(), **asdict(report)}
    document["samples"] = [{**asdict(samples), "p50": samples.p50, "p95": samples.p95} for samples in report.samples]
    document["bars"] = [{**asdict(bar), "passed": bar.passed} for bar in report.bars]
    RESULTS.mkdir(parents=True, exist_ok=True)
    PAGES.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{report.name}.json").write_text(json.dumps(document, indent=1) + "\n")
    (PAGES / f"{report.name}.svg").write_text(draw_bars(report.title, _groups(report.samples)))
    (PAGES / f"{report.name}.md").write_text(_page(report))
    _print(report)
    return all(bar.passed for bar in report.bars)


def figure(value: float, unit: str) -> str:
    """Return a figure with three digits that mean something."""
    if unit == "ms" and value >= 10_000:
        return f"{value / 1000:.1f} s"
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f} {unit}"


def _groups(samples: Sequence[Samples]) -> list[Group]:
    rows = dict.fromkeys(one.row for one in samples)
    return [Group(row, [_stroke(one, samples[0]) for one in samples if one.row == row]) for row in rows]


def _stroke(one: Samples, first: Samples) -> Stroke:
    ours = one.subject.startswith("cloister") or one.subject == first.subject
    return Stroke(one.subject, one.p50, one.p95, figure(one.p50, one.unit), ours)


def _table(report: Report) -> list[tuple[str, str, str, str, str]]:
    return [
        (one.row, one.subject, figure(one.p50, one.unit), figure(one.p95, one.unit), str(len(one.values)))
        for one in report.samples
    ]


def _bar_table(report: Report) -> list[tuple[str, str, str, str]]:
    return [
        (bar.what, figure(bar.value, bar.unit), figure(bar.at_most, bar.unit), "reached" if bar.passed else "MISSED")
        for bar in report.bars
    ]


_HEADINGS = ("what", "who", "median", "95 %", "samples")
_BAR_HEADINGS = ("bar", "measured", "at most", "")


def _page(report: Report) -> str:
    machine, versions = _machine(), _versions()
    parts = [
        f"# {report.title}",
        report.about,
        f"![{report.title}]({report.name}.svg)",
        _markdown(_HEADINGS, _table(report)),
        *([_markdown(_BAR_HEADINGS, _bar_table(report))] if report.bars else []),
        f"{machine['at']}, {machine['cores']} cores ({machine['processor']}), {machine['memory']}, "
        f"Linux {machine['kernel']}, load {machine['load']}; "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + f". Samples: `benchmarks/results/{report.name}.json`.",
    ]
    return "\n\n".join(parts) + "\n"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _print(report: Report) -> None:
    console = Console()
    for title, headings, rows in (
        (report.title, _HEADINGS, _table(report)),
        ("", _BAR_HEADINGS, _bar_table(report)),
    ):
        if rows:
            table = Table(*headings, title=title, title_justify="left")
            for row in rows:
                table.add_row(*row)
            console.print(table)


def _machine() -> dict[str, str]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    processor = models[0].split(":", 1)[1].strip() if models else platform.machine()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": str(len(os.sched_getaffinity(0))),
        "processor": processor,
        "memory": f"{memory / 2**30:.0f} GiB",
        "kernel": platform.release(),
        "distribution": platform.freedesktop_os_release().get("PRETTY_NAME", ""),
        "load": f"{os.getloadavg()[0]:.1f}",
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for program in ("crun", "runc", "docker", "git"):
        try:
            answer = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        except (OSError, subprocess.CalledProcessError):
            continue
        words = answer.stdout.replace(",", " ").split()
        found[program] = words[words.index("version") + 1]
    return found
