"""Apps that are made of a manifest: the pages that a person sees, and the code that they lead back with.

As `Registering a GitHub App from a manifest` in GitHub's documentation has it: what was posted is shown with a name,
which can be changed, and a button that leads back. The app is installed on a page of its own.
"""

import json
import re
from collections.abc import Mapping
from html import escape
from secrets import token_hex
from typing import Any
from urllib.parse import urlencode, urlsplit

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.datastructures import FormData
from starlette.responses import HTMLResponse, RedirectResponse, Response

from cloister.testing.github import answers
from cloister.testing.github.account import Accounts
from cloister.testing.github.description import Description
from cloister.testing.github.hosted import AppOnForge, Hook

PAGE = re.compile(r"/(?:organizations/([\w-]+)/)?settings/apps/new")
CONFIRM = "/settings/apps/manifest"
INSTALL = re.compile(r"/apps/([\w-]+)/installations/new")
_LONGEST_NAME = 34
_KNOWN = frozenset(
    "name url hook_attributes redirect_url callback_urls setup_url description public default_events "
    "default_permissions request_oauth_on_install setup_on_update".split()
)


class Manifests:
    """What was posted, until its code is used."""

    def __init__(self, accounts: Accounts, description: Description, url: str) -> None:
        self.person = "ann"
        """Who is logged in there, in the browser."""
        self._accounts = accounts
        self._description = description
        self._url = url
        self._shown: dict[str, tuple[Mapping[str, Any], str, str]] = {}
        """Manifest, owner and state by the token of the page's form."""
        self._codes: dict[str, tuple[Mapping[str, Any], str]] = {}

    def take(self, organization: str | None, state: str, form: FormData, problems: list[str]) -> Response:
        """Show what was posted, with a button."""
        try:
            manifest = json.loads(str(form.get("manifest", "null")))
        except ValueError:
            manifest = None
        wrong = self._wrong(manifest)
        problems += wrong
        if wrong:
            return HTMLResponse("<p>Invalid GitHub App configuration</p>", 422)
        token = token_hex(20)
        self._shown[token] = manifest, organization or self.person, state
        return self._ask(token, str(manifest["name"]))

    def confirm(self, form: FormData) -> Response:
        """Lead the browser back, as after a click on `Create GitHub App`."""
        token, name = str(form.get("authenticity_token", "")), str(form.get("name", "")).strip()
        if token not in self._shown:
            return HTMLResponse("<p>Your browser did something unexpected.</p>", 422)
        if not name or len(name) > _LONGEST_NAME or _slug_of(name) in {it.slug for it in self._accounts.apps}:
            return self._ask(token, name, "Name is already taken, or cannot be one")
        manifest, owner, state = self._shown.pop(token)
        code = token_hex(20)
        self._codes[code] = {**manifest, "name": name}, owner
        joined = "&" if urlsplit(manifest["redirect_url"]).query else "?"
        query = urlencode({"code": code, "state": state} if state else {"code": code})
        return RedirectResponse(f"{manifest['redirect_url']}{joined}{query}", 302)

    def _ask(self, token: str, name: str, wrong: str = "") -> Response:
        owner = self._shown[token][1]
        return HTMLResponse(
            f"<title>Create GitHub App</title><p>{escape(wrong)}</p>"
            f'<form method="post" action="{CONFIRM}"><input type="hidden" name="authenticity_token" value="{token}">'
            f'<label>GitHub App name <input name="name" value="{escape(name)}"></label>'
            f"<button>Create GitHub App for {escape(owner)}</button></form>",
            422 if wrong else 200,
        )

    def install(self, slug: str, *, clicked: bool) -> Response:
        """Show an app's button, or do what it is for: install the app for all repositories of its owner."""
        app = next((it for it in self._accounts.apps if it.slug == slug), None)
        if app is None:
            return HTMLResponse("<p>Not Found</p>", 404)
        if clicked:
            self._accounts.uninstalled.discard(app.id)
            return HTMLResponse(f"<title>Installed</title><p>{app.slug} is installed for {escape(app.owner)}.</p>")
        return HTMLResponse(
            f"<title>Install {app.slug}</title><form method='post'><p>All repositories of {escape(app.owner)}</p>"
            "<button>Install</button></form>"
        )

    def convert(self, code: str) -> dict[str, Any] | None:
        """Make the app, once; None for a code that is none, or was used."""
        manifest, owner = self._codes.pop(code, (None, ""))
        if manifest is None:
            return None
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        number = 100 + len(self._accounts.apps)
        hook = manifest.get("hook_attributes")
        secret = token_hex(20) if hook else None
        app = AppOnForge(
            id=number,
            slug=_slug_of(str(manifest["name"])),
            public_key=key.public_key()
            .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
            .decode(),
            installation=number * 10,
            owner=owner,
            permissions={**manifest.get("default_permissions", {}), "metadata": "read"},
            events=tuple(manifest.get("default_events", ())),
            hook=Hook(url=hook["url"], secret=secret) if hook else Hook(),
        )
        self._accounts.apps.append(app)
        self._accounts.uninstalled.add(number)
        pem = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
        return {
            **answers.app(self._url, app),
            "client_id": f"Iv1.{token_hex(8)}",
            "client_secret": token_hex(20),
            "webhook_secret": secret,
            "pem": pem.decode(),
        }

    def _wrong(self, manifest: Any) -> list[str]:
        if not isinstance(manifest, dict):
            return ["manifest: is no object"]
        wrong = [f"manifest: {name} is not described" for name in manifest.keys() - _KNOWN]
        wrong += [f"manifest: {name} is missing" for name in ("name", "url", "redirect_url") if not manifest.get(name)]
        if len(str(manifest.get("name"))) > _LONGEST_NAME:
            wrong.append(f"manifest: name is too long (maximum is {_LONGEST_NAME} characters)")
        hook = manifest.get("hook_attributes")
        if hook is not None and urlsplit(hook.get("url", "")).scheme != "https":
            wrong.append("manifest: hook_attributes.url is to be an https address that GitHub reaches")
        if manifest.get("default_events") and hook is None:
            wrong.append("manifest: default_events need hook_attributes")
        permissions = manifest.get("default_permissions", {})
        known = self._description.resolved({"$ref": "#/components/schemas/app-permissions"})["properties"]
        wrong += [
            f"manifest: no permission {name}: {value}"
            for name, value in permissions.items()
            if value not in known.get(name, {}).get("enum", ())
        ]
        return wrong


def _slug_of(name: str) -> str:
    return re.sub(r"[^a-z0-9-]+", "-", name.lower())
