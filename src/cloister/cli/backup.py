"""`cloister backup` and `cloister restore`: a copy of the state, and a state directory from it."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import is_served, open_state, settings_of
from cloister.cli.terminal import output_console, print_line
from cloister.errors import ConflictError, UsageError

if TYPE_CHECKING:
    from cloister.backup.state import Report, State
    from cloister.settings import Settings

PassphraseOption = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File of the keys' passphrase; `-` is standard input. Else a terminal is asked."),
]


def backup(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What is written; it must not be there.")],
    keys: Annotated[
        str, typer.Option(metavar="none|sealed|clear", help="The keys: left out, under a passphrase, or in the clear.")
    ] = "none",
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Copy the state, also while a server runs: tasks, logs, diffs, environments, sealed secrets, tokens, files.

    Images, snapshots and mirrors are not in it: they are made again. Without its keys, no secret in it can be opened.

    Example:  cloister backup /var/backups/cloister-monday.tar.zst --keys sealed --passphrase-file /root/passphrase
    """
    from cloister.backup.state import Keys, back_up

    if keys not in list(Keys):
        raise UsageError(f"--keys {keys}: none, sealed or clear")
    passphrase = _passphrase(passphrase_file, twice=True) if keys == Keys.SEALED else None
    report = back_up(_state(open_state(context)), file.absolute(), Keys(keys), passphrase)
    if as_json:
        _print_json(report)
        return
    _print_contents(report)
    print_line(output_console(), f"sha256 {report.digest}")
    if keys == Keys.NONE:
        names = ", ".join(sorted(str(path) for path in _key_files(settings_of(context)).values() if path.exists()))
        print_line(output_console(), f"not in it: the keys ({names}). Keep them elsewhere: without, no secret opens.")
    elif keys == Keys.CLEAR:
        print_line(output_console(), "whoever reads this file can open every secret in it")


def restore(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `cloister backup` wrote.")],
    sha256: Annotated[
        str | None, typer.Option(metavar="HEX", help="What its digest must be, as `cloister backup` printed it.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the state directory anew from a backup. One that is in use is refused. Older tables are brought up to date.

    Example:  cloister restore /var/backups/cloister-monday.tar.zst
    """
    from cloister.backup.archive import digest_of
    from cloister.backup.state import restore as restore_state

    settings = settings_of(context)
    if is_served(settings.socket):
        raise ConflictError(f"a server is running on {settings.state}", hint="restore into another state directory")
    if not file.is_file():
        raise UsageError(f"there is no file {file}")
    if sha256 is not None and digest_of(file) != sha256.strip().lower():
        raise UsageError(f"{file} has another digest: it is not what was backed up", hint="nothing was restored")
    passphrase = _passphrase(passphrase_file, twice=False) if passphrase_file is not None else None
    report = restore_state(_state(settings), file, passphrase)
    if as_json:
        _print_json(report)
        return
    _print_contents(report)
    print_line(output_console(), f"restored to {settings.state}")
    if report.manifest.keys == "none":
        places = ", ".join(str(settings.state / name) for name in ("master.key", "record.key"))
        print_line(output_console(), f"before it is used, put the keys back ({places}), or its secrets stay closed")


def _state(settings: "Settings") -> "State":
    from cloister import wiring

    return wiring.state_of(settings)


def _key_files(settings: "Settings") -> Mapping[str, Path]:
    return _state(settings).key_files


def _print_contents(report: "Report") -> None:
    manifest = report.manifest
    files = sum(part.path.startswith("files/") for part in manifest.parts)
    size = sum(part.size for part in manifest.parts)
    keys = {"none": "no keys", "sealed": "keys under a passphrase", "clear": "keys in the clear"}[manifest.keys]
    said = f"made {manifest.created_at} by cloister {manifest.cloister}, tables {manifest.revision}"
    print_line(output_console(), f"{said}: database, {files} files of tasks, {keys}; {size} bytes")


def _print_json(report: "Report") -> None:
    from cloister.cli.json_lines import to_json

    manifest = report.manifest
    parts = [{"path": part.path, "size": part.size, "sha256": part.sha256} for part in manifest.parts]
    fields = {name: getattr(manifest, name) for name in ("created_at", "cloister", "revision", "keys")}
    typer.echo(to_json({"sha256": report.digest, **fields, "parts": parts}))


def _passphrase(file: Path | None, *, twice: bool) -> str:
    if file is None:
        if not sys.stdin.isatty():
            raise UsageError("the keys need a passphrase", hint="--passphrase-file FILE, or - for standard input")
        asked: str = typer.prompt("passphrase of the keys", hide_input=True, confirmation_prompt=twice)
        return asked
    try:
        text = sys.stdin.read() if str(file) == "-" else file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"the passphrase cannot be read from {file}: {error}") from error
    return text.rstrip("\r\n")
