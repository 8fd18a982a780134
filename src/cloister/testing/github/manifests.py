"""Apps that are made of a manifest: the page that takes it, and the code that it leads back with.

As `Registering a GitHub App from a manifest` in GitHub's documentation has it.
"""

import json
from collections.abc import Mapping
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

PAGE = r"/(?:organizations/([\w-]+)/)?settings/apps/new"
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
        self._codes: dict[str, tuple[Mapping[str, Any], str]] = {}

    def take(self, organization: str | None, state: str, form: FormData, problems: list[str]) -> Response:
        """Answer the form as after a click on `Create GitHub App`."""
        manifest = json.loads(str(form.get("manifest", "null")))
        wrong = self._wrong(manifest)
        problems += wrong
        if wrong:
            return HTMLResponse("<p>Invalid GitHub App configuration</p>", 422)
        code = token_hex(20)
        self._codes[code] = manifest, organization or self.person
        joined = "&" if urlsplit(manifest["redirect_url"]).query else "?"
        query = urlencode({"code": code, "state": state} if state else {"code": code})
        return RedirectResponse(f"{manifest['redirect_url']}{joined}{query}", 302)

    def convert(self, code: str) -> dict[str, Any] | None:
        """Make the app, once; None for a code that is none, or was used."""
        manifest, owner = self._codes.pop(code, (None, ""))
        if manifest is None:
            return None
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        number = 100 + len(self._accounts.apps)
        hook = manifest.get("hook_attributes")
        secret = token_hex(20) if hook else None
        slug = str(manifest["name"]).lower().replace(" ", "-")
        app = AppOnForge(
            id=number,
            slug=slug,
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
        if len(str(manifest.get("name"))) > 34:
            wrong.append("manifest: name is too long (maximum is 34 characters)")
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
