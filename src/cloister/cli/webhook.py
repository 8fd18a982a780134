"""`cloister webhook`: word of tasks to other programs."""

from datetime import datetime
from typing import TYPE_CHECKING, Annotated

import typer

from cloister.cli.options import JsonOption
from cloister.cli.session import ask
from cloister.cli.terminal import error_console, output_console, print_line, print_table

if TYPE_CHECKING:
    from cloister.model.webhook import Delivery

FAILED = 1
"""Of a test that was not taken."""

IdArgument = Annotated[str, typer.Argument(metavar="ID", help="The webhook's id, as `webhook list` shows it.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Word of tasks to other programs, sent by `cloister serve`.\n\n"
    "Example:  cloister webhook create https://hooks.example/cloister --event task_finished",
)


@app.command()
def create(
    context: typer.Context,
    url: Annotated[str, typer.Argument(metavar="URL", help="Where messages are posted to.")],
    event: Annotated[list[str], typer.Option(metavar="NAME", help="Event to be told of; once for each.")],
    as_json: JsonOption = False,
) -> None:
    """Have messages sent of events, and print this once what they are signed with.

    Example:  cloister webhook create https://hooks.example/cloister --event task_finished --event check_finished
    """
    about, secret = ask(context, lambda client: client.create_webhook(url, event))
    if as_json:
        _print_json({"secret": secret, "about": about})
        return
    print_line(
        output_console(), f"webhook {about.id} is told of {', '.join(about.events)}; signed with, shown this once:"
    )
    typer.echo(secret)


@app.command("list")
def list_webhooks(context: typer.Context, as_json: JsonOption = False) -> None:
    """List the webhooks, oldest first.

    Example:  cloister webhook list
    """
    found = ask(context, lambda client: client.webhooks())
    if as_json:
        _print_json(found)
        return
    rows = [
        (it.id, it.url, ", ".join(it.events), (f"paused: {it.reason}" if it.reason else "paused") if it.paused else "")
        for it in found
    ]
    print_table(output_console(), ("id", "address", "events", "state"), rows)


@app.command()
def test(context: typer.Context, webhook: IdArgument, as_json: JsonOption = False) -> None:
    """Send a message that tells of nothing, at once, and say what came of it. It ends with 1 when it was not taken.

    Example:  cloister webhook test 3fa90b1c
    """
    sent = ask(context, lambda client: client.test_webhook(webhook))
    if as_json:
        _print_json(sent)
    elif sent.delivered_at is not None:
        print_line(output_console(), f"delivered, and answered with {sent.status}")
    else:
        print_line(error_console(), f"not delivered: {sent.error}")
    if sent.delivered_at is None:
        raise typer.Exit(FAILED)


@app.command()
def deliveries(context: typer.Context, webhook: IdArgument, as_json: JsonOption = False) -> None:
    """List the newest messages of a webhook, newest first, with what came of them.

    Example:  cloister webhook deliveries 3fa90b1c
    """
    found = ask(context, lambda client: client.webhook_deliveries(webhook))
    if as_json:
        _print_json(found)
        return
    rows = [(it.id, it.event, it.task or "-", _shown(it.created_at), str(it.tries), _outcome(it)) for it in found]
    print_table(output_console(), ("id", "event", "task", "at", "tries", "outcome"), rows)


@app.command()
def resend(
    context: typer.Context,
    delivery: Annotated[str, typer.Argument(metavar="DELIVERY", help="Its id, as `webhook deliveries` shows it.")],
) -> None:
    """Send a message once more, under the same id.

    Example:  cloister webhook resend msg_4fd1c07aa01b2c3d4e5f6a7b
    """
    again = ask(context, lambda client: client.resend_delivery(delivery))
    print_line(output_console(), f"{again.id} is sent again")


@app.command()
def rotate(context: typer.Context, webhook: IdArgument, as_json: JsonOption = False) -> None:
    """Replace what messages are signed with, and print it. For a day they are signed with the former one too.

    Example:  cloister webhook rotate 3fa90b1c
    """
    secret = ask(context, lambda client: client.rotate_webhook(webhook))
    if as_json:
        _print_json({"secret": secret})
    else:
        typer.echo(secret)


@app.command()
def pause(context: typer.Context, webhook: IdArgument) -> None:
    """Let the messages of a webhook wait.

    Example:  cloister webhook pause 3fa90b1c
    """
    ask(context, lambda client: client.pause_webhook(webhook))
    print_line(output_console(), f"webhook {webhook} is paused: its messages wait")


@app.command()
def resume(context: typer.Context, webhook: IdArgument) -> None:
    """Send the messages of a paused webhook again, those that waited first.

    Example:  cloister webhook resume 3fa90b1c
    """
    ask(context, lambda client: client.pause_webhook(webhook, paused=False))
    print_line(output_console(), f"webhook {webhook} is told again")


@app.command("rm")
def remove(context: typer.Context, webhook: IdArgument) -> None:
    """Forget a webhook, its secret and its messages.

    Example:  cloister webhook rm 3fa90b1c
    """
    ask(context, lambda client: client.remove_webhook(webhook))
    print_line(output_console(), f"removed {webhook}")


app.command("add", hidden=True)(create)
app.command("remove", hidden=True)(remove)


def _outcome(delivery: "Delivery") -> str:
    if delivery.delivered_at is not None:
        return f"delivered, {delivery.status}"
    said = delivery.error or "waits"
    return f"{said}; again at {_shown(delivery.next_at)}" if delivery.next_at and delivery.error else said


def _shown(at: datetime | None) -> str:
    return f"{at.astimezone():%Y-%m-%d %H:%M:%S}" if at is not None else "-"


def _print_json(found: object) -> None:
    from pydantic import TypeAdapter

    from cloister.cli.json_lines import to_json

    typer.echo(to_json(TypeAdapter(object).dump_python(found, mode="json")))
