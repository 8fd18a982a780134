"""Arguments and options that several commands have, each under one name and with one meaning."""

from pathlib import Path
from typing import Annotated

import typer

from cloister.model.fairness import Priority
from cloister.model.network import NetworkMode

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

TaskArgument = Annotated[str, typer.Argument(metavar="T", help="The task's id, or a unique beginning of it.")]
TurnOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of the turn; by default the last one.")
]
AttemptOption = Annotated[
    int | None, typer.Option(min=1, metavar="N", help="Number of the attempt; by default the best one.")
]

PromptArgument = Annotated[
    str, typer.Argument(metavar="PROMPT", help="What shall be done; `-` reads it from standard input.")
]
RepoOption = Annotated[
    str | None, typer.Option(metavar="PATH|URL", help="Repository; by default that of the current directory.")
]
RefOption = Annotated[
    str | None,
    typer.Option(
        metavar="REF", help="Branch, tag or commit to start at; by default the branch checked out, or a URL's default."
    ),
]
EnvOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE",
        help="A stored environment, or a file if it has a slash or ends in .toml; "
        "by default .cloister/environment.toml at that commit.",
    ),
]
AgentOption = Annotated[str | None, typer.Option(metavar="NAME", help="Name of the agent.")]
ModelOption = Annotated[
    str | None,
    typer.Option(metavar="PROVIDER[/MODEL]", help="Who answers the agent; see `cloister model list`."),
]
CommandOption = Annotated[
    str | None, typer.Option(metavar="CMD", help="A command line that does the work, in place of an agent.")
]
AttemptsOption = Annotated[int, typer.Option(metavar="1..4", help="Independent answers to make.")]
PatchOption = Annotated[Path | None, typer.Option(metavar="FILE", help="A diff to start with.")]
VariableOption = Annotated[list[str] | None, typer.Option(metavar="K=V", help="Variable, in setup and for the agent.")]
SecretOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME", help="Secret, from this command's own environment, for setup; brokered if --env says how."
    ),
]
AskOption = Annotated[bool, typer.Option("--ask", help="Ask for an answer and no change: the work tree is read-only.")]
InternetOption = Annotated[NetworkMode | None, typer.Option(help="What the agent may reach.")]
AllowOption = Annotated[list[str] | None, typer.Option(metavar="DOMAIN", help="Domain the agent may reach.")]
PriorityOption = Annotated[Priority, typer.Option(help="Which tasks start first where many wait; high is for admins.")]
NoCacheOption = Annotated[bool, typer.Option("--no-cache", help="Start from the bare image.")]
DetachOption = Annotated[bool, typer.Option("--detach", help="Print the task's id and return.")]
RequireChecksOption = Annotated[
    bool, typer.Option("--require-checks", help="End with 1 unless all of the environment's checks pass.")
]
