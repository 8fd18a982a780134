"""Which parts of the network an installation may reach, and the process that carries what sandboxes send there."""

from collections.abc import Collection
from dataclasses import replace
from functools import partial
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from cloister.egress.addresses import classify, classify_own
from cloister.egress.authority import Authority
from cloister.egress.interfaces import own_addresses
from cloister.egress.messages import EgressSettings
from cloister.egress.process import EgressProcess
from cloister.egress.registries import registries_of_host
from cloister.errors import UsageError
from cloister.forges.reach import Reach
from cloister.model.model_provider import ModelProvider
from cloister.model.upstreams import Upstreams
from cloister.settings import Settings


def reach_of(settings: Settings) -> Reach:
    """Return where repositories may be that callers from elsewhere name."""

    def judge(address: IPv4Address | IPv6Address) -> str | None:
        return classify(address, settings.allow_private, own_addresses())

    return Reach(classify=judge, given=_upstreams(settings).addresses)


def reach_of_forge(settings: Settings) -> Reach:
    """Return where repositories may be, that of the operator's own forge included, wherever it is."""
    return replace(reach_of(settings), named=_place_of_forge(settings))


def _place_of_forge(settings: Settings) -> Collection[tuple[str, int]]:
    """Host and port of the forge, when it is not the public one: the operator says where it is, and may mean here."""
    url = urlsplit(settings.github.url)
    if url.hostname in (None, "github.com"):
        return ()
    return [(str(url.hostname), url.port or (443 if url.scheme == "https" else 80))]


def _upstreams(settings: Settings) -> Upstreams:
    for host, given in settings.upstreams.addresses.items():
        reason = classify(ip_address(given.address), [ip_network(given.address)])
        if reason is not None:
            raise UsageError(
                f"upstream_addresses: {host} cannot be at {given.address}: {reason}",
                hint="give an address of the service on its network",
            )
    return settings.upstreams


def providers_of(settings: Settings) -> tuple[ModelProvider, ...]:
    """Return who answers agents. UsageError for one at an address of this machine that no policy may open."""
    for provider in settings.providers:
        if provider.base.is_own_address and (reason := classify_own(ip_address(provider.base.host))) is not None:
            raise UsageError(
                f"models.{provider.name}: base cannot be at {provider.base.host}: {reason}",
                hint="give an address of the service on its network",
            )
    return settings.providers


def egress_process_of(settings: Settings, authority: Authority, authorities: str, *, early: bool) -> EgressProcess:
    """Return the process that carries what sandboxes send; started when it is entered, or else when one needs it."""
    return EgressProcess(
        EgressSettings(
            allow_private=tuple(map(str, settings.allow_private)),
            authorities=authorities,
            upstreams=_upstreams(settings),
            ceiling=settings.ceiling,
            authority=authority,
        ),
        registries=partial(registries_of_host, settings.state / "registries.json"),
        uid=settings.egress_uid,
        gid=settings.egress_uid,
        early=early,
    )
