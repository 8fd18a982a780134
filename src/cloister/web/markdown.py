"""Markdown of people and agents as HTML that does nothing: no scripts, no pictures, no styles."""

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup

from cloister.neutral_text import neutralize

_TAGS = set(
    "a blockquote br code del em h1 h2 h3 h4 h5 h6 hr li ol p pre s strong table tbody td th thead tr ul".split()
)
_SCHEMES = {"http", "https", "mailto"}
_PARSER = MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")

MOST_CHARACTERS = 200_000
"""Of a longer text, the beginning is shown."""


def to_html(text: str) -> Markup:
    """Return it. What the parser lets through is cleaned once more by a library of another kind."""
    cut = "\n\n(cut here)" if len(text) > MOST_CHARACTERS else ""
    html = _PARSER.render(neutralize(text[:MOST_CHARACTERS] + cut))
    clean = nh3.clean(
        html,
        tags=_TAGS,
        attributes={"a": {"href"}},
        url_schemes=_SCHEMES,
        link_rel="noopener noreferrer nofollow",
        set_tag_attribute_values={"pre": {"tabindex": "0"}},  # what is wider than the screen scrolls by keyboard too
    )
    return Markup(clean)  # cleaned just now
