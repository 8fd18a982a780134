"""A bar chart as SVG text: each group has a scale of its own, for its figures share a unit with nobody."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH = 760
_LABEL = 240
_FIGURE = 100
_LINE = 22
_HEADING = 30
_OURS, _THEIRS = "#2563eb", "#94a3b8"


@dataclass(frozen=True, slots=True)
class Stroke:
    """One bar: a median, and a thin line to the 95th percentile."""

    label: str
    p50: float
    p95: float
    figure: str
    ours: bool
    """Ours stand out; the others stay in the background."""


@dataclass(frozen=True, slots=True)
class Group:
    """Bars of one scale, from zero."""

    heading: str
    strokes: Sequence[Stroke]


def draw_bars(title: str, groups: Sequence[Group]) -> str:
    """Return the chart. Labels may hold any text."""
    body = []
    y = 44
    for group in groups:
        body.append(_text(16, y + 14, group.heading, weight="600"))
        y += _HEADING
        scale = (WIDTH - _LABEL - _FIGURE) / (max(stroke.p95 for stroke in group.strokes) or 1.0)
        for stroke in group.strokes:
            body.append(_draw(stroke, y, scale))
            y += _LINE
        y += 10
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y + 8}" role="img"'
            ' font-family="system-ui, sans-serif" font-size="13">',
            f"<title>{escape(title)}</title>",
            '<rect width="100%" height="100%" fill="#ffffff"/>',
            _text(16, 26, title, weight="700"),
            *body,
            "</svg>\n",
        ]
    )


def _draw(stroke: Stroke, y: int, scale: float) -> str:
    colour = _OURS if stroke.ours else _THEIRS
    middle = y + 8
    length, reach = max(1.0, stroke.p50 * scale), _LABEL + stroke.p95 * scale
    return "\n".join(
        [
            _text(28, y + 12, stroke.label),
            f'<rect x="{_LABEL}" y="{y}" width="{length:.1f}" height="15" rx="2" fill="{colour}"/>',
            f'<path d="M{_LABEL + length:.1f} {middle}H{reach:.1f}m0 -4v8" stroke="#475569" fill="none"/>',
            _text(reach + 8, y + 12, stroke.figure),
        ]
    )


def _text(x: float, y: float, text: str, *, weight: str = "400") -> str:
    return f'<text x="{x:.1f}" y="{y}" fill="#0f172a" font-weight="{weight}">{escape(text)}</text>'
