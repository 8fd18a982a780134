"""The table `[github]` of the settings, and the variables that stand for its keys."""

import json
import re
from collections.abc import Mapping
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr

from cloister.model.repository_pattern import parse_repository_pattern

PREFIX = "CLOISTER_GITHUB_"
GITHUB_WEBHOOK = "/webhooks/github"
"""Below the address at which people reach the server: where GitHub sends deliveries."""


def _to_url(text: str) -> str:
    """Return an origin. Tokens go there, so it is encrypted, except on this very machine."""
    url = urlsplit(text.strip().rstrip("/"))
    if url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc or url.path or url.query:
        raise ValueError('must be a scheme and a host, such as "https://github.example.com"')
    if url.scheme == "http" and url.hostname not in ("127.0.0.1", "::1", "localhost"):
        raise ValueError("http:// would send tokens unencrypted; write https://")
    return f"{url.scheme}://{url.netloc.lower()}"


def _to_file(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be an absolute path")
    return text


def _to_list(value: object) -> object:
    """Read what a variable holds: a list as JSON, or words between commas."""
    if not isinstance(value, str):
        return value
    return json.loads(value) if value.lstrip().startswith("[") else [word for word in value.split(",") if word.strip()]


_MENTION = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,98}[A-Za-z0-9])?")
SHORTEST_SECRET = 16


def _to_mention(text: str) -> str:
    name = text.strip().removeprefix("@")
    if not _MENTION.fullmatch(name):
        raise ValueError('must be a name that can be mentioned, such as "cloister"')
    return name


def check_webhook_secret(text: str) -> None:
    """Raise ValueError for what is too easily guessed, or may not arrive as it was typed."""
    if len(text) < SHORTEST_SECRET or not text.isascii() or not text.isprintable():
        raise ValueError(f"must be at least {SHORTEST_SECRET} printable characters of ASCII")


def _to_secret(secret: SecretStr) -> SecretStr:
    check_webhook_secret(secret.get_secret_value())
    return secret


WebhookSecret = Annotated[SecretStr, AfterValidator(_to_secret)]


class GitHubTable(BaseModel):
    """Where GitHub is, and how Cloister logs in."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: Annotated[str, AfterValidator(_to_url)] = Field(
        default="https://github.com", examples=['"https://github.example.com"']
    )
    """Address of GitHub: github.com's, or your Enterprise Server's."""
    app: int | None = Field(default=None, ge=1, examples=["123456"])
    """Number of your GitHub App. Absent: a personal token is used."""
    key_file: Annotated[str, AfterValidator(_to_file)] | None = Field(
        default=None, examples=['"/etc/cloister/github.pem"']
    )
    """File of the app's private key, that only its owner can read. Absent: the vault has it."""
    token_file: Annotated[str, AfterValidator(_to_file)] | None = Field(
        default=None, examples=['"/etc/cloister/github.token"']
    )
    """File of the personal token, that only its owner can read. Absent: the vault has it."""
    signing_key: Annotated[str, AfterValidator(_to_file)] | None = Field(
        default=None, examples=['"/etc/cloister/signing_key"']
    )
    """File of a private ssh key, without passphrase, that signs commits. Absent: they are not signed."""
    signing_gpg_key: Annotated[str, AfterValidator(_to_file)] | None = Field(
        default=None, examples=['"/etc/cloister/signing_key.asc"']
    )
    """File of a private GPG key, without passphrase, that signs them instead."""
    repositories: (
        Annotated[tuple[Annotated[str, AfterValidator(parse_repository_pattern)], ...], BeforeValidator(_to_list)]
        | None
    ) = Field(default=None, examples=['["team/shop", "team/web-*"]'])
    """The only repositories that Cloister logs in for. Absent: all that the login may use."""
    webhook_secret: WebhookSecret | None = None
    """What GitHub signs deliveries with. Absent: the vault has it."""
    webhook_secret_former: WebhookSecret | None = None
    """The one before, which is good too while it is replaced."""
    mention: Annotated[str, AfterValidator(_to_mention)] | None = Field(default=None, examples=['"cloister"'])
    """What is to be mentioned for a task. Absent: Cloister's login at GitHub, without `[bot]`."""
    trigger_permission: Literal["read", "write", "admin"] = "write"
    """What somebody has to be allowed there to ask for work."""
    own_login: bool = False
    """Whether Cloister's own login may ask for work, where a person shares it."""
    label: Annotated[str, Field(min_length=1, max_length=100)] | None = Field(default=None, examples=['"cloister"'])
    """A label that starts a task when it is put on an issue."""
    assign: bool = False
    """Whether assigning an issue to Cloister's login starts a task."""
    draft: bool = False
    """Whether the pull requests of such tasks are drafts."""
    tasks_per_person: Annotated[int, Field(ge=1)] = 20
    """Tasks that one person may ask for in an hour."""
    tasks_per_repository: Annotated[int, Field(ge=1)] = 60
    """Tasks that may be asked for in one repository in an hour."""
    review_all: bool = False
    """Whether every pull request is reviewed when it is opened or made ready, whatever its environment says."""
    fix_checks: Annotated[int, Field(ge=0, le=20)] = 0
    """How often failed checks may start a follow-up, for one pull request of Cloister's own."""
    environment: Annotated[str, Field(min_length=1, max_length=200)] | None = Field(default=None, examples=['"web"'])
    """Stored environment of such tasks. Absent: the one that names the repository, or else the repository's own."""


def with_github_variables(table: object, environ: Mapping[str, str]) -> object:
    """Return the table of the files with what CLOISTER_GITHUB_KEY says over it; what is no table stays as it is."""
    if not isinstance(table, Mapping):
        return table
    given = {name.removeprefix(PREFIX).lower(): value for name, value in environ.items() if name.startswith(PREFIX)}
    return {**table, **given}
