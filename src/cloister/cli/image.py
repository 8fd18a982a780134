"""`cloister image`: the root file systems that sandboxes stand on."""

from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import ask
from cloister.cli.terminal import output_console, print_line, print_table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cloister.client import Client
    from cloister.model.image import BuildProgress, Image
    from cloister.wiring import Application

app = typer.Typer(
    no_args_is_help=True,
    help="The root file systems that sandboxes stand on.\n\nExample:  cloister image build base",
)

_DIGEST_SHOWN = 12
_SOURCE_SHOWN = len("sha256:") + _DIGEST_SHOWN
_EVERYWHERE = "base"


@app.command()
def build(
    context: typer.Context, name: Annotated[str, typer.Argument(metavar="NAME", help="Name of a recipe.")]
) -> None:
    """Build an image from its recipe, from today's packages.

    Example:  cloister image build base
    """

    async def build_it(client: "Client") -> "Image":
        with BuildBar() as bar:
            return await client.build_image(name, bar.show)

    image = ask(context, build_it)
    print_line(output_console(), f"{image.name} {image.digest[:_DIGEST_SHOWN]}")


@app.command()
def pull(
    context: typer.Context,
    reference: Annotated[str, typer.Argument(metavar="REFERENCE", help="registry/repository:tag, or ...@sha256:...")],
) -> None:
    """Pull an image from an OCI registry, and show the digest that the reference stands for.

    Example:  cloister image pull localhost:5000/team/tools:1
    """

    async def pull_it(client: "Client") -> "Image":
        with BuildBar() as bar:
            return await client.pull_image(reference, bar.show)

    image = ask(context, pull_it)
    print_line(output_console(), f"{image.name} {image.digest[:_DIGEST_SHOWN]}")
    print_line(output_console(), f"pulled from {image.source}")


@app.command("list")
def list_images(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the images, newest first.

    Example:  cloister image list
    """
    from cloister.cli.json_lines import image_to_json, to_json
    from cloister.model.quantity import size_to_text

    images = ask(context, lambda client: client.images())
    if as_json:
        typer.echo(to_json([image_to_json(image) for image in images]))
        return
    rows = [
        (
            image.name,
            image.digest[:_DIGEST_SHOWN],
            f"{image.created_at.astimezone():%Y-%m-%d %H:%M}",
            size,
            image.source[:_SOURCE_SHOWN] or "-",
        )
        for image in images
        for size in [size_to_text(image.size_bytes)]
    ]
    print_table(output_console(), ("image", "digest", "created", "size", "pulled from"), rows)


@app.command()
def show(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The image's name, or a unique beginning of its digest.")],
    as_json: JsonOption = False,
) -> None:
    """Show what an image holds: its languages, their versions, and their package managers.

    Of several versions the first is found without being chosen. `--json` lists the packages and folders too.

    Example:  cloister image show base
    """
    from cloister.cli.json_lines import image_to_json, to_json
    from cloister.model.quantity import size_to_text

    image = ask(context, lambda client: client.image(name))
    if as_json:
        typer.echo(to_json(image_to_json(image)))
        return
    console = output_console()
    size = size_to_text(image.size_bytes)
    print_line(console, f"{image.name} {image.digest[:_DIGEST_SHOWN]}, {size}, {len(image.packages)} packages")
    if image.toolchains:
        print_table(console, ("language", "versions", "package managers"), _language_rows(image))
    else:
        print_line(console, "which languages it holds is not known; build it again to find out")


def _language_rows(image: "Image") -> "Sequence[Sequence[str]]":
    from cloister.model.image import PACKAGE_MANAGERS

    versions: dict[str, list[str]] = {}
    for toolchain in image.toolchains:
        versions.setdefault(toolchain.language, []).append(toolchain.version)
    managers = {
        language: [f"{name} {image.package_managers[name]}" for name in names if name in image.package_managers]
        for language, names in PACKAGE_MANAGERS.items()
    }
    return [(language, ", ".join(found), ", ".join(managers[language]) or "-") for language, found in versions.items()]


@app.command("rm")
def remove(
    context: typer.Context,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The image's name, or a unique beginning of its digest.")],
) -> None:
    """Remove an image that nothing stands on.

    Example:  cloister image rm base
    """
    ask(context, lambda client: client.remove_image(name))
    print_line(output_console(), f"removed {name}")


async def ensure_image(application: "Application") -> None:
    """Build the image `base` now, and visibly, when this machine never did: every sandbox needs it for git."""
    if not any(image.name == _EVERYWHERE for image in await application.images.list()):
        with BuildBar() as bar:
            await application.images.ensure(_EVERYWHERE, bar.show)


class BuildBar:
    """Shows how far a build is: a bar on a terminal, a line per stage elsewhere."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        console = output_console()
        self._console = console
        self._stage = ""
        # Refreshed with each report: Rich's own refreshing would need a thread.
        self._bar = Progress(
            TextColumn("{task.description}", table_column=None),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task = self._bar.add_task("starting", total=1.0)

    def __enter__(self) -> "BuildBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def show(self, progress: "BuildProgress") -> None:
        """Show how far it is."""
        self._bar.update(self._task, description=progress.stage, completed=progress.fraction, refresh=True)
        if progress.stage != self._stage and not self._console.is_terminal:
            print_line(self._console, f"{progress.fraction:4.0%} {progress.stage}")
        self._stage = progress.stage
