"""Secrets: a value that does not print itself, and who may see it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from cloister.model.model_door import ModelDoor

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""A name that a POSIX shell can export (IEEE Std 1003.1, 3.216 Name)."""

SHORTEST_SECRET = 6
"""Characters. A shorter value would be found everywhere, so it could be neither masked nor searched for."""

LONGEST_SECRET_BYTES = 64 * 1024
"""The kernel refuses a single environment string above 128 KiB (MAX_ARG_STRLEN)."""


RESERVED_NAMES = frozenset(
    """
    HOME PATH USER LOGNAME SHELL PWD OLDPWD HOSTNAME TERM TMPDIR IFS ENV BASH_ENV BASHOPTS SHELLOPTS PS4 PROMPT_COMMAND
    HTTP_PROXY HTTPS_PROXY ALL_PROXY FTP_PROXY NO_PROXY CODEX_PROXY_CERT SSL_CERT_FILE SSL_CERT_DIR
    REQUESTS_CA_BUNDLE PIP_CERT NODE_EXTRA_CA_CERTS CURL_CA_BUNDLE GIT_SSL_CAINFO CARGO_HTTP_CAINFO JAVA_TOOL_OPTIONS
    """.split()
)
"""What Cloister, the shell or the dynamic loader sets or obeys by itself; in capitals."""

RESERVED_PREFIXES = ("CLOISTER_", "LD_", "BASH_FUNC_", "GLIBC_")


def is_reserved(name: str) -> bool:
    """Whether a variable of that name would get in the way of what Cloister itself sets in a sandbox.

    Case does not count, because programs read the proxy variables in both.
    """
    return name.upper() in RESERVED_NAMES or name.upper().startswith(RESERVED_PREFIXES)


def in_any_case(name: str) -> str:
    """Return a pattern that matches the name whatever the case of its letters."""
    return "".join(f"[{letter.upper()}{letter.lower()}]" if letter.isalpha() else letter for letter in name)


class SecretMode(StrEnum):
    """Where a secret may be used."""

    SETUP = "setup"
    """In the environment of setup and maintenance scripts, and nowhere else."""
    BROKERED = "brokered"
    """Only by the proxy, on requests to named hosts; the sandbox sees a placeholder."""


@dataclass(frozen=True, slots=True, repr=False)
class SecretValue:
    """The value of a secret. `repr` and `str` hide it; `reveal()` is the only way to read it."""

    _text: str

    def reveal(self) -> str:
        """The value itself. Every caller is a place to audit."""
        return self._text

    def __repr__(self) -> str:
        return "SecretValue(...)"


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerRule:
    """Which requests may carry a secret, and where in them. The value goes into the header or the query parameter."""

    hosts: tuple[str, ...]
    """Canonical domains; each stands for its sub-domains."""
    header: str | None = None
    format: str = "{}"
    """How the header is made of the value: `Bearer {}`, or `basic:USER` for a user's password."""
    query: str | None = None
    methods: tuple[str, ...] | None = None
    """In capitals; None is every method."""
    paths: tuple[str, ...] = ("/",)
    """Prefixes: `/repos` stands for itself and all below it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretUse:
    """What an environment says of one of its secrets. It can only narrow what the vault says; None says nothing."""

    name: str
    mode: SecretMode | None = None
    hosts: tuple[str, ...] = ()
    """Brokered only: hosts that may receive the value; none says nothing."""
    header: str | None = None
    """Brokered only: the request header that carries the value."""
    format: str | None = None
    """Brokered only: how the header is made of the value."""
    query: str | None = None
    """Brokered only: the query parameter that carries the value, in place of a header."""
    methods: tuple[str, ...] | None = None
    """Brokered only: of the requests that carry the value."""
    paths: tuple[str, ...] | None = None
    """Brokered only: prefixes of the paths of those requests."""

    @property
    def is_ruled(self) -> bool:
        """Whether it says anything that only a brokered secret has."""
        return bool(self.hosts) or any(
            part is not None for part in (self.header, self.format, self.query, self.methods, self.paths)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """A secret that the proxy adds to requests: who may receive it, how it is put in. The sandbox has a placeholder."""

    name: str
    """Of the secret."""
    value: SecretValue
    placeholder: str
    """What stands for the value in the sandbox; one for each attempt. See `placeholder_of`."""
    hosts: tuple[str, ...]
    """Canonical domains; each stands for its sub-domains."""
    header: str = "Authorization"
    format: str = "{}"
    """How the header is made of the value; see `model.broker`."""
    query: str | None = None
    """A query parameter that carries the value, in place of the header."""
    methods: tuple[str, ...] | None = None
    paths: tuple[str, ...] = ("/",)
    """Prefixes of the paths it is for."""
    door: int | None = None
    """A loopback port inside the sandbox where plain HTTP requests stand for requests to `upstream`."""
    upstream: str | None = None
    """`https://host[:port][/prefix]` behind the door."""
    model: ModelDoor | None = None
    """For the door of a model: what else its requests need, and are bound to. `name` is the provider's then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokeredSecret:
    """An opened secret that only the proxy may use."""

    name: str
    value: SecretValue
    rule: BrokerRule


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredSecrets:
    """The opened secrets of one attempt."""

    values: Mapping[str, SecretValue]
    """Name to value, for the setup phase alone."""
    versions: Mapping[str, str]
    """Name to what changes with each new value, or of a brokered one with its rule; part of the snapshot key."""
    brokered: tuple[BrokeredSecret, ...] = ()
    """For the proxy alone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KeptSecret:
    """What the vault shows of a secret."""

    name: str
    rule: BrokerRule | None = None
    """Of a brokered secret."""

    @property
    def mode(self) -> SecretMode:
        """Where it may be used."""
        return SecretMode.SETUP if self.rule is None else SecretMode.BROKERED


@dataclass(frozen=True, slots=True, kw_only=True)
class SealedSecret:
    """A secret as it is kept: nothing in it can be read without the master key."""

    environment: str
    name: str
    version: str
    """Random, new with each new value."""
    rule: str | None = None
    """Of a brokered secret, as `rule_to_text` writes it."""
    sealed: bytes
    """Bound to environment, name, version and rule: it does not open with any other."""
