"""`cloister agent`: the programs that do the work. Works on this machine only."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.image import BuildBar
from cloister.cli.session import open_application
from cloister.cli.task import JsonOption
from cloister.cli.terminal import output_console, print_line, print_table
from cloister.errors import NotFoundError

if TYPE_CHECKING:
    from cloister.model.pack import Pack, PackRecipe
    from cloister.protocols import Agent
    from cloister.wiring import Application

app = typer.Typer(no_args_is_help=True, help="The programs that do the work.\n\nExample:  cloister agent install codex")

_DIGEST_SHOWN = 12

NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The agent's name, as `cloister agent list` says.")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """An agent, and what of it is on this machine."""

    agent: "Agent"
    pack: "Pack | None"


@app.command("list")
def list_agents(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the agents: which version is installed, which one is known, and what it needs.

    Example:  cloister agent list
    """
    import anyio

    from cloister.cli.json_lines import to_json

    async def work() -> list[_Listed]:
        async with open_application(context) as application:
            return [
                _Listed(agent=agent, pack=await application.packs.find(agent.name))
                for _, agent in sorted(application.agents.items())
            ]

    listed = anyio.run(work)
    if as_json:
        typer.echo(to_json([_to_json(each) for each in listed]))
        return
    print_table(
        output_console(), ("agent", "installed", "known", "size", "model", "needs"), [_to_row(each) for each in listed]
    )


@app.command()
def install(context: typer.Context, name: NameArgument) -> None:
    """Fetch an agent's packages from their registries, and make them what its next tasks run. Nothing of them is run.

    Example:  cloister agent install codex
    """
    import anyio

    async def work() -> "Pack":
        async with open_application(context) as application:
            recipe = _recipe_of(application, name)
            with BuildBar() as bar:
                return await application.packs.install(recipe, bar.show)

    pack = anyio.run(work)
    print_line(output_console(), f"{pack.name} {pack.version} {pack.digest[:_DIGEST_SHOWN]}")


def ensure_agent(context: typer.Context, name: str) -> None:
    """Install an agent that is not there. NotFoundError for one that there is not, or that needs no installing."""
    import anyio

    async def work() -> None:
        async with open_application(context) as application:
            recipe = _recipe_of(application, name)
            if await application.packs.find(name) is None:
                with BuildBar() as bar:
                    await application.packs.install(recipe, bar.show)

    anyio.run(work)


@app.command("rm")
def remove(context: typer.Context, name: NameArgument) -> None:
    """Remove an installed agent that works nowhere now.

    Example:  cloister agent rm codex
    """
    import anyio

    async def work() -> None:
        async with open_application(context) as application:
            await application.packs.remove(_recipe_of(application, name).name)

    anyio.run(work)
    print_line(output_console(), f"removed {name}")


def _recipe_of(application: "Application", name: str) -> "PackRecipe":
    packed = {known: agent.pack for known, agent in application.agents.items() if agent.pack is not None}
    if name in packed:
        return packed[name]
    if name in application.agents:
        raise NotFoundError(f"the agent {name!r} needs nothing to be installed", hint="see: cloister agent list")
    raise NotFoundError(f"there is no agent {name!r} to install; known: {', '.join(sorted(packed))}")


def _to_row(listed: _Listed) -> tuple[str, ...]:
    from cloister.model.quantity import size_to_text

    agent, pack = listed.agent, listed.pack
    if agent.pack is None:
        return (agent.name, "-", "-", "-", agent.api or "-", "what the image has")
    installed = (pack.version, size_to_text(pack.size_bytes)) if pack else ("no", "-")
    return (agent.name, installed[0], agent.pack.version, installed[1], agent.api or "-", agent.pack.needs)


def _to_json(listed: _Listed) -> dict[str, object]:
    agent, pack = listed.agent, listed.pack
    return {
        "agent": agent.name,
        "installed": pack.version if pack else None,
        "digest": pack.digest if pack else None,
        "size_bytes": pack.size_bytes if pack else None,
        "installed_at": pack.installed_at.isoformat() if pack else None,
        "known": agent.pack.version if agent.pack else None,
        "api": agent.api,
        "needs": agent.pack.needs if agent.pack else None,
    }
