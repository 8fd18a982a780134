"""The start and the phases of an attempt as bars, one below the other: a picture without a style of its own.

Across, it is as wide as its place, so that its words keep their size on every screen.
"""

from collections.abc import Mapping

from markupsafe import Markup, escape

from cloister.model.phase import Phase

_ROW = 26
_LABEL, _BARS = 28.0, 46.0
"""In percent of the width: where bars begin, and how wide they are together."""


def waterfall(seconds: Mapping[Phase, float], duration_to_text: Mapping[Phase, str]) -> Markup:
    """Return it as SVG. Phases that were not reached are left out."""
    phases = [phase for phase in Phase if phase in seconds]
    total = sum(seconds.values()) or 1.0
    begin, bars = 0.0, list[str]()
    for number, phase in enumerate(phases):
        left = _LABEL + begin / total * _BARS
        wide = max(0.5, seconds[phase] / total * _BARS)
        middle = number * _ROW + 17
        top = number * _ROW + 5
        bars.append(
            f'<text x="0" y="{middle}">{escape(phase)}</text>'
            f'<rect class="bar-{escape(phase)}" x="{left:.2f}%" y="{top}" width="{wide:.2f}%" height="16" rx="3"/>'
            f'<text x="{left + wide + 1:.2f}%" y="{middle}">{escape(duration_to_text[phase])}</text>'
        )
        begin += seconds[phase]
    told = ", ".join(f"{phase} {duration_to_text[phase]}" for phase in phases)
    return Markup(  # numbers and what was escaped
        f'<svg class="waterfall" width="100%" height="{len(phases) * _ROW}" role="img" aria-label="{escape(told)}">'
        f"{''.join(bars)}</svg>"
    )
