"""The environment file's text: keys, and what they come from, line by line."""

from collections.abc import Iterator, Sequence

from cloister.importing.draft import MOST_NOTES, Draft, Note, Value, on_one_line
from cloister.importing.toml_writer import comment, string


def environment_text(draft: Draft, *, source: str, commit: str, others: Sequence[str]) -> str:
    """Return the file. Notes are comments: of what was taken beside the keys, of what was not at its head."""
    parts = [_head(draft, source, commit, others), *_tables(draft)]
    return "\n\n".join(parts) + "\n"


def _head(draft: Draft, source: str, commit: str, others: Sequence[str]) -> str:
    lines = [comment(f"Imported by `cloister env import` from {on_one_line(source)}, commit {commit[:12]}.")]
    lines.append(comment("It is yours to edit: that file is not read again."))
    if others:
        names = ", ".join(on_one_line(other) for other in others[:MOST_NOTES])
        lines += ["#", comment(f"Not read, since one file is: {names}.")]
    if draft.left:
        lines += ["#", "# Not taken over:", *_notes(draft.left)]
    return "\n".join(lines)


def _notes(notes: Sequence[Note]) -> Iterator[str]:
    for note in notes[:MOST_NOTES]:
        yield comment(f"{note.where}: {note.text}", first="- ", then="  ")
    if len(notes) > MOST_NOTES:
        yield f"# - and {len(notes) - MOST_NOTES} more"


def _tables(draft: Draft) -> Iterator[str]:
    if draft.versions:
        yield _table("versions", [_line(name, string(it.text), it) for name, it in draft.versions.items()])
    if draft.variables:
        yield _table("variables", [_line(name, string(it.text), it) for name, it in draft.variables.items()])
    if draft.secrets:
        how = comment("Each needs a value: cloister secret set . NAME")
        yield _table("secrets", [how, *(_line(name, '{ mode = "setup" }', it) for name, it in draft.secrets.items())])
    if setup := list(_setup(draft)):
        yield _table("setup", setup)
    if draft.services:
        yield _table("services", [_line(name, string(it.text), it) for name, it in draft.services.items()])


def _setup(draft: Draft) -> Iterator[str]:
    if draft.timeout:
        yield _line("timeout", string(draft.timeout.text), draft.timeout)
    if draft.script:
        yield f"script = {string(draft.script)}"
    if draft.maintenance:
        yield f"maintenance = {string(draft.maintenance)}"


def _table(name: str, lines: Sequence[str]) -> str:
    return "\n".join([f"[{name}]", *lines])


def _line(key: str, value: str, origin: Value) -> str:
    return f"{comment(on_one_line(origin.where))}\n{key} = {value}"
