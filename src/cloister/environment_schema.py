"""The environment file's grammar: which keys there are, and what may stand in each."""

import re
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    WithJsonSchema,
)

from cloister.model.model_provider import MODEL_CHOICE, parse_choice
from cloister.model.network import WEB_PORTS, parse_domain
from cloister.model.quantity import DURATION_PATTERN, GIB, HOUR, MIB, MINUTE, SIZE_PATTERN, parse_duration, parse_size
from cloister.model.secret import RESERVED_NAMES, RESERVED_PREFIXES, VARIABLE_NAME, in_any_case, is_reserved

LARGEST_SCRIPT_BYTES = 100 * 1024
"""Below the kernel's limit for one argument (MAX_ARG_STRLEN, 128 KiB)."""

_OWN_BUSINESS = re.compile(
    r"PATH|USER|LOGNAME|SHELL|TERM|TMPDIR|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|PS4|PROMPT_COMMAND|JAVA_TOOL_OPTIONS|LD_.*|GLIBC_.*"
)
"""Names no secret may have, but which a variable may: what it breaks is only the task's own."""

_IMAGE = re.compile(
    r"(?:[a-z0-9]+(?:(?:\.|-+)[a-z0-9]+)*(?::[0-9]{1,5})?/)?"  # registry
    r"[a-z0-9]+(?:(?:[._-]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._-]|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"  # tag
    r"(?:@sha256:[0-9a-f]{64})?"
)
"""An OCI reference (distribution specification, "Pulling manifests"), of which a recipe's name is the simplest."""

_METHOD = re.compile(r"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]*")
"""A method is a token (RFC 9110, 9.1 and 5.6.2); those in use are in capitals."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_LONGEST_TEXT = 512
_LONGEST_IMAGE = 255
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_variable_name(name: str) -> str:
    """Return `name`. Raises ValueError when no variable can have it."""
    return _check_name(name, reserved=is_reserved(name) and not _OWN_BUSINESS.fullmatch(name))


def check_secret_name(name: str) -> str:
    """Return `name`. Raises ValueError when no secret can have it."""
    return _check_name(name, reserved=is_reserved(name))


def _check_name(name: str, *, reserved: bool) -> str:
    if not VARIABLE_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is not a variable name: letters, digits and underscores, not starting with a digit")
    if reserved:
        raise ValueError(f"{name!r} is set by Cloister or the system; choose another name")
    return name


def _check_image(name: str) -> str:
    if len(name) > _LONGEST_IMAGE or not _IMAGE.fullmatch(name):
        raise ValueError('must be an image: a name such as "base", or an OCI reference')
    return name


def _check_text(text: str) -> str:
    if not text.strip() or len(text) > _LONGEST_TEXT or _CONTROL.search(text):
        raise ValueError("must be 1 to 512 characters on one line")
    return text


def _check_script(script: str) -> str:
    if not script.strip():
        raise ValueError("must not be empty; leave the key out")
    if "\x00" in script or len(script.encode()) > LARGEST_SCRIPT_BYTES:
        raise ValueError(f"must be text of at most {LARGEST_SCRIPT_BYTES // 1024} KiB, without NUL")
    return script


def _check_value(value: str) -> str:
    if "\x00" in value or len(value.encode()) > LARGEST_SCRIPT_BYTES:
        raise ValueError(f"must have at most {LARGEST_SCRIPT_BYTES // 1024} KiB, without NUL")
    return value


def _check_label(name: str) -> str:
    if not _LABEL.fullmatch(name):
        raise ValueError(f"{name!r} is not a name: letters, digits, hyphens and underscores")
    return name


def _check_model(text: str) -> str:
    parse_choice(text)
    return text


def _check_method(method: str) -> str:
    if not _METHOD.fullmatch(method):
        raise ValueError(f'{method!r} is not an HTTP method in capitals, such as "GET"')
    return method


def _check_secret(value: object) -> object:
    if isinstance(value, str):
        raise ValueError('holds no value here: write `NAME = { mode = "setup" }` and give the value by `secret set`')  # noqa: TRY004
    return value


def _size_between(lowest: int, highest: int) -> BeforeValidator:
    def check(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError('must be a size in quotes, with its unit, such as "4GiB"')  # noqa: TRY004
        size = parse_size(value)
        if not lowest <= size <= highest:
            raise ValueError(f"must be {lowest // MIB} MiB to {highest // GIB} GiB")
        return size

    return BeforeValidator(check)


def _to_seconds(value: object) -> object:
    if not isinstance(value, str):
        raise ValueError('must be a duration in quotes, with its unit, such as "20m"')  # noqa: TRY004
    return parse_duration(value)


def _command_line_to_table(value: object) -> object:
    return {"command": value} if isinstance(value, str) else value


def _written(pattern: str, **more: Any) -> WithJsonSchema:
    """Describe a text by an ECMA-262 pattern, for the JSON Schema; what it cannot say is checked here alone."""
    return WithJsonSchema({"type": "string", "pattern": pattern, **more})


class _OrCommandLine:
    """In the JSON Schema, a command line may stand for the table."""

    def __get_pydantic_json_schema__(self, core: Any, handler: GetJsonSchemaHandler) -> dict[str, Any]:
        return {"anyOf": [_SCRIPT.json_schema, handler(core)]}


_ANY_CASE_RESERVED = "|".join(
    [
        *(in_any_case(name) for name in sorted(RESERVED_NAMES)),
        *(f"{in_any_case(prefix)}.*" for prefix in RESERVED_PREFIXES),
    ]
)
_NOT_RESERVED = {"not": {"pattern": f"^(?:{_ANY_CASE_RESERVED})$"}}
_SCRIPT = _written(r"^[^\x00]*\S[^\x00]*$", minLength=1, maxLength=LARGEST_SCRIPT_BYTES)
_SIZE = _written(SIZE_PATTERN)

Duration = Annotated[float, BeforeValidator(_to_seconds), _written(DURATION_PATTERN)]
VariableName = Annotated[
    str,
    AfterValidator(check_variable_name),
    _written(f"^{VARIABLE_NAME.pattern}$", anyOf=[{"pattern": f"^(?:{_OWN_BUSINESS.pattern})$"}, _NOT_RESERVED]),
]
SecretName = Annotated[str, AfterValidator(check_secret_name), _written(f"^{VARIABLE_NAME.pattern}$", **_NOT_RESERVED)]
VariableValue = Annotated[str, AfterValidator(_check_value), _written(r"^[^\x00]*$", maxLength=LARGEST_SCRIPT_BYTES)]
Label = Annotated[str, AfterValidator(_check_label), _written(f"^{_LABEL.pattern}$")]
Text = Annotated[
    str,
    AfterValidator(_check_text),
    _written(r"^[^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f][^\x00-\x1f\x7f]*$", maxLength=_LONGEST_TEXT),
]
Script = Annotated[str, AfterValidator(_check_script), _SCRIPT]
Image = Annotated[str, AfterValidator(_check_image), _written(f"^(?:{_IMAGE.pattern})$", maxLength=_LONGEST_IMAGE)]
Model = Annotated[str, AfterValidator(_check_model), _written(f"^{MODEL_CHOICE}$")]
Method = Annotated[str, AfterValidator(_check_method), _written(f"^{_METHOD.pattern}$")]
Mode = Literal["off", "limited", "full"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class VersionsTable(_Table):
    """`[versions]`: language to version."""

    python: Text | None = Field(default=None, examples=['"3.12"'])
    """Version of Python."""
    node: Text | None = Field(default=None, examples=['"22"'])
    """Version of Node.js."""
    rust: Text | None = Field(default=None, examples=['"1.92.0"'])
    """Version of Rust."""
    go: Text | None = Field(default=None, examples=['"1.25.1"'])
    """Version of Go."""
    swift: Text | None = Field(default=None, examples=['"6.2"'])
    """Version of Swift."""
    ruby: Text | None = Field(default=None, examples=['"3.4.4"'])
    """Version of Ruby."""
    php: Text | None = Field(default=None, examples=['"8.4"'])
    """Version of PHP."""
    java: Text | None = Field(default=None, examples=['"25"'])
    """Version of Java."""


class SecretTable(_Table):
    """One key of `[secrets]`. It can only narrow what the vault says of the secret."""

    mode: Literal["setup", "brokered"] | None = Field(default=None, examples=['"setup"'])
    """`setup`: a variable in setup alone. `brokered`: added to requests by the proxy, never in the sandbox."""
    hosts: tuple[str, ...] = Field(default=(), examples=['["api.github.com"]'], strict=False)
    """Brokered: the hosts that get it, among the vault's and their sub-domains."""
    header: str | None = Field(default=None, examples=['"Authorization"'])
    """Brokered: the header that carries it. It must be the vault's."""
    format: str | None = Field(default=None, examples=['"Bearer {}"'])
    """Brokered: the header's text, with `{}` for the secret, or `basic:USER`. It must be the vault's."""
    query: str | None = Field(default=None, examples=['"key"'])
    """Brokered: the query parameter that carries it, in place of a header. It must be the vault's."""
    methods: tuple[str, ...] | None = Field(default=None, examples=['["GET", "HEAD"]'], min_length=1, strict=False)
    """Brokered: the methods of the requests that carry it, among the vault's."""
    paths: tuple[str, ...] | None = Field(default=None, examples=['["/repos/me"]'], min_length=1, strict=False)
    """Brokered: the paths of those requests, each below one of the vault's; `/repos` stands for all below it."""


class SetupTable(_Table):
    """`[setup]`: how dependencies are installed."""

    automatic: bool = Field(default=True, examples=["true"])
    """Without a script, detect package managers by their lock files and manifests and install what those name."""
    script: Script | None = Field(default=None, examples=['"pip install -e .[test]"'])
    """A bash script for a cold environment."""
    maintenance: Script | None = Field(default=None, examples=['"pip install -e .[test]"'])
    """A bash script for a kept disk, after the task's ref is checked out."""
    timeout: Duration = Field(default=20 * MINUTE, examples=['"20m"'])
    """Longest time for either."""
    residue: Literal["refuse", "scrub", "allow"] = Field(default="refuse", examples=['"refuse"'])
    """What to do when setup left a secret on disk: `refuse`, `scrub` or `allow`."""


class ServiceTable(_Table):
    """One key of `[services]`."""

    command: Script = Field(examples=['"redis-server"'])
    """A bash script that is run beside the agent, in its container, from before it starts. `NAME = "command line"` is
    short for it.
    """
    ready: Text | None = Field(default=None, examples=['"tcp:5432"'])
    """`"tcp:PORT"`, or a command line whose success means ready. The next service, or the agent, starts then."""
    timeout: Duration = Field(default=MINUTE, examples=['"2m"'])
    """How long it may take until it is ready."""


class NetworkTable(_Table):
    """`[network]`: who may be reached in which phase."""

    setup: Mode = Field(default="full", examples=['"full"'])
    """Network in setup: `off`, `limited` or `full`."""
    agent: Mode = Field(default="off", examples=['"off"'])
    """Network for the agent: `off`, `limited` or `full`."""
    allow: tuple[str, ...] = Field(default=(), examples=['["example.com"]'], strict=False)
    """Limited: domains, each with its sub-domains, or `"preset:common-dependencies"`, `"preset:package-registries"`."""
    deny: tuple[Annotated[str, AfterValidator(parse_domain)], ...] = Field(
        default=(), examples=['["uploads.example.com"]'], strict=False
    )
    """Domains, each with its sub-domains, that are refused in every mode; they win over `allow`."""
    methods: tuple[Method, ...] | None = Field(
        default=None, examples=['["GET", "HEAD", "OPTIONS"]'], min_length=1, strict=False
    )
    """HTTP methods that are allowed."""
    audit: Literal["decisions", "full"] = Field(default="decisions", examples=['"full"'])
    """What is told: `decisions`, or `full`, every request inside HTTPS too."""
    ports: tuple[Annotated[int, Field(ge=1, le=65535, strict=True)], ...] = Field(
        default=WEB_PORTS, examples=["[80, 443]"], min_length=1, strict=False
    )
    """Ports that are allowed."""


class LimitsTable(_Table):
    """`[limits]`: what one attempt may use."""

    cpu: Annotated[float, Field(ge=0.01, le=1024, allow_inf_nan=False)] = Field(default=2.0, examples=["2.0"])
    """Processors."""
    memory: Annotated[int, _size_between(16 * MIB, 64 * 1024 * GIB), _SIZE] = Field(
        default=4 * GIB, examples=['"4GiB"']
    )
    """Memory, at most the machine's."""
    disk: Annotated[int, _size_between(16 * MIB, 1024 * 1024 * GIB), _SIZE] = Field(
        default=10 * GIB, examples=['"10GiB"']
    )
    """What the sandbox may write, at most 1 TiB: in setup, and then again above what is kept of that."""
    inodes: Annotated[int, Field(ge=1024, le=1_000_000_000)] = Field(default=1_000_000, examples=["1_000_000"])
    """Files, folders and links that it may make, at most one for each 4 KiB of `limits.disk`."""
    pids: Annotated[int, Field(ge=16, le=4_194_304)] = Field(default=2048, examples=["2048"])
    """Processes and threads, at most 32768."""
    output: Annotated[int, _size_between(MIB, 1024 * GIB), _SIZE] = Field(default=50 * MIB, examples=['"50MiB"'])
    """What one command may print, at most 1 GiB."""
    time: Duration = Field(default=HOUR, examples=['"1h"'])
    """Wall clock of an attempt, at most 7 days."""
    stuck: Duration | None = Field(default=None, examples=['"10m"'])
    """How long the agent may print nothing and compute next to nothing, at most 7 days; longer, and it is stopped."""
    rounds: Annotated[int, Field(ge=0, le=20)] = Field(default=1, examples=["1"])
    """How often failing checks are given back to the agent."""
    tokens: Annotated[int, Field(ge=1, le=10**12)] | None = Field(default=None, examples=["2_000_000"])
    """Tokens that the agent's model may use, sent and received together. Above it the agent is stopped."""
    cost: Annotated[float, Field(gt=0, le=1_000_000, allow_inf_nan=False)] | None = Field(
        default=None, examples=["5.0"]
    )
    """US dollars that they may cost, by the prices in Cloister's settings. Above it the agent is stopped."""


class CheckTable(_Table):
    """One key of `[checks]`."""

    command: Script = Field(examples=['"pytest -q"'])
    """A command that must pass in the clean room. `NAME = "command line"` is short for it."""
    timeout: Duration = Field(default=10 * MINUTE, examples=['"10m"'])
    """Longest time for it."""


class CacheTable(_Table):
    """`[cache]`: how long a disk is kept after setup."""

    ttl: Duration = Field(default=12 * HOUR, examples=['"12h"'])
    """How long a disk is kept after setup."""


class ReviewTable(_Table):
    """`[review]`: reviews of pull requests."""

    automatic: bool = Field(default=False, examples=["true"])
    """Review each pull request when it is opened, and when it is made ready."""
    on_push: bool = Field(default=False, examples=["true"])
    """Review what comes to a pull request later, too: only what is new."""
    lowest: Literal["P0", "P1", "P2", "P3"] = Field(default="P1", examples=['"P1"'])
    """Findings that matter less are left out: P0 must not be merged, P1 should be mended first, P3 is taste."""


class EnvironmentTable(_Table):
    """The whole file."""

    name: Text | None = Field(default=None, examples=['"web"'])
    """Selects the secrets in the vault. A repository's own file that names another vault's gets them by `--env`
    alone.
    """
    repository: Text | None = Field(default=None, examples=['"https://git.example/team/web.git"'])
    """Address of the repository of tasks that name none, as those of `codex cloud` do. It counts in a stored
    environment alone.
    """
    image: Image = Field(default="base", examples=['"base"'])
    """Name of an image's recipe, or the reference of one that was fetched to this node with `cloister image pull`."""
    agent: Label = Field(default="codex", examples=['"codex"'])
    """Name of the agent; `--agent` and `--command` win over it."""
    model: Model | None = Field(default=None, examples=['"openai/gpt-5"'])
    """Who answers the agent: a provider of Cloister's settings, and behind a slash its model. `--model` wins."""
    versions: VersionsTable = VersionsTable()
    variables: dict[VariableName, VariableValue] = Field(default={}, examples=['{ DATABASE_URL = "sqlite:///dev.db" }'])
    """A variable, set in setup, for the agent, and in checks. A new value makes setup run again."""
    secrets: dict[SecretName, Annotated[SecretTable, BeforeValidator(_check_secret)]] = {}
    """Secrets by name; their values are in the vault."""
    setup: SetupTable = SetupTable()
    services: dict[Label, Annotated[ServiceTable, BeforeValidator(_command_line_to_table), _OrCommandLine()]] = {}
    """Programs that run beside the agent, by a name of yours."""
    network: NetworkTable = NetworkTable()
    limits: LimitsTable = LimitsTable()
    checks: dict[Label, Annotated[CheckTable, BeforeValidator(_command_line_to_table), _OrCommandLine()]] = {}
    """Commands that must pass in the clean room, by a name of yours."""
    cache: CacheTable = CacheTable()
    review: ReviewTable = ReviewTable()


def languages() -> tuple[str, ...]:
    """Return the languages of `[versions]`."""
    return tuple(VersionsTable.model_fields)
