"""Where the rules for reviews are."""

import pytest

from cloister.review_rules import candidates, section_of


@pytest.mark.parametrize(
    ("text", "section"),
    [
        ("# A\n\n## Code Review Rules\n\nOne.\n\n### More\n\nTwo.\n\n## Style\n\nTabs.\n", "One.\n\n### More\n\nTwo."),
        ("## Review guidelines\n\nOne.\n", "One."),
        ("CODE REVIEW RULES:\n===\n\nOne.\n\nB\n===\n\nTwo.\n", "One."),
        ("## Code review rules\nOne.\n# Other\n## Review guidelines\nTwo.\n", "One.\n\nTwo."),
        ("## Code Review Rules\n## Review guidelines\nTwo.\n", "Two."),
        ("```\n## Code Review Rules\n```\nNo.\n", ""),
        ("> ## Code Review Rules\n> No.\n", ""),
        ("## Code Review Rules\n```\n# no heading\n```\n", "```\n# no heading\n```"),
        ("## Rules of code review\n\nNo.\n", ""),
        ("", ""),
    ],
)
def test_a_section_is_found_by_its_heading(text: str, section: str) -> None:
    assert section_of(text) == section


def test_rules_are_looked_for_from_the_root_down_to_each_file() -> None:
    assert candidates(["a/b/c.py", "d.py"]) == ["AGENTS.md", "a/AGENTS.md", "a/b/AGENTS.md"]
