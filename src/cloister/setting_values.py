"""How what people write into settings becomes a value. Each raises ValueError, which says what it must be."""

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AfterValidator, PlainValidator, ValidationInfo
from pydantic_settings import NoDecode

from cloister.allowlist import builtin_presets, parse_allowlist
from cloister.errors import UsageError
from cloister.model.network import parse_domain, parse_host
from cloister.model.quantity import parse_duration, parse_size
from cloister.model.upstreams import (
    DirectHosts,
    GivenAddress,
    UpstreamProxy,
    parse_direct_hosts,
    parse_given_address,
    parse_upstream_proxy,
)

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network

_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def _to_absolute(path: Path) -> Path:
    if path == Path():
        raise ValueError("must not be empty")
    return path.expanduser().absolute()


def _to_parts(value: object, kind: str) -> list[str]:
    """Return the entries of a list, or of a variable that separates them by commas."""
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        raise ValueError(f"must be a list of {kind}")  # noqa: TRY004
    return [str(part).strip() for part in parts]


def _to_networks(value: object) -> tuple[IPNetwork, ...]:
    return tuple(ipaddress.ip_network(part) for part in _to_parts(value, "networks"))


def _to_files(value: object) -> tuple[Path, ...]:
    return tuple(_to_absolute(Path(part)) for part in _to_parts(value, "files"))


def _to_size(value: object) -> int | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError('must be a size with its unit, such as "50GiB"')  # noqa: TRY004
    return parse_size(value)


def _to_seconds(value: object) -> float:
    if not isinstance(value, str):
        raise ValueError('must be a duration, such as "12h"')  # noqa: TRY004
    return parse_duration(value)


def _to_drain(value: object) -> float:
    return 0.0 if value in ("0", "0s") else _to_seconds(value)


def _to_public_url(value: object) -> str | None:
    """Return an origin as browsers write it: without the port that its scheme means."""
    if value is None:
        return None
    url = urlsplit(value.strip().rstrip("/") if isinstance(value, str) else "")
    usual = {"http": 80, "https": 443}
    if url.scheme not in usual or not url.hostname or "@" in url.netloc or url.path or url.query or url.fragment:
        raise ValueError('must be a scheme and a host, such as "https://cloister.example"')
    host = f"[{url.hostname}]" if ":" in url.hostname else url.hostname
    return f"{url.scheme}://{host}" + (f":{url.port}" if url.port not in (None, usual[url.scheme]) else "")


def _to_proxy(value: object) -> UpstreamProxy | None:
    if value is None:
        return None
    if not isinstance(value, str):
        raise ValueError("must be a string")  # noqa: TRY004
    return parse_upstream_proxy(value)


def _to_direct_hosts(value: object) -> tuple[DirectHosts, ...]:
    return tuple(parse_direct_hosts(part) for part in _to_parts(value, "domains, addresses and networks"))


def _to_given_addresses(value: object) -> dict[str, GivenAddress]:
    """Read a table, or the `host=address` of a variable."""
    if isinstance(value, str):
        value = {
            host.strip(): address.strip() for host, _, address in (part.partition("=") for part in value.split(","))
        }
    if not isinstance(value, Mapping):
        raise ValueError("must be a table of hosts and addresses")  # noqa: TRY004
    return {parse_host(str(host)): parse_given_address(str(address)) for host, address in value.items()}


def _to_domains(value: object) -> tuple[str, ...]:
    return tuple(parse_domain(part) for part in _to_parts(value, "domains"))


def _to_allowlist(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    try:
        return parse_allowlist(_to_parts(value, "domains"), builtin_presets())
    except UsageError as error:
        raise ValueError(str(error)) from error


def _to_methods(value: object) -> tuple[str, ...] | None:
    if value is None:
        return None
    methods = tuple(_to_parts(value, "HTTP methods"))
    for method in methods:
        if not _METHOD.fullmatch(method):
            raise ValueError(f"{method!r} is not an HTTP method in capitals")
    return methods


def _to_ports(value: object) -> tuple[int, ...] | None:
    if value is None:
        return None
    ports = _to_parts(value, "ports")
    if not all(part.isascii() and part.isdigit() and 0 < int(part) < 65536 for part in ports):
        raise ValueError("must be ports from 1 to 65535")
    return tuple(map(int, ports))


def to_endpoint(value: object) -> tuple[str, int] | None:
    """Return address and port of `127.0.0.1:9464` or `[::1]:9464`."""
    if value is None:
        return None
    host, _, port = str(value).rpartition(":")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError as error:
        raise ValueError("must be an address and a port") from error
    if (address.version == 6) != host.startswith("["):
        raise ValueError("must be an address and a port; an IPv6 address stands in brackets")
    (number,) = _to_ports([port]) or ()
    return str(address), number


def is_near(endpoint: tuple[str, int] | None) -> bool:
    """Whether only this machine reaches it, if any does."""
    return endpoint is None or ipaddress.ip_address(endpoint[0]).is_loopback


def _to_metrics_listen(value: object, info: ValidationInfo) -> tuple[str, int] | None:
    endpoint = to_endpoint(value)
    if endpoint is not None and not is_near(endpoint) and not info.data.get("metrics_remote"):
        raise ValueError(f"{endpoint[0]} can be reached from elsewhere; if that is wanted, set metrics_remote = true")
    return endpoint


def _to_listen(value: object, info: ValidationInfo) -> tuple[str, int] | None:
    endpoint = to_endpoint(value)
    if endpoint is not None and not is_near(endpoint):
        check_transport(info.data, endpoint)
    return endpoint


def check_transport(known: Mapping[str, Any], endpoint: tuple[str, int]) -> None:
    """Raise ValueError when tokens would pass a network in the open."""
    if not (known.get("tls_certificate") or known.get("trusted_proxies") or known.get("plain_http")):
        raise ValueError(
            f"{endpoint[0]} can be reached from elsewhere, and tokens would pass in the open; set tls_certificate and "
            "tls_key, or trusted_proxies, or, if nobody else is on that network, plain_http = true"
        )


def endpoint_to_text(endpoint: tuple[str, int]) -> str:
    """Return address and port as settings write them."""
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


AbsolutePath = Annotated[Path, AfterValidator(_to_absolute)]
Drain = Annotated[float, NoDecode, PlainValidator(_to_drain)]
OptionalSize = Annotated[int | None, NoDecode, PlainValidator(_to_size)]
Size = Annotated[int, NoDecode, PlainValidator(_to_size)]
Networks = Annotated[tuple[IPNetwork, ...], NoDecode, PlainValidator(_to_networks)]
Files = Annotated[tuple[Path, ...], NoDecode, PlainValidator(_to_files)]
Proxy = Annotated[UpstreamProxy | None, NoDecode, PlainValidator(_to_proxy)]
DirectHostList = Annotated[tuple[DirectHosts, ...], NoDecode, PlainValidator(_to_direct_hosts)]
GivenAddresses = Annotated[dict[str, GivenAddress], NoDecode, PlainValidator(_to_given_addresses)]
Allowlist = Annotated[tuple[str, ...] | None, NoDecode, PlainValidator(_to_allowlist)]
Domains = Annotated[tuple[str, ...], NoDecode, PlainValidator(_to_domains)]
Methods = Annotated[tuple[str, ...] | None, NoDecode, PlainValidator(_to_methods)]
Ports = Annotated[tuple[int, ...] | None, NoDecode, PlainValidator(_to_ports)]
MetricsListen = Annotated[tuple[str, int] | None, NoDecode, PlainValidator(_to_metrics_listen)]
Listen = Annotated[tuple[str, int] | None, NoDecode, PlainValidator(_to_listen)]
PublicUrl = Annotated[str | None, NoDecode, PlainValidator(_to_public_url)]
Seconds = Annotated[float, NoDecode, PlainValidator(_to_seconds)]
