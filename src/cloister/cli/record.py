"""`cloister record`: the signed accounts of attempts."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import AttemptOption, TaskArgument, TurnOption
from cloister.cli.session import ask
from cloister.cli.terminal import neutralize, output_console, print_line, print_lines
from cloister.errors import UsageError

if TYPE_CHECKING:
    from cloister.client import Client

app = typer.Typer(no_args_is_help=True, help="The signed accounts of attempts.\n\nExample:  cloister record show 0g2x")

_LARGEST_BYTES = 256 * 1024 * 1024


@app.command()
def show(
    context: typer.Context,
    task: TaskArgument,
    attempt: AttemptOption = None,
    turn: TurnOption = None,
    envelope: Annotated[bool, typer.Option("--envelope", help="Print the signed envelope itself, for others.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write the signed envelope to a file.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was signed as JSON.")] = False,
) -> None:
    """Show what was signed about an attempt. Its signature is verified first.

    Example:  cloister record show 0g2x
    Example:  cloister record show 0g2x --output record.json
    """
    from cloister.cli.record_page import record_lines
    from cloister.envelope import key_id_of, open_envelope
    from cloister.record import read_statement

    if as_json + envelope + (output is not None) > 1:
        raise UsageError("--json, --envelope and --output are different things to do; take one of them")

    async def answer(client: "Client") -> tuple[bytes, str]:
        return await client.record(task, attempt=attempt, turn=turn), await client.record_key()

    data, key = ask(context, answer)
    if envelope:
        sys.stdout.buffer.write(data)
    elif output is not None:
        _write(output, data)
    else:
        payload = open_envelope(data, key)
        if as_json:
            typer.echo(payload.decode())
        else:
            print_lines(output_console(), record_lines(read_statement(payload), key_id_of(key)))


@app.command()
def verify(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A signed envelope; - reads standard input.")],
    key: Annotated[
        Path | None,
        typer.Option(metavar="PUBLIC", help="Public key (PEM); by default that of this installation."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was signed as JSON.")] = False,
) -> None:
    """Say whether a record is what its installation signed. With --key it can be done on any machine.

    Exit code 0 when it is; 1 when anything in it was changed, or another key signed it; 2 when it is no record.

    Example:  cloister record verify record.json --key record.pub
    """
    from cloister.envelope import key_id_of, open_envelope
    from cloister.record import read_statement, summary_of

    data = _read(file)
    public = _read(key).decode(errors="replace") if key else ask(context, lambda client: client.record_key())
    payload = open_envelope(data, public)
    statement = read_statement(payload)
    if as_json:
        typer.echo(payload.decode())
        return
    print_line(output_console(), neutralize(f"verified: {summary_of(statement)}, signed by {key_id_of(public)[:16]}"))


@app.command("key")
def print_key(context: typer.Context) -> None:
    """Print the public key that verifies this installation's records.

    Example:  cloister record key > record.pub
    """
    typer.echo(ask(context, lambda client: client.record_key()), nl=False)


def _read(file: Path) -> bytes:
    try:
        if str(file) == "-":
            data = sys.stdin.buffer.read(_LARGEST_BYTES + 1)
        else:
            with file.open("rb") as opened:
                data = opened.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}") from error
    if len(data) > _LARGEST_BYTES:
        raise UsageError(f"{file} is larger than any record")
    return data


def _write(file: Path, data: bytes) -> None:
    try:
        file.write_bytes(data)
    except OSError as error:
        raise UsageError(f"cannot write {file}: {error.strerror}") from error
