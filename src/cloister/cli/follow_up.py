"""`cloister task follow-up`: one more prompt in a task, on what its last turn left."""

from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.given_files import FileOption, ImageOption, read_uploads
from cloister.cli.options import AttemptsOption, DetachOption, JsonOption, TaskArgument
from cloister.cli.run import carry_out, detach_task, end_as, read_prompt
from cloister.cli.session import ask

if TYPE_CHECKING:
    from cloister.client import Client
    from cloister.model.task import TaskId

app = typer.Typer()


@app.command("follow-up")
def follow_up(
    context: typer.Context,
    task: TaskArgument,
    prompt: Annotated[
        str, typer.Argument(metavar="PROMPT", help="What shall be done now; `-` reads it from standard input.")
    ],
    attempt: Annotated[
        int | None,
        typer.Option(metavar="N", help="The attempt of the last turn to go on from; by default the best one."),
    ] = None,
    attempts: AttemptsOption = 1,
    file: FileOption = None,
    image: ImageOption = None,
    require_checks: Annotated[
        bool, typer.Option("--require-checks", help="End with 1 unless all of the environment's checks pass.")
    ] = False,
    detach: DetachOption = False,
    as_json: JsonOption = False,
) -> None:
    """Go on with a task that is over: same agent, same environment, on the disk that the last turn left.

    Example:  cloister task follow-up 0g2x "now add a test for it"
    """
    asked, files = read_prompt(prompt), read_uploads(file or (), image or ())

    async def submit(client: "Client") -> "TaskId":
        full, _ = await client.follow_up(task, asked, attempt=attempt, attempts=attempts, files=files)
        return full

    if detach:
        detach_task(context, ask(context, submit), as_json=as_json)
    else:
        end_as(carry_out(context, submit, as_json=as_json), require_checks=require_checks)
