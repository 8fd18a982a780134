"""`cloister github setup`: an app of one's own at GitHub, by a page in the browser.

Nothing is believed that comes back without the state that went out: another page could send the browser here too.
"""

import json
import os
import re
import secrets
from html import escape
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Annotated
from urllib.parse import parse_qs, quote, urlsplit

import typer

from cloister.cli.session import ask, config_of, is_served, server_of, settings_of
from cloister.cli.settings_file import write_setting
from cloister.cli.terminal import error_console, neutralize, output_console, print_line
from cloister.errors import UsageError

if TYPE_CHECKING:
    from cloister.model.forge import AppManifest, MadeApp

_CODE = re.compile(r"[A-Za-z0-9_-]{10,200}")
_BACK = "/made"
_VARIABLE = "CLOISTER_GITHUB_APP"
_NOWHERE = "http://127.0.0.1:9/made"
"""Where nobody listens (the discard port): the browser stays there, with the code in its address."""
_CSP = "default-src 'none'; style-src 'unsafe-inline'; form-action {origin}; frame-ancestors 'none'; base-uri 'none'"
_PAGE = """<!doctype html><meta charset="utf-8"><title>Cloister</title><body style="font:1rem sans-serif;margin:3rem">
{body}</body>"""


def setup(
    context: typer.Context,
    name: Annotated[
        str, typer.Option(metavar="NAME", help="What the app is called; GitHub has no two of a name.")
    ] = "cloister",
    organization: Annotated[
        str | None, typer.Option("--org", metavar="NAME", help="Organisation whose app it is; by default yours.")
    ] = None,
    workflows: Annotated[
        bool, typer.Option("--workflows", help="Let it push changes of workflows, when a person says so.")
    ] = False,
    paste: Annotated[
        bool, typer.Option("--paste", help="The browser is on another machine: copy addresses to it and back.")
    ] = False,
) -> None:
    """Make a GitHub App for Cloister with your browser, and keep its key in the vault.

    Example:  cloister github setup --org team --name cloister-of-team
    """
    state = secrets.token_urlsafe(24)

    def manifest(redirect: str) -> "AppManifest":
        return ask(
            context,
            lambda client: client.forge_app_manifest(
                name=name, organization=organization, redirect=redirect, workflows=workflows
            ),
        )

    if paste:
        code = _by_hand(manifest(_NOWHERE), state)
    else:
        with Listener(state) as listener:
            listener.page = page_of(manifest(listener.address + _BACK), state)
            code = _by_browser(listener)
    _tell(context, ask(context, lambda client: client.make_forge_app(code)))


def page_of(manifest: "AppManifest", state: str) -> str:
    """Return a page with a button that posts the manifest."""
    to = escape(f"{manifest.address}?state={quote(state, safe='')}")
    value = escape(json.dumps(json.loads(manifest.manifest)))
    body = (
        f'<form method="post" action="{to}"><input type="hidden" name="manifest" value="{value}">'
        f"<p>GitHub will ask you to confirm the name of the app.</p><button>Go to GitHub</button></form>"
    )
    return _PAGE.format(body=body)


def read_answer(address: str, state: str) -> str:
    """Return the code out of the address that GitHub led to. UsageError for what has none, or another's state."""
    query = parse_qs(urlsplit(address.strip()).query)
    codes, states = query.get("code", []), query.get("state", [])
    if len(codes) != 1 or not _CODE.fullmatch(codes[0]):
        raise UsageError(
            "that address has no code of GitHub's", hint="copy the whole address that the browser ended at"
        )
    if len(states) != 1 or not secrets.compare_digest(states[0].encode(), state.encode()):
        raise UsageError(
            "that is no answer to what was asked here: its state is another one",
            hint="begin anew: cloister github setup",
        )
    return codes[0]


class Listener(HTTPServer):
    """Waits on this machine for the browser: shows it the page, and takes the code that it comes back with."""

    def __init__(self, state: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.state = state
        self.page = ""
        self.path = f"/{secrets.token_urlsafe(24)}"  # of the page, which has the state: others use this machine too
        self.code: str | None = None

    @property
    def address(self) -> str:
        """Of all that it answers, without a path."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def wait(self) -> str:
        """Return the code, once it came."""
        while self.code is None:
            self.handle_request()
        return self.code


class _Handler(BaseHTTPRequestHandler):
    server: Listener
    timeout = 10.0

    def do_GET(self) -> None:
        """Answer the page, or take the code. A name that leads here (DNS rebinding) is none of ours."""
        if self.headers.get("Host") != urlsplit(self.server.address).netloc:
            self._answer(421, "<p>This is another machine.</p>")
        elif secrets.compare_digest(self.path.encode(), self.server.path.encode()):
            self._answer(200, None)
        elif urlsplit(self.path).path == _BACK:
            self._take()
        else:
            self._answer(404, "<p>There is nothing here.</p>")

    def _take(self) -> None:
        try:
            self.server.code = read_answer(self.path, self.server.state)
        except UsageError as error:
            self._answer(400, f"<p>{escape(str(error))}</p>")
        else:
            self._answer(200, "<p>GitHub made the app. Go on in the terminal.</p>")

    def _answer(self, status: int, body: str | None) -> None:
        page = (self.server.page if body is None else _PAGE.format(body=body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Content-Security-Policy", _CSP.format(origin=_origin_in(self.server.page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: addresses have the code in them."""


def _origin_in(page: str) -> str:
    found = re.search(r'action="(https?://[^/"]+)', page)
    return found[1] if found else "'none'"


def _by_browser(listener: Listener) -> str:
    console = error_console()
    print_line(console, f"open in a browser on this machine: {listener.address}{listener.path}")
    print_line(console, "(it is on another one? stop, and: cloister github setup --paste)")
    return listener.wait()


def _by_hand(manifest: "AppManifest", state: str) -> str:
    console = error_console()
    page = page_of(manifest, state)
    print_line(console, "copy this whole line into the address bar of a browser, and follow it:")
    print_line(output_console(), f"data:text/html;charset=utf-8,{quote(page)}")
    print_line(console, "it ends at a page that cannot be reached; copy the address of that one")
    return read_answer(str(typer.prompt("the address", err=True)), state)


def _tell(context: typer.Context, made: "MadeApp") -> None:
    console = output_console()
    kept = "its key and the secret of its webhook are" if made.webhook else "its key is"
    print_line(console, neutralize(f"GitHub App {made.slug} is made, and {kept} in the vault"))
    for what in made.missing:
        print_line(console, neutralize(f"missing: {what}"))
    if not made.webhook:
        print_line(console, "note: it has no webhook, because the settings do not say how this server is reached")
    _keep_number(context, made.number)
    print_line(console, neutralize(f"install it for your repositories: {made.install_address}"))
    print_line(console, "then look: cloister github doctor")


def _keep_number(context: typer.Context, number: int) -> None:
    """Write the app's number into the settings, or say where it belongs."""
    console = output_console()
    if (server := server_of(context)) is not None:
        print_line(console, f"say so in the settings of the server at {server.address}, and start it anew:")
    elif _VARIABLE in os.environ:
        print_line(console, f"say so, for what is written here loses to it: export {_VARIABLE}={number}")
        return
    else:
        try:
            path = write_setting(config_of(context), "github", "app", number)
        except UsageError as error:
            print_line(error_console(), neutralize(f"note: {error}"))
            print_line(console, "say so in the settings:")
        else:
            print_line(console, f"its number is in the settings: app = {number} in the table [github] of {path}")
            if is_served(settings_of(context).socket):
                print_line(console, "start the server anew, so that it reads them")
            return
    print_line(console, f"\n[github]\napp = {number}\n")
