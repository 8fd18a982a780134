"""Providers of models, as the operator's settings name them: where they are, what they speak, what they cost."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

from cloister.model.model_access import ModelApi
from cloister.model.model_usage import Price
from cloister.model.network import parse_host
from cloister.model.secret import SecretValue

KEY_PLACE = "\x01model providers"
"""Where the vault keeps keys of providers: no environment can be called so."""

MODEL_CHOICE = r"[a-z][a-z0-9-]{0,31}(?:/[!-~]{1,200})?"
"""What `parse_choice` accepts, as an ECMA-262 pattern."""
_PROVIDER_NAME = re.compile(r"[a-z][a-z0-9-]{0,31}")
_MODEL_NAME = re.compile(r"[!-~]{1,200}")
_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*/?")
_DATE = re.compile(r"-(20\d\d-\d\d-\d\d|20\d{6})$")
_HIGHEST_PORT = 2**16 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Base:
    """Where a provider is: the address that its protocols' paths are below."""

    host: str
    """Canonical: a name, or the shortest form of an address."""
    port: int | None = None
    path: str = ""
    """Without a slash at its end."""
    query: tuple[tuple[str, str], ...] = ()
    """For every request."""
    plain: bool = False
    """Whether it is reached without TLS."""

    @property
    def is_own_address(self) -> bool:
        """Whether it is written as an address that only this machine, or its network, can mean."""
        try:
            address = ip_address(self.host)
        except ValueError:
            return False
        return address.is_loopback or address.is_private

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        port = "" if self.port is None else f":{self.port}"
        return f"{'http' if self.plain else 'https'}://{host}{port}{self.path}"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeySource:
    """Where a provider's key is, as the settings say; the vault when they say nothing."""

    value: SecretValue | None = None
    file: Path | None = None
    variable: str | None = None
    """Of Cloister's own environment."""
    absent: bool = False
    """The provider wants none."""

    @property
    def in_vault(self) -> bool:
        """Whether the vault has it, if anybody does."""
        return self.value is None and self.file is None and self.variable is None and not self.absent


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelProvider:
    """Somebody who answers calls of models."""

    name: str
    apis: tuple[ModelApi, ...]
    """What it speaks, the preferred one first."""
    base: Base
    model: str | None = None
    """Which one agents use, where nothing else is asked for; None leaves it to the agent's program."""
    header: str = "Authorization"
    """The header that carries its key."""
    format: str = "Bearer {}"
    headers: tuple[tuple[str, str], ...] = ()
    """More, for every request."""
    key: KeySource = KeySource()
    prices: Mapping[str, Price] = field(default_factory=dict)
    """In US dollars for a million tokens, by name of the model."""
    in_settings: bool = True
    """False for one that Cloister knows by itself, and that nobody set up."""

    @property
    def key_name(self) -> str:
        """What the vault calls its key."""
        return f"KEY_OF_{self.name.upper().replace('-', '_')}"

    def price_of(self, model: str) -> Price | None:
        """Return the price of a model, also where the provider answers with a dated version of its name."""
        return self.prices.get(model) or self.prices.get(_DATE.sub("", model))


@dataclass(frozen=True, slots=True, kw_only=True)
class ListedProvider:
    """A provider as it is shown."""

    name: str
    apis: tuple[ModelApi, ...]
    base: str
    model: str | None
    key: str
    """Where its key is, in words; empty when it has none."""
    prices: Mapping[str, Price]
    in_settings: bool
    """False for one that Cloister knows by itself, and that nobody set up."""


_PRESETS = {
    "openai": ((ModelApi.RESPONSES, ModelApi.CHAT), "https://api.openai.com/v1", "Authorization", "Bearer {}"),
    "anthropic": ((ModelApi.MESSAGES,), "https://api.anthropic.com", "x-api-key", "{}"),
    "gemini": ((ModelApi.GEMINI,), "https://generativelanguage.googleapis.com", "x-goog-api-key", "{}"),
    "azure": ((ModelApi.CHAT, ModelApi.RESPONSES), "", "api-key", "{}"),
    "compatible": ((ModelApi.CHAT,), "", "Authorization", "Bearer {}"),
}
PRESETS = tuple(_PRESETS)
KNOWN = ("openai", "anthropic", "gemini")
"""Those that are there without any settings: a key is all they need."""


def preset(kind: str, name: str, *, base: str | None = None) -> ModelProvider:
    """Return what is known of a kind of provider. ValueError for one that needs a base address, without it."""
    apis, known_base, header, format = _PRESETS[kind]
    address = base or known_base
    if not address:
        raise ValueError('needs its base address, such as base = "https://NAME.openai.azure.com/openai/v1"')
    return ModelProvider(name=name, apis=apis, base=parse_base(address), header=header, format=format)


def known_providers() -> tuple[ModelProvider, ...]:
    """Return those that need no settings."""
    return tuple(replace(preset(name, name), in_settings=False) for name in KNOWN)


def parse_provider_name(text: str) -> str:
    """Return it. ValueError when no provider can be called so."""
    if not _PROVIDER_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a provider's name: small letters, digits and hyphens, a letter first")
    return text


def parse_model_name(text: str) -> str:
    """Return it. ValueError when no model can be called so."""
    if not _MODEL_NAME.fullmatch(text):
        raise ValueError(f"{text!r} is not a model's name: up to 200 printable characters without spaces")
    return text


def parse_base(text: str) -> Base:
    """Return `https://host[:port][/path][?parameters]` taken apart. ValueError with the reason.

    `http://` is for addresses that only this machine, or its network, can mean, and for hosts whose address the
    operator gives; whether it is one of those is for the caller to say.
    """
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or parts.username is not None or parts.fragment or not parts.hostname:
        raise ValueError("must be https://host[:port][/path], without user, password or fragment")
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces")
    if not _PATH.fullmatch(parts.path) or {".", ".."} & set(parts.path.split("/")):
        raise ValueError(f"has a path that servers could read in different ways: {parts.path}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port is not None and not 0 < port <= _HIGHEST_PORT:
        raise ValueError(f"has a port that is not from 1 to {_HIGHEST_PORT}")
    plain = parts.scheme == "http"
    return Base(
        host=_host(parts.hostname, plain=plain),
        port=port,
        path=parts.path.rstrip("/"),
        query=tuple(parse_qsl(parts.query, keep_blank_values=True)),
        plain=plain,
    )


def _host(text: str, *, plain: bool) -> str:
    if plain and text.lower() == "localhost":
        return "127.0.0.1"
    try:
        return str(ip_address(text))
    except ValueError:
        return parse_host(text)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChoice:
    """Which provider and model a task asks for: `openai`, or `openai/gpt-5`."""

    provider: str
    model: str | None = None

    def __str__(self) -> str:
        return self.provider if self.model is None else f"{self.provider}/{self.model}"


def parse_choice(text: str) -> ModelChoice:
    """Return the provider, and what is behind the first slash as the model. ValueError with the reason."""
    provider, slash, model = text.partition("/")
    return ModelChoice(provider=parse_provider_name(provider), model=parse_model_name(model) if slash else None)
