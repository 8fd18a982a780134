"""The environment file's grammar: which keys there are, and what may stand in each."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from cloister.model.environment import GIB, HOUR, MIB, MINUTE
from cloister.model.network import WEB_PORTS, parse_domain
from cloister.model.quantity import parse_duration, parse_size
from cloister.model.secret import VARIABLE_NAME, is_reserved

LARGEST_SCRIPT_BYTES = 100 * 1024
"""Below the kernel's limit for one argument (MAX_ARG_STRLEN, 128 KiB)."""

_OWN_BUSINESS = re.compile(
    r"PATH|USER|LOGNAME|SHELL|TERM|TMPDIR|ENV|BASH_ENV|BASHOPTS|SHELLOPTS|PS4|PROMPT_COMMAND|JAVA_TOOL_OPTIONS|LD_.*|GLIBC_.*"
)
"""Names no secret may have, but which a variable may: what it breaks is only the task's own."""

_IMAGE = re.compile(
    r"(?:[a-z0-9]+(?:(?:\.|-+)[a-z0-9]+)*(?::\d{1,5})?/)?"  # registry
    r"[a-z0-9]+(?:(?:[._-]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._-]|__|-+)[a-z0-9]+)*)*"
    r"(?::[A-Za-z0-9_][A-Za-z0-9._-]{0,127})?"  # tag
    r"(?:@sha256:[0-9a-f]{64})?"
)
"""An OCI reference (distribution specification, "Pulling manifests"), of which a recipe's name is the simplest."""

_METHOD = re.compile(r"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]*")
"""A method is a token (RFC 9110, 9.1 and 5.6.2); those in use are in capitals."""

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
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
    if len(name) > 255 or not _IMAGE.fullmatch(name):
        raise ValueError('must be an image: a name such as "base", or an OCI reference')
    return name


def _check_text(text: str) -> str:
    if not text.strip() or len(text) > 512 or _CONTROL.search(text):
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


Duration = Annotated[float, BeforeValidator(_to_seconds)]
VariableName = Annotated[str, AfterValidator(check_variable_name)]
SecretName = Annotated[str, AfterValidator(check_secret_name)]
VariableValue = Annotated[str, AfterValidator(_check_value)]
Label = Annotated[str, AfterValidator(_check_label)]
Text = Annotated[str, AfterValidator(_check_text)]
Script = Annotated[str, AfterValidator(_check_script)]
Mode = Literal["off", "limited", "full"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class VersionsTable(_Table):
    """`[versions]`: language to version."""

    python: Text | None = Field(default=None, examples=['"3.12"'])
    node: Text | None = Field(default=None, examples=['"22"'])
    rust: Text | None = Field(default=None, examples=['"1.92.0"'])
    go: Text | None = Field(default=None, examples=['"1.25.1"'])
    swift: Text | None = Field(default=None, examples=['"6.2"'])
    ruby: Text | None = Field(default=None, examples=['"3.4.4"'])
    php: Text | None = Field(default=None, examples=['"8.4"'])
    java: Text | None = Field(default=None, examples=['"25"'])


class SecretTable(_Table):
    """One key of `[secrets]`. It can only narrow what the vault says of the secret."""

    mode: Literal["setup", "brokered"] | None = Field(default=None, examples=['"setup"'])
    hosts: tuple[str, ...] = Field(default=(), examples=['["api.github.com"]'], strict=False)
    header: str | None = Field(default=None, examples=['"Authorization"'])
    format: str | None = Field(default=None, examples=['"Bearer {}"'])
    query: str | None = Field(default=None, examples=['"key"'])
    methods: tuple[str, ...] | None = Field(default=None, examples=['["GET", "HEAD"]'], min_length=1, strict=False)
    paths: tuple[str, ...] | None = Field(default=None, examples=['["/repos/me"]'], min_length=1, strict=False)


class SetupTable(_Table):
    """`[setup]`: how dependencies are installed."""

    automatic: bool = Field(default=True, examples=["true"])
    script: Script | None = Field(default=None, examples=['"pip install -e .[test]"'])
    maintenance: Script | None = Field(default=None, examples=['"pip install -e .[test]"'])
    timeout: Duration = Field(default=20 * MINUTE, examples=['"20m"'])
    residue: Literal["refuse", "scrub", "allow"] = Field(default="refuse", examples=['"refuse"'])


class ServiceTable(_Table):
    """One key of `[services]`."""

    command: Script = Field(examples=['"redis-server"'])
    ready: Text | None = Field(default=None, examples=['"tcp:5432"'])
    timeout: Duration = Field(default=MINUTE, examples=['"2m"'])


class NetworkTable(_Table):
    """`[network]`: who may be reached in which phase."""

    setup: Mode = Field(default="full", examples=['"full"'])
    agent: Mode = Field(default="off", examples=['"off"'])
    allow: tuple[str, ...] = Field(default=(), examples=['["example.com"]'], strict=False)
    deny: tuple[Annotated[str, AfterValidator(parse_domain)], ...] = Field(
        default=(), examples=['["uploads.example.com"]'], strict=False
    )
    methods: tuple[Annotated[str, AfterValidator(_check_method)], ...] | None = Field(
        default=None, examples=['["GET", "HEAD", "OPTIONS"]'], min_length=1, strict=False
    )
    audit: Literal["decisions", "full"] = Field(default="decisions", examples=['"full"'])
    ports: tuple[Annotated[int, Field(ge=1, le=65535, strict=True)], ...] = Field(
        default=WEB_PORTS, examples=["[80, 443]"], min_length=1, strict=False
    )


class LimitsTable(_Table):
    """`[limits]`: what one attempt may use."""

    cpu: Annotated[float, Field(ge=0.01, le=1024, allow_inf_nan=False)] = Field(default=2.0, examples=["2.0"])
    memory: Annotated[int, _size_between(16 * MIB, 64 * 1024 * GIB)] = Field(default=4 * GIB, examples=['"4GiB"'])
    disk: Annotated[int, _size_between(16 * MIB, 1024 * 1024 * GIB)] = Field(default=10 * GIB, examples=['"10GiB"'])
    pids: Annotated[int, Field(ge=16, le=4_194_304)] = Field(default=2048, examples=["2048"])
    output: Annotated[int, _size_between(MIB, 1024 * GIB)] = Field(default=50 * MIB, examples=['"50MiB"'])
    time: Duration = Field(default=HOUR, examples=['"1h"'])
    rounds: Annotated[int, Field(ge=0, le=20)] = Field(default=1, examples=["1"])


class CheckTable(_Table):
    """One key of `[checks]`."""

    command: Script = Field(examples=['"pytest -q"'])
    timeout: Duration = Field(default=10 * MINUTE, examples=['"10m"'])


class CacheTable(_Table):
    """`[cache]`: how long a disk is kept after setup."""

    ttl: Duration = Field(default=12 * HOUR, examples=['"12h"'])


class ReviewTable(_Table):
    """`[review]`: reviews of pull requests."""

    automatic: bool = Field(default=False, examples=["true"])


class EnvironmentTable(_Table):
    """The whole file."""

    name: Text | None = Field(default=None, examples=['"web"'])
    image: Annotated[str, AfterValidator(_check_image)] = Field(default="base", examples=['"base"'])
    agent: Label = Field(default="codex", examples=['"codex"'])
    versions: VersionsTable = VersionsTable()
    variables: dict[VariableName, VariableValue] = Field(default={}, examples=['{ DATABASE_URL = "sqlite:///dev.db" }'])
    secrets: dict[SecretName, Annotated[SecretTable, BeforeValidator(_check_secret)]] = {}
    setup: SetupTable = SetupTable()
    services: dict[Label, Annotated[ServiceTable, BeforeValidator(_command_line_to_table)]] = {}
    network: NetworkTable = NetworkTable()
    limits: LimitsTable = LimitsTable()
    checks: dict[Label, Annotated[CheckTable, BeforeValidator(_command_line_to_table)]] = {}
    cache: CacheTable = CacheTable()
    review: ReviewTable = ReviewTable()


def languages() -> tuple[str, ...]:
    """Return the languages of `[versions]`."""
    return tuple(VersionsTable.model_fields)
