"""`cloister agent`: the programs that do the work."""

from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.image import BuildBar
from cloister.cli.options import JsonOption
from cloister.cli.session import ask, open_embedded
from cloister.cli.terminal import output_console, print_line, print_table

if TYPE_CHECKING:
    from cloister.client import Client
    from cloister.model.pack import ListedAgent

app = typer.Typer(no_args_is_help=True, help="The programs that do the work.\n\nExample:  cloister agent install codex")

_DIGEST_SHOWN = 12

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The agent's name, as `cloister agent list` says.")]


@app.command("list")
def list_agents(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the agents: which version is installed, which one is known, and what it needs.

    Example:  cloister agent list
    """
    listed = ask(context, lambda client: client.agents())
    if as_json:
        from cloister.cli.json_lines import agent_to_json, to_json

        typer.echo(to_json([agent_to_json(each) for each in listed]))
        return
    print_table(
        output_console(), ("agent", "installed", "known", "size", "model", "needs"), [_to_row(each) for each in listed]
    )


@app.command()
def install(context: typer.Context, name: NameArgument) -> None:
    """Fetch an agent's packages from their registries, and make them what its next tasks run. Nothing of them is run.

    Example:  cloister agent install codex
    """

    async def install_it(client: "Client") -> "ListedAgent":
        with BuildBar() as bar:
            return await client.install_agent(name, bar.show)

    agent = ask(context, install_it)
    print_line(output_console(), f"{agent.agent} {agent.installed} {(agent.digest or '')[:_DIGEST_SHOWN]}")


def ensure_agent(context: typer.Context, name: str) -> None:
    """Install an agent that is not there. NotFoundError for one that there is not, or that needs no installing."""
    import anyio

    async def work() -> None:
        async with open_embedded(context, asked_only=True) as (client, _):
            installed = {agent.agent for agent in await client.agents() if agent.installed}
            if name not in installed:
                with BuildBar() as bar:
                    await client.install_agent(name, bar.show)

    anyio.run(work)


@app.command("rm")
def remove(context: typer.Context, name: NameArgument) -> None:
    """Remove an installed agent that works nowhere now.

    Example:  cloister agent rm codex
    """
    ask(context, lambda client: client.remove_agent(name))
    print_line(output_console(), f"removed {name}")


def _to_row(agent: "ListedAgent") -> tuple[str, ...]:
    from cloister.model.quantity import size_to_text

    if agent.known is None:
        return (agent.agent, "-", "-", "-", agent.api or "-", "what the image has")
    size = "-" if agent.size_bytes is None else size_to_text(agent.size_bytes)
    return (agent.agent, agent.installed or "no", agent.known, size, agent.api or "-", agent.needs or "-")
