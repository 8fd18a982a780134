"""`python -m cloister.testing TURNS.toml`: serve a script, and say at the end what was not as it has it."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import anyio
import typer

from cloister.testing.script import ScriptError, read_script
from cloister.testing.server import open_model

_BAD_INPUT = 2


def main(
    turns: Annotated[Path, typer.Argument(metavar="TURNS.toml", help="The file of turns.")],
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where; port 0 is any free one.")] = "127.0.0.1:0",
    keep: Annotated[Path | None, typer.Option(metavar="FILE", help="Append each request, as a line of JSON.")] = None,
) -> None:
    """Answer agents what a file says, until Ctrl-C. Ends with 1 when a request was not as the file has it.

    Example:  python -m cloister.testing turns.toml --listen 127.0.0.1:8123
    """
    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise typer.BadParameter(f"{listen}: write it as HOST:PORT", param_hint="--listen")
    try:
        script = read_script(turns.read_bytes(), source=str(turns))
    except (ScriptError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(_BAD_INPUT) from error

    async def serve() -> list[str]:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async with open_model(script, host=host, port=int(port), kept=keep) as model:
                typer.echo(model.address)
                sys.stdout.flush()
                async for _ in signals:
                    break
            return model.problems

    problems = anyio.run(serve)
    for problem in problems:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if problems else 0)


if __name__ == "__main__":
    typer.run(main)
