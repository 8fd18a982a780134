"""Pictures of numbers: bars, as SVG without a style of its own. The numbers themselves stand in a table below each."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from cloister.neutral_text import neutralize

_WIDE, _HIGH, _BASE, _TOP = 640, 200, 172, 12
_ROW, _NAME = 24, 190
_LONGEST_NAME = 22


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One bar: its parts, by a class that gives the colour."""

    label: str
    parts: Mapping[str, int]

    @property
    def total(self) -> int:
        """All parts together."""
        return sum(self.parts.values())


def columns(id: str, title: str, bars: Sequence[Bar], *, every: int = 1, wide: int = _WIDE) -> Markup:
    """Return bars side by side, their parts one on the other; each `every`-th has its label below it."""
    most = max((bar.total for bar in bars), default=0) or 1
    step = wide / max(1, len(bars))
    drawn = [f'<line class="axis" x1="0" y1="{_BASE}" x2="{wide}" y2="{_BASE}"/>']
    for number, bar in enumerate(bars):
        left, bottom = number * step + step * 0.12, float(_BASE)
        for name, count in bar.parts.items():
            tall = count / most * (_BASE - _TOP)
            bottom -= tall
            if count:
                drawn.append(_rect(name, left, bottom, step * 0.76, tall, f"{bar.label}: {count} {_words(name)}"))
        if number % every == 0:
            middle = number * step + step / 2
            drawn.append(f'<text x="{middle:.1f}" y="{_BASE + 18}" text-anchor="middle">{_text(bar.label)}</text>')
    drawn.append(f'<text class="most" x="0" y="{_TOP - 2}">{most}</text>')
    return _svg(id, title, bars, drawn, (wide, _HIGH))


def rows(id: str, title: str, bars: Sequence[Bar]) -> Markup:
    """Return bars one below the other, with their names before them."""
    most = max((bar.total for bar in bars), default=0) or 1
    drawn = list[str]()
    for number, bar in enumerate(bars):
        top, left = number * _ROW + 4, float(_NAME)
        name = bar.label if len(bar.label) <= _LONGEST_NAME else f"{bar.label[: _LONGEST_NAME - 1]}…"
        drawn.append(f'<text x="0" y="{top + 13}">{_text(name)}</text>')
        for part, count in bar.parts.items():
            wide = count / most * (_WIDE - _NAME - 60)
            if count:
                drawn.append(_rect(part, left, top, max(1.0, wide), 16, f"{bar.label}: {count} {_words(part)}"))
            left += wide
        drawn.append(f'<text x="{left + 6:.1f}" y="{top + 13}">{bar.total}</text>')
    return _svg(id, title, bars, drawn, (_WIDE, max(1, len(bars)) * _ROW + 4))


def _rect(name: str, left: float, top: float, wide: float, tall: float, words: str) -> str:
    return (
        f'<rect class="is-{escape(name)}" x="{left:.1f}" y="{top:.1f}" width="{wide:.1f}" height="{tall:.1f}">'
        f"<title>{_text(words)}</title></rect>"
    )


def _svg(id: str, title: str, bars: Sequence[Bar], drawn: Sequence[str], size: tuple[int, int]) -> Markup:
    told = "; ".join(f"{bar.label}: {bar.total}" for bar in bars if bar.total) or "nothing"
    return Markup(  # numbers and what was escaped
        f'<svg class="chart" viewBox="0 0 {size[0]} {size[1]}" role="img" aria-labelledby="{id}-title {id}-desc">'
        f'<title id="{id}-title">{_text(title)}</title><desc id="{id}-desc">{_text(told)}</desc>'
        f"{''.join(drawn)}</svg>"
    )


def _text(text: str) -> str:
    return escape(neutralize(text).encode(errors="replace").decode())


def _words(name: str) -> str:
    return name.replace("-", " ")
