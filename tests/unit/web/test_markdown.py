"""Markdown of agents: what it may show, and what it never does."""

import re

import pytest

from cloister.web.markdown import MOST_CHARACTERS, to_html

HOSTILE = [
    "<script>ring()</script>",
    "<img src=x onerror=ring()>",
    "[x](javascript:ring())",
    "[x](JaVaScRiPt&#58;ring())",
    "[x](data:text/html,<script>ring()</script>)",
    "![x](https://elsewhere.example/pixel.png)",
    '[x](https://a.example "><script>ring()</script>")',
    "<https://a.example/\"onmouseover='ring()'>",
    "<svg onload=ring()>",
    "`</code><script>ring()</script>`",
    "```<script>\nring()\n```",
    "<a href='x' style='position:fixed'>",
    "[x]: javascript:ring()\n\n[x]",
    "| a |\n|---|\n| <b onclick=ring()>x</b> |",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_nothing_of_it_runs_or_loads(text: str) -> None:
    html = to_html(text)
    tags = re.findall(r"<[^>]*>", html)
    assert not [tag for tag in tags if re.search(r"<(script|img|svg|iframe|style|form)|\son\w+=|style=", tag, re.I)]
    assert not re.search(r'href="(?!https?:|mailto:)', html, re.I)


def test_what_it_is_for_is_shown() -> None:
    html = to_html("# A\n\n- **b** `c < d`\n\n[e](https://f.example)\n\n| g |\n|---|\n| h |\n")
    for part in ("<h1>A</h1>", "<strong>b</strong>", "<code>c &lt; d</code>", "<td>h</td>"):
        assert part in html
    assert '<pre tabindex="0">' in to_html("    a long line")
    assert '<a href="https://f.example" rel="noopener noreferrer nofollow">e</a>' in html


def test_what_is_not_seen_is_seen() -> None:
    assert to_html("a\u202eb\x1b[31mc\x00") == "<p>a\ufffdbc\ufffd</p>\n"


def test_a_long_text_is_cut() -> None:
    assert "(cut here)" in to_html("word " * MOST_CHARACTERS)
