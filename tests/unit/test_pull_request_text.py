from dataclasses import replace

import pytest
from markdown_it import MarkdownIt

from cloister.model.check import CheckResult
from cloister.model.flag import Flag, FlagKind
from cloister.model.sandbox import Change, Commit, DiffStats
from cloister.pull_request_text import (
    BEGIN,
    END,
    LONGEST_BODY,
    LONGEST_TITLE,
    Facts,
    Said,
    as_quoted,
    body_with,
    commit_message_of,
    quoted_within,
    section_of,
    title_of,
)

COMMIT = Commit("0" * 40)
MOST_OF_A_FORGE = 65_536
"""Characters that GitHub takes."""


def facts(*said: tuple[str, str], paths: tuple[str, ...] = ("a.txt",), message: str = "") -> Facts:
    return Facts(
        task="0g2x",
        address=None,
        agent="codex",
        model="openai/gpt-5",
        conversation=tuple(Said(prompt=prompt, message=answer) for prompt, answer in said or (("fix it", message),)),
        change=Change(
            base=COMMIT,
            commit=COMMIT,
            stats=DiffStats(files=len(paths), added=2, removed=1),
            paths=paths,
            flags=(Flag(kind=FlagKind.GIT, path=".gitmodules"),),
        ),
        checks=(CheckResult(name="te|st", ok=False, status=1, seconds=1.0, reason="it ended with 1"),),
        network=("setup: full",),
        secrets=("setup: NPM_TOKEN",),
        record="f" * 64,
        failure="failed: the agent | ended",
    )


@pytest.mark.parametrize(
    ("hostile", "gone"),
    [
        ("thanks @team/admins and @ann", "@team"),
        ("Fixes #12, closes: GH-7", "Fixes #12"),
        ("resolves https://github.com/team/shop/issues/3", "resolves https"),
        ("![x](https://evil.example/beacon.png)", "!["),
        ("\\![x](https://evil.example/beacon.png)", "!["),
        ("<img src=https://evil.example/x>", "<img"),
        (f"{END} and mine", END),
        (f"{BEGIN}", BEGIN),
        ("\x1b[31mred", "\x1b"),
        ("right\u202eto left", "\u202e"),
    ],
)
def test_what_an_agent_writes_does_nothing_by_itself(hostile: str, gone: str) -> None:
    for said in (facts(message=hostile), facts((hostile, "done"))):
        section = section_of(said)
        inner = section.removeprefix(BEGIN).removesuffix(END)
        assert gone not in inner
        assert section.count(BEGIN) == section.count(END) == 1
    if not gone.startswith(("<", "!")):  # it is no HTML, and no Markdown
        assert gone not in commit_message_of(facts(), hostile)


@pytest.mark.parametrize(
    "hostile",
    [
        "{}",
        "\\{}",  # a backslash of the agent's must not take away the force of ours
        "``` a`b\n{}",  # no block: there is a backtick behind the first ones
        "- a\n  ```\n{}",  # the block ends with the list
        "1. a\n   ~~~\n{}",
        "> ```\n{}",
        "    ```\n{}",
        "```\n```\n{}",
        "````\n```\n````\n{}",
        "<pre>\n```\n</pre>\n{}",
    ],
)
def test_no_picture_of_an_agent_is_loaded_and_no_html_of_its_is_html(hostile: str) -> None:
    picture = hostile.format("![x](https://evil.example/beacon.png)<img src=https://evil.example/x>")
    assert "<img" in MarkdownIt("commonmark").render(picture), "the twin"
    shown = MarkdownIt("commonmark").render(f"{as_quoted(picture)}\n\nours")
    assert "<img" not in shown
    assert "<p>ours</p>" in shown


@pytest.mark.parametrize("name", ["```", "```x", "~~~", "  ````x y"])
@pytest.mark.parametrize("before", ["", "- ", "**P1** "])
def test_a_name_of_an_agent_hides_nothing_that_stands_behind_it(name: str, before: str) -> None:
    assert "<p>ours</p>" in MarkdownIt("commonmark").render(f"{before}{as_quoted(name)}\n\nours")


def test_a_fence_that_an_agent_leaves_open_is_closed() -> None:
    assert as_quoted("```python\nprint(1 < 2)") == "```python\nprint(1 < 2)\n```"
    assert as_quoted("```\na < b\n```\n1 < 2") == "```\na < b\n```\n1 &lt; 2"
    assert as_quoted("```") == "\\```"
    assert as_quoted("```\n    ```") == "```\n    ```\n```"
    assert as_quoted("````\n```\n<b>\n````") == "````\n```\n<b>\n````"


def test_it_is_made_of_the_whole_conversation_and_the_whole_change() -> None:
    text = section_of(facts(("first", "did one"), ("then", "did two"), paths=("a.txt", "b`x`.txt")))
    told = ("> first", "did one", "> then", "did two", "**2 files changed**, +2 -1", "- `a.txt`", "- `b'x'.txt`")
    assert [text.index(each) for each in told] == sorted(text.index(each) for each in told)
    for row in (
        "| check te\\|st | **failed**: it ended with 1 |",
        "| network | setup: full |",
        "| secrets | setup: NPM_TOKEN |",
        "| agent | codex, openai/gpt-5 |",
        f"| record | `sha256:{'f' * 64}` |",
        "| task | 0g2x |",
        "| **result** | failed: the agent \\| ended |",
        "- .gitmodules changes how git reads this repository",
    ):
        assert row in text


def test_it_is_never_longer_than_a_forge_takes() -> None:
    many = tuple(f"{number}-{'x' * 2000}" for number in range(100))
    section = section_of(facts(message="y" * 500_000, paths=many))
    assert len(section) < LONGEST_BODY + 300
    assert section.endswith(END)


@pytest.mark.parametrize("hostile", ["<", "```\n", "@a ", "- ```\n", "`" * 150 + "\n"])
def test_no_text_of_an_agent_is_so_long_that_what_the_checks_said_is_lost(hostile: str) -> None:
    said = (("fix it" * 9_000, hostile * 20_000), *(((hostile * 5_000), hostile * 20_000) for _ in range(30)))
    told = facts(*said, paths=tuple(f"{n}-{'x' * 2000}" for n in range(100)))
    told = replace(told, checks=tuple(replace(told.checks[0], name=f"{n}<{'<' * 200}", ok=n < 99) for n in range(100)))
    body = body_with(section_of(told), None, "t" * 20_000)
    assert len(body) <= MOST_OF_A_FORGE
    shown = MarkdownIt("commonmark").enable("table").render(body)
    assert "<td>record</td>" in shown
    assert "<td>check 99" in shown
    assert body.endswith(END)


@pytest.mark.parametrize("most", [10, 27, 1_000])
@pytest.mark.parametrize(
    "text", ["<" * 9_000, "![" * 4_000, "```\n" * 3_000, "\x1b" * 9_000, "é" * 9_000, "\n" * 9_000]
)
def test_what_is_quoted_is_as_long_as_it_may_be(text: str, most: int) -> None:
    assert len(quoted_within(text, most)) <= max(most, len("(cut: the task has it all)"))
    assert quoted_within("short", 10) == "short"


@pytest.mark.parametrize("around", [0, 100, 30_000, 64_000])
def test_what_stands_around_it_is_kept_and_the_section_gives_way(around: int) -> None:
    section = section_of(facts(message="y" * 500_000, paths=tuple(f"{n}-{'x' * 2000}" for n in range(100))))
    made = body_with(section, None, "t" * around)
    assert len(made) <= MOST_OF_A_FORGE
    assert made.endswith(END)
    edited = body_with(section, f"{'a' * around}{BEGIN}\nold\n{END}", "")
    assert edited.startswith("a" * around)
    assert len(edited) <= MOST_OF_A_FORGE
    assert edited.endswith(END)
    assert edited.count(BEGIN) == 1
    assert body_with(section_of(facts()), edited, "") == f"{'a' * around}{section_of(facts())}" or around > 60_000


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("fix the test", "Fix the test"),
        ("\n\n  fix   it \nand more", "Fix it"),
        ("", "Task 0g2x"),
        ("x" * 300, None),
        ("word " * 60, None),
    ],
)
def test_a_title_is_one_short_line_of_the_first_prompt(prompt: str, title: str | None) -> None:
    made = title_of(facts((prompt, ""), ("and another thing", "")))
    assert title in (None, made)
    assert 0 < len(made) <= LONGEST_TITLE
    assert "\n" not in made


def test_people_keep_what_they_wrote_around_the_section() -> None:
    first, second = section_of(facts(message="one")), section_of(facts(message="two \\1 \\g<0>"))
    body = body_with(first, None, "## Why\n")
    assert body == f"## Why\n\n{first}"
    edited = f"Above\r\n{body}\nBelow"
    assert body_with(second, edited, "## Why\n") == f"Above\r\n## Why\n\n{second}\nBelow"
    assert body_with(second, "all mine", "## Why\n") == "all mine"
    assert body_with(second, f"x{BEGIN}cut off", "") == f"x{second}"


def test_a_commit_says_what_was_asked_with_it_and_who_did_it() -> None:
    assert commit_message_of(facts(("first", ""), ("then", "")), "then this\n\nand so on") == (
        "Then this\n\nCloister-Task: 0g2x\n"
        f"Cloister-Record: sha256:{'f' * 64}\n"
        "Co-authored-by: codex (Cloister) <codex@cloister.invalid>\n"
    )
