"""`[models]`: tables of settings, one for each provider of models, and the CLOISTER_MODELS_ variables over them."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from cloister.errors import UsageError
from cloister.model.broker import wrong_parts
from cloister.model.model_access import ModelApi
from cloister.model.model_provider import (
    PRESETS,
    KeySource,
    ModelProvider,
    known_providers,
    parse_base,
    parse_model_name,
    parse_provider_name,
    preset,
)
from cloister.model.model_usage import Price
from cloister.model.network import parse_domain
from cloister.model.secret import SHORTEST_SECRET, VARIABLE_NAME, SecretUse, SecretValue

PREFIX = "CLOISTER_MODELS_"

_IN_VARIABLES = ("preset", "base", "api", "api_version", "model", "key", "key_file", "key_variable", "keyless")
_HEADER_VALUE = re.compile(r"[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?")


def _to_base(text: str) -> str:
    parse_base(text)
    return text


def _to_variable_name(text: str) -> str:
    if not VARIABLE_NAME.fullmatch(text):
        raise ValueError("must be the name of a variable")
    return text


def _to_key(text: str) -> str:
    if len(text) < SHORTEST_SECRET or not _HEADER_VALUE.fullmatch(text):
        raise ValueError(f"must be at least {SHORTEST_SECRET} printable characters, without spaces around them")
    return text


def _to_list(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _to_file(text: str) -> str:
    if not Path(text).expanduser().is_absolute():
        raise ValueError("must be an absolute path")
    return str(Path(text).expanduser())


def _to_price(value: float) -> float:
    if not math.isfinite(value):
        raise ValueError("must be a number")
    return value


Dollars = Annotated[float, Field(ge=0, le=1_000_000), AfterValidator(_to_price)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class PriceTable(_Table):
    """Of one model, in US dollars for a million tokens."""

    input: Dollars = Field(examples=["1.25"])
    """Of what is sent."""
    output: Dollars = Field(examples=["10.0"])
    """Of what comes back, reasoning included."""
    cached: Dollars | None = Field(default=None, examples=["0.125"])
    """Of what is sent and was in the provider's cache; absent: as `input`."""
    cache_write: Dollars | None = Field(default=None, examples=["1.5"])
    """Of what is sent and put into the provider's cache; absent: as `input`."""


class ModelTable(_Table):
    """One provider."""

    preset: Literal["openai", "anthropic", "gemini", "azure", "compatible"] | None = Field(
        default=None, examples=['"azure"']
    )
    """What it is like. Absent: as its name says, where that is one of these; else `compatible`."""
    base: Annotated[str, AfterValidator(_to_base)] | None = Field(
        default=None, examples=['"https://llm.example.com/v1"']
    )
    """The address that the paths of its protocol are below."""
    api: Annotated[tuple[Literal["responses", "chat", "messages", "gemini"], ...], BeforeValidator(_to_list)] | None = (
        Field(default=None, examples=['["chat"]'], min_length=1, strict=False)
    )
    """The protocols that it speaks, the preferred one first; one, or a list."""
    api_version: str | None = Field(default=None, pattern=r"^[A-Za-z0-9.-]+$", examples=['"2025-04-01-preview"'])
    """Sent as the parameter `api-version`, as Azure wants it."""
    model: Annotated[str, AfterValidator(parse_model_name)] | None = Field(default=None, examples=['"gpt-5"'])
    """The model that agents use, where neither task nor environment says another."""
    key: Annotated[str, AfterValidator(_to_key)] | None = Field(default=None, examples=['"sk-..."'], repr=False)
    """Its key. A file that has it must not be readable by everyone."""
    key_file: Annotated[str, AfterValidator(_to_file)] | None = Field(
        default=None, examples=['"/etc/cloister/openai.key"']
    )
    """A file that has the key alone, and that only its owner can read. It is read for each attempt."""
    key_variable: Annotated[str, AfterValidator(_to_variable_name)] | None = Field(
        default=None, examples=['"OPENAI_API_KEY"']
    )
    """A variable of the worker's own environment that has the key."""
    keyless: bool = Field(default=False, examples=["true"])
    """The provider wants no key."""
    header: str | None = Field(default=None, examples=['"Authorization"'])
    """The request header that carries the key."""
    format: str | None = Field(default=None, examples=['"Bearer {}"'])
    """How that header is made of the key."""
    headers: dict[str, str] = Field(default={}, examples=['{ "OpenAI-Organization" = "org-1" }'])
    """More headers, for every request."""
    prices: dict[Annotated[str, AfterValidator(parse_model_name)], PriceTable] = Field(
        default={}, examples=['{ "gpt-5" = { input = 1.25, cached = 0.125, output = 10.0 } }']
    )
    """What its models cost. Without a price a cost is not known, and never guessed."""


def with_variables(tables: object, environ: Mapping[str, str]) -> object:
    """Return the tables of the files with what CLOISTER_MODELS_NAME_KEY says over them.

    UsageError for a variable that means nothing. What is no table is returned as it is.
    """
    if not isinstance(tables, Mapping):
        return tables
    merged = {name: dict(table) if isinstance(table, Mapping) else table for name, table in tables.items()}
    for variable, value in sorted(environ.items()):
        if not variable.startswith(PREFIX):
            continue
        name, key = _split(variable)
        table = merged.setdefault(name, {})
        if isinstance(table, dict):
            table[key] = value.strip().lower() in ("1", "true", "yes") if key == "keyless" else value
    return merged


def _split(variable: str) -> tuple[str, str]:
    """Return the provider and the key of CLOISTER_MODELS_MY_LLM_KEY_FILE: `my-llm` and `key_file`."""
    rest = variable.removeprefix(PREFIX).lower()
    for key in sorted(_IN_VARIABLES, key=len, reverse=True):
        name = rest.removesuffix(f"_{key}")
        if name not in (rest, ""):
            return name.replace("_", "-"), key
    known = ", ".join(key.upper() for key in _IN_VARIABLES)
    raise UsageError(f"{variable}: is not {PREFIX}NAME_KEY with one of the keys {known}")


def providers_of(tables: Mapping[str, ModelTable], given: Mapping[str, object]) -> tuple[ModelProvider, ...]:
    """Return the providers: those of the tables in their order, then those that need no settings.

    `given` are the hosts whose addresses the operator gives. ValueError with the reason, which names the table's key.
    """
    made = [_provider(name, table, given) for name, table in tables.items()]
    return (*made, *(known for known in known_providers() if known.name not in tables))


def _provider(name: str, table: ModelTable, given: Mapping[str, object]) -> ModelProvider:
    kind = table.preset or (name if name in PRESETS else "compatible")
    try:
        parse_provider_name(name)
        provider = preset(kind, name, base=table.base)
        _check(table, provider, given)
    except ValueError as error:
        raise ValueError(f"models.{name}: {error}") from error
    version = () if table.api_version is None else (("api-version", table.api_version),)
    return replace(
        provider,
        apis=tuple(map(ModelApi, table.api)) if table.api else provider.apis,
        base=replace(provider.base, query=(*provider.base.query, *version)),
        model=table.model,
        header=table.header or provider.header,
        format=table.format or provider.format,
        headers=tuple(table.headers.items()),
        key=_key_source(table),
        prices={model: Price(**dict(price)) for model, price in table.prices.items()},
    )


def _check(table: ModelTable, provider: ModelProvider, given: Mapping[str, object]) -> None:
    sources = [table.key, table.key_file, table.key_variable, table.keyless or None]
    if sum(source is not None for source in sources) > 1:
        raise ValueError("has more than one of key, key_file, key_variable and keyless")
    base = provider.base
    if base.plain and not base.is_own_address and base.host not in given:
        raise ValueError(
            f"http:// would send the key, and all that is asked, unencrypted to whoever answers for {base.host}; write "
            "https://, or an address of your own network, or give its address in upstream_addresses"
        )
    if not base.is_own_address and base.host not in given:
        parse_domain(base.host)
    for name, value in table.headers.items():
        if not _HEADER_VALUE.fullmatch(value):
            raise ValueError(f"headers: {name} has a value that no header can carry")
        for message in wrong_parts(SecretUse(name="", header=name)):
            raise ValueError(f"headers: {message}")
    for message in wrong_parts(SecretUse(name="", header=table.header, format=table.format)):
        raise ValueError(message)


def _key_source(table: ModelTable) -> KeySource:
    return KeySource(
        value=SecretValue(table.key) if table.key is not None else None,
        file=Path(table.key_file) if table.key_file is not None else None,
        variable=table.key_variable,
        absent=table.keyless,
    )
