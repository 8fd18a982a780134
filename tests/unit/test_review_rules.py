"""Where the rules for reviews are."""

import pytest

from cloister.forges.fake import FakeForge, FakeRepository
from cloister.model.sandbox import Commit
from cloister.model.task import Repository
from cloister.review_rules import LARGEST_FILE_BYTES, LARGEST_FILES_BYTES, candidates, find_rules, section_of


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


async def test_what_is_looked_through_is_bounded() -> None:
    begin = b"## Code Review Rules\n\nOne.\n\n## Other\n\n"
    rules, behind = begin + b"[" * 10_000_000, b"x" * LARGEST_FILE_BYTES + b"\n\n" + begin
    files = {"AGENTS.md": rules, "a/AGENTS.md": behind, "b/AGENTS.md": begin}
    files |= {f"c/{number}/AGENTS.md": b"[" * LARGEST_FILE_BYTES for number in range(8)} | {"d/e/f/AGENTS.md": begin}
    assert sum(len(it[:LARGEST_FILE_BYTES]) for it in files.values()) > LARGEST_FILES_BYTES
    commit, repository = Commit("0" * 40), Repository(address="https://forge.example/shop", directory="shop")
    held = {(commit, path): raw for path, raw in files.items()}
    forge = FakeForge({repository.address: FakeRepository(refs={"main": commit}, files=held)})
    found = await find_rules(forge, repository, commit, [path.replace("AGENTS.md", "x.py") for path in files])
    assert [it.path for it in found] == ["AGENTS.md", "b/AGENTS.md"], "behind so many bytes nothing is looked for"
