"""Settings for people to see: each with its value and where that was written, and nothing that is secret."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from pydantic import BaseModel, SecretStr

from cloister.model.secret import SecretValue
from cloister.setting_values import endpoint_to_text
from cloister.settings import Settings

_SECRET = re.compile(r"(^|_)(key|secret|token|password|credentials)$")
"""Names of what is hidden, whatever it is; files with such names are named."""
_VALUES_HIDDEN = frozenset({"headers", "variables"})
"""Tables whose names are shown alone: a value may hold a key."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownSetting:
    """One setting."""

    name: str
    """As files write it: `oidc.issuer`."""
    value: str | None
    """None when it is not set, or is secret."""
    is_secret: bool
    """Whether it is set, and not shown."""
    source: str
    """Where it was written: a variable, a file, an option, or `default`."""


def shown_settings(settings: Settings) -> tuple[ShownSetting, ...]:
    """Return all settings, in the order of the documentation."""
    return tuple(
        ShownSetting(name=path, value=value, is_secret=is_secret, source=settings.source_of(name))
        for name in Settings.model_fields
        for path, value, is_secret in _rows(name, name, getattr(settings, name))
    )


def _rows(path: str, name: str, value: object) -> Iterator[tuple[str, str | None, bool]]:
    if value is None or value == () or value == {}:
        yield path, None, False
    elif isinstance(value, BaseModel):
        for each in type(value).model_fields:
            yield from _rows(f"{path}.{each}", each, getattr(value, each))
    elif _is_secret(name, value):
        yield path, None, True
    elif isinstance(value, Mapping):
        for key, each in value.items():
            if name in _VALUES_HIDDEN:
                yield f"{path}.{key}", None, True
            else:
                yield from _rows(f"{path}.{key}", str(key), each)
    else:
        yield path, _text(value), False


def _is_secret(name: str, value: object) -> bool:
    if isinstance(value, SecretStr | SecretValue):
        return True
    return bool(_SECRET.search(name)) and not isinstance(value, Path | bool | int | float)


def _text(value: object) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case (str() as host, int() as port):
            return endpoint_to_text((host, port))
        case tuple() | list():
            return ", ".join(_text(each) for each in value)
        case str():
            return _without_credentials(value)
        case _:
            return str(value)


def _without_credentials(text: str) -> str:
    """Return an address without user, password and query; any other text as it is."""
    if "://" not in text:
        return text
    try:
        parts = urlsplit(text)
        host = parts.netloc.rpartition("@")[2]
    except ValueError:
        return "an address that cannot be read"
    return urlunsplit((parts.scheme, host, parts.path, "...=..." if parts.query else "", ""))
