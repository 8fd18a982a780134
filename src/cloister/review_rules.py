"""What a repository says of reviews: a section of its AGENTS.md, nested ones for their part of the tree."""

from collections.abc import Iterable, Sequence
from pathlib import PurePosixPath

import anyio.to_thread

from cloister.model.review import ReviewRules
from cloister.model.sandbox import Commit
from cloister.model.task import Repository
from cloister.protocols import Forge

AGENTS_FILE = "AGENTS.md"
HEADINGS = ("code review rules", "review guidelines")
"""What the section is called, in any case."""
LONGEST_RULES = 16_000
"""Characters of one file's; of all together four times as many."""
MOST_FOLDERS = 1000
LARGEST_FILE_BYTES = 128 * 1024
"""What is looked through of one file. What is behind it counts as not there."""
LARGEST_FILES_BYTES = 1024 * 1024
"""Of all together: repositories are anybody's, and some have a file in each folder."""


async def find_rules(
    forge: Forge, repository: Repository, commit: Commit, changed: Iterable[str]
) -> tuple[ReviewRules, ...]:
    """Return what that commit says of reviews of those paths, from the root down.

    The commit is of the branch that a change goes into: nobody changes the rules for their own change.
    """
    wanted = candidates(changed)
    found = set(await forge.find_files(repository, commit, wanted))
    files: list[tuple[str, bytes]] = []
    left = LARGEST_FILES_BYTES
    for path in (it for it in wanted if it in found):
        raw = (await forge.read_file(repository, commit, path) or b"")[: min(LARGEST_FILE_BYTES, left)]
        files.append((path, raw))
        left -= len(raw)
        if left <= 0:
            break
    return await anyio.to_thread.run_sync(rules_in, files)


def rules_in(files: Sequence[tuple[str, bytes]]) -> tuple[ReviewRules, ...]:
    """Return what files say of reviews, by path and content, as far as there is room."""
    rules: list[ReviewRules] = []
    room = 4 * LONGEST_RULES
    for path, raw in files:
        text = section_of(raw.decode(errors="replace"))[: min(LONGEST_RULES, room)]
        if text:
            rules.append(ReviewRules(path=path, text=text))
            room -= len(text)
    return tuple(rules)


def candidates(changed: Iterable[str]) -> Sequence[str]:
    """Return where rules for those paths may be, the root first."""
    folders = {str(parent) for path in changed for parent in PurePosixPath(path).parents}
    ordered = sorted({".", *folders}, key=lambda folder: (folder.count("/") + (folder != "."), folder))
    return [str(PurePosixPath(folder) / AGENTS_FILE) for folder in ordered[:MOST_FOLDERS]]


def section_of(text: str) -> str:
    """Return what stands under the heading, up to the next of its level or a higher one; empty without it."""
    from markdown_it import MarkdownIt  # no start waits for it

    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")  # as the parser counts them
    tokens = MarkdownIt("commonmark").disable("inline").parse(text)  # of headings, the words as they are written
    parts, begin, level = [], None, 0
    for number, token in enumerate(tokens):
        if token.type != "heading_open" or token.map is None or token.level != 0:
            continue
        depth = int(token.tag[1:])
        if begin is not None and depth <= level:
            parts.append("\n".join(lines[begin : token.map[0]]))
            begin = None
        title = tokens[number + 1].content
        if begin is None and " ".join(title.lower().split()).rstrip(":#. ") in HEADINGS:
            begin, level = token.map[1], depth
    if begin is not None:
        parts.append("\n".join(lines[begin:]))
    return "\n\n".join(part.strip() for part in parts if part.strip())
