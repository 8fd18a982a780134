"""Pictures of numbers: bars, as SVG without a style of its own. The numbers themselves stand in a table below each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cloister.neutral_text import neutralize

_HIGH, _BASE, _TOP = 200, 172, 14
_ROW, _BAR = 40, 14
_WIDEST = 88
"""Of a row's bar, in percent: its number stands behind it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: its parts, by a class that gives the colour."""

    label: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def columns(id: str, title: str, bars: Sequence[Bar], *, every: int = 1) -> Markup:
    """Return bars side by side, their parts one on the other; each `every`-th has its label below it.

    Across, it is as wide as its place: words keep their size on every screen, and every other label gives way on a
    narrow one.
    """
    most = max((bar.total for bar in bars), default=0) or 1
    step = 100 / max(1, len(bars))
    drawn = [f'<line class="axis" x1="0" y1="{_BASE}" x2="100%" y2="{_BASE}"/>']
    for number, bar in enumerate(bars):
        left, bottom = number * step + step * 0.12, float(_BASE)
        for name, count in bar.parts.items():
            tall = count / most * (_BASE - _TOP)
            bottom -= tall
            if count:
                words = f"{bar.label}: {count} {_words(name)}"
                drawn.append(
                    _rect(name, f"{left:.2f}%", f"{bottom:.1f}", (f"{step * 0.76:.2f}%", f"{tall:.1f}"), words)
                )
        if number % every == 0:
            gives_way = ' class="gives-way"' if number // every % 2 else ""
            middle = number * step + step / 2
            drawn.append(
                f'<text{gives_way} x="{middle:.2f}%" y="{_BASE + 18}" text-anchor="middle">{_text(bar.label)}</text>'
            )
    drawn.append(f'<text class="most" x="0" y="{_TOP - 3}">{most}</text>')
    return _svg(id, title, bars, drawn, _HIGH)


def rows(id: str, title: str, bars: Sequence[Bar]) -> Markup:
    """Return bars one below the other, each under its name."""
    most = max((bar.total for bar in bars), default=0) or 1
    drawn = list[str]()
    for number, bar in enumerate(bars):
        top, left = number * _ROW, 0.0
        drawn.append(f'<text x="0" y="{top + 14}">{_text(bar.label)}</text>')
        for part, count in bar.parts.items():
            wide = count / most * _WIDEST
            if count:
                words = f"{bar.label}: {count} {_words(part)}"
                drawn.append(_rect(part, f"{left:.2f}%", str(top + 20), (f"{max(0.4, wide):.2f}%", str(_BAR)), words))
            left += wide
        drawn.append(f'<text x="{left + 1:.2f}%" y="{top + 32}">{bar.total}</text>')
    return _svg(id, title, bars, drawn, max(1, len(bars)) * _ROW)


def _rect(name: str, left: str, top: str, size: tuple[str, str], words: str) -> str:
    return (
        f'<rect class="is-{escape(name)}" x="{left}" y="{top}" width="{size[0]}" height="{size[1]}">'
        f"<title>{_text(words)}</title></rect>"
    )


def _svg(id: str, title: str, bars: Sequence[Bar], drawn: Sequence[str], high: int) -> Markup:
    told = "; ".join(f"{bar.label}: {bar.total}" for bar in bars if bar.total) or "nothing"
    return Markup(  # numbers and what was escaped
        f'<svg class="chart" width="100%" height="{high}" role="img" aria-labelledby="{id}-title {id}-desc">'
        f'<title id="{id}-title">{_text(title)}</title><desc id="{id}-desc">{_text(told)}</desc>'
        f"{''.join(drawn)}</svg>"
    )


def _text(text: str) -> str:
    return escape(neutralize(text).encode(errors="replace").decode())


def _words(name: str) -> str:
    return name.replace("-", " ")
