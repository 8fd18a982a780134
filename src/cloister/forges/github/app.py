"""A GitHub App of one's own, made by GitHub from a manifest that a person posts there with their browser.

See `Registering a GitHub App from a manifest` in GitHub's documentation.
"""

import json
import re
from collections.abc import Mapping
from urllib.parse import quote, urlsplit

from cloister.errors import NotFoundError, UsageError
from cloister.forges.github.client import GitHubClient, in_our_words
from cloister.forges.github.credentials import Credentials
from cloister.model.forge import AppManifest, MadeApp

PERMISSIONS: Mapping[str, str] = {
    "contents": "write",
    "pull_requests": "write",
    "issues": "write",
    "checks": "write",
    "metadata": "read",
}
"""To clone and push, to open pull requests, to answer and label, and to say what checks found."""
OPTIONAL: Mapping[str, str] = {"actions": "read"}
"""To read the logs of checks that failed; without it, they are left out."""
EVENTS = (
    "check_run",
    "check_suite",
    "issue_comment",
    "issues",
    "pull_request",
    "pull_request_review",
    "pull_request_review_comment",
)
"""What a webhook is told of."""
LONGEST_NAME = 34
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9 _.-]{{0,{LONGEST_NAME - 1}}}")
_ORGANIZATION = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{0,38}")
_CODE = re.compile(r"[A-Za-z0-9_-]{10,200}")
_HOMEPAGE = "https://github.com"


def manifest_of(
    url: str, *, name: str, organization: str | None, redirect: str, webhook: str | None, workflows: bool
) -> AppManifest:
    """Return what a browser is to post to the GitHub at `url`, which then leads it to `redirect`. UsageError."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"an app's name has 1 to {LONGEST_NAME} letters, digits, spaces and . _ -; {name!r} is none")
    if organization is not None and not _ORGANIZATION.fullmatch(organization):
        raise UsageError(f"{organization!r} is the name of no organisation")
    if urlsplit(redirect).hostname != "127.0.0.1" or urlsplit(redirect).scheme != "http":
        raise UsageError("who made an app is led back to this very machine, http://127.0.0.1:PORT/, and nowhere else")
    of = "" if organization is None else f"/organizations/{organization}"
    return AppManifest(
        address=f"{url}{of}/settings/apps/new",
        manifest=json.dumps(_manifest(name, redirect, webhook, workflows=workflows)),
        webhook=webhook,
    )


def _manifest(name: str, redirect: str, webhook: str | None, *, workflows: bool) -> Mapping[str, object]:
    home = _HOMEPAGE if webhook is None else "{0.scheme}://{0.netloc}".format(urlsplit(webhook))
    told = {} if webhook is None else {"hook_attributes": {"url": webhook, "active": True}, "default_events": EVENTS}
    return {
        "name": name,
        "url": home,
        "redirect_url": redirect,
        "public": False,
        "default_permissions": {**PERMISSIONS, **OPTIONAL, **({"workflows": "write"} if workflows else {})},
        **told,
    }


async def make_app(client: GitHubClient, credentials: Credentials, url: str, code: str) -> MadeApp:
    """Let GitHub make the app that a code stands for, and keep its key and its webhook's secret.

    The code is good once, for an hour. UsageError for what can be none; NotFoundError for one that is used or too old.
    """
    if not _CODE.fullmatch(code):
        raise UsageError("that is no code of GitHub's: it is a word of letters and digits")
    credentials.check_vault_is_used()
    try:
        async with in_our_words("app for this code"):
            made = await client.post(f"/app-manifests/{quote(code, safe='')}/conversions", data=b"")
    except NotFoundError as error:
        raise NotFoundError(
            "GitHub knows no such code: each is good once, for an hour", hint="begin anew: cloister github setup"
        ) from error
    await credentials.keep_app(made["id"], made["pem"], made.get("webhook_secret"))
    page = made["html_url"]
    return MadeApp(
        number=made["id"],
        slug=made.get("slug") or made["name"],
        address=page,
        install_address=f"{page}/installations/new",
        webhook=bool(made.get("webhook_secret")),
        missing=tuple(f"the app has no permission {key}: {value}" for key, value in lacking(made["permissions"])),
    )


def lacking(permissions: Mapping[str, str]) -> list[tuple[str, str]]:
    """Return what an app needs and has not been given."""
    return [(key, value) for key, value in PERMISSIONS.items() if permissions.get(key) not in (value, "write", "admin")]
