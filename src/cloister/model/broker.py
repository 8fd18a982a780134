"""Brokered secrets: which requests may carry one, how it is put in, and how an environment may narrow that."""

import hashlib
import json
import re
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

from cloister.model.network import host_matches, parse_domain
from cloister.model.secret import BrokeredSecret, BrokerRule, DeliveredSecrets, Grant, SecretUse

BASIC = "basic:"
"""A format that begins so makes the credentials of a user from the value (RFC 7617)."""

PLACEHOLDER = "cloister-placeholder-"
"""What every placeholder begins with."""

_HEADER = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_PARAMETER = re.compile(r"[A-Za-z0-9._~-]+")
_METHOD = re.compile(r"[A-Z][A-Z0-9!#$%&'*+.^_`|~-]*")
_PATH = re.compile(r"/(?:[A-Za-z0-9._~!$&'()*+,=:@-]+/)*[A-Za-z0-9._~!$&'()*+,=:@-]*")
_PRINTABLE = re.compile(r"[\x20-\x7e]*")
_USER = re.compile(r"[\x21-\x39\x3b-\x7e]+")
_NOT_FOR_CREDENTIALS = frozenset(
    """
    host content-length content-type content-encoding transfer-encoding connection keep-alive te trailer upgrade expect
    proxy-connection proxy-authorization proxy-authenticate accept-encoding range if-range
    """.split()
)


def parse_rule(rule: BrokerRule) -> BrokerRule:
    """Return the rule in its one canonical form. ValueError with the reason when it cannot be one."""
    use = SecretUse(name="", **_fields(rule))
    for message in wrong_parts(use):
        raise ValueError(message)
    if not rule.hosts:
        raise ValueError("needs at least one host, such as api.github.com")
    if (rule.header is None) == (rule.query is None):
        raise ValueError("needs a header or a query parameter that carries it, and not both")
    return replace(
        rule, hosts=tuple(dict.fromkeys(parse_domain(host) for host in rule.hosts)), paths=tuple(map(_bare, rule.paths))
    )


def wrong_parts(use: SecretUse) -> Iterator[str]:
    """Yield what cannot be right in the parts of a rule, each for itself, as the end of a sentence."""
    for host in use.hosts:
        try:
            parse_domain(host)
        except ValueError as error:
            yield f"names a host that cannot be one: {error}"
    if use.header is not None and (not _HEADER.fullmatch(use.header) or use.header.lower() in _NOT_FOR_CREDENTIALS):
        yield f"cannot be sent in the header {use.header!r}"
    if use.format is not None and not _is_format(use.format):
        yield 'needs exactly one {} in its format, such as "Bearer {}", or the format "basic:USER"'
    if use.query is not None and not _PARAMETER.fullmatch(use.query):
        yield f"cannot be sent in the query parameter {use.query!r}: letters, digits, and . _ ~ -"
    if use.query is not None and (use.header is not None or use.format not in (None, "{}")):
        yield "is sent in a header or in a query parameter, not both; a format is for a header"
    for method in use.methods or ():
        if not _METHOD.fullmatch(method):
            yield f"names a method that cannot be one: {method!r}; methods are in capitals"
    for path in use.paths or ():
        if not _PATH.fullmatch(path) or {".", ".."} & set(path.split("/")):
            yield f"names a path that cannot be one: {path!r}; write it as it is compared, such as /repos/me"


def narrow(rule: BrokerRule, use: SecretUse) -> BrokerRule:
    """Return the rule narrowed by what an environment says of the secret. ValueError for anything wider, or else."""
    if use.header is not None and use.header.lower() != (rule.header or "").lower():
        raise ValueError(f"the header {use.header}")
    if use.format is not None and use.format != rule.format:
        raise ValueError(f"the format {use.format!r}")
    if use.query is not None and use.query != rule.query:
        raise ValueError(f"the query parameter {use.query}")
    hosts = tuple(parse_domain(host) for host in use.hosts)
    for host in hosts:
        if host_matches(host, rule.hosts) is None:
            raise ValueError(f"the host {host}")
    for method in use.methods or ():
        if rule.methods is not None and method not in rule.methods:
            raise ValueError(f"the method {method}")
    for path in use.paths or ():
        if not is_below(path, rule.paths):
            raise ValueError(f"the path {path}")
    return replace(
        rule,
        hosts=hosts or rule.hosts,
        methods=rule.methods if use.methods is None else use.methods,
        paths=rule.paths if use.paths is None else tuple(map(_bare, use.paths)),
    )


def rule_of_use(use: SecretUse) -> BrokerRule:
    """Return the rule that an environment alone states in full. ValueError when it leaves something open."""
    return parse_rule(
        BrokerRule(
            hosts=use.hosts,
            header=use.header,
            format=use.format or "{}",
            query=use.query,
            methods=use.methods,
            paths=use.paths or ("/",),
        )
    )


def is_below(path: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a path is one of `prefixes` or below it; `/repos` has nothing to do with `/reposition`."""
    return any(prefix == "/" or path == prefix or path.startswith(_bare(prefix) + "/") for prefix in prefixes)


def header_value(format: str, value: str) -> str:
    """Return what the header holds, as the format makes it of the value."""
    if format.startswith(BASIC):
        return "Basic " + b64encode(f"{format.removeprefix(BASIC)}:{value}".encode()).decode()
    return format.replace("{}", value)


def check_sendable(rule: BrokerRule, value: str) -> None:
    """Raise ValueError, without the value, when no header could carry it (RFC 9110, 5.5)."""
    if rule.header is not None and not rule.format.startswith(BASIC) and not _is_field_value(value):
        raise ValueError("has characters that no header can carry: a header is one line of printable ASCII")


def grants_of(secrets: DeliveredSecrets, attempt: str) -> tuple[Grant, ...]:
    """Return what the proxy needs of an attempt's brokered secrets."""
    return tuple(
        Grant(
            name=secret.name,
            value=secret.value,
            placeholder=placeholder_of(secret.name, attempt),
            hosts=secret.rule.hosts,
            header=secret.rule.header or "",
            format=secret.rule.format,
            query=secret.rule.query,
            methods=secret.rule.methods,
            paths=secret.rule.paths,
        )
        for secret in secrets.brokered
    )


def with_grant(secrets: DeliveredSecrets, grant: Grant) -> DeliveredSecrets:
    """Return secrets with a grant's value among them, for whatever masks them."""
    rule = BrokerRule(hosts=grant.hosts, header=grant.header, format=grant.format)
    one = BrokeredSecret(name=f"key of {grant.name}", value=grant.value, rule=rule)
    return replace(secrets, brokered=(*secrets.brokered, one))


def placeholder_of(name: str, attempt: str) -> str:
    """Return what stands for a secret in an attempt's sandbox.

    The same for as long as the attempt lives, because a worker that takes it over finds programs that hold it.
    It need not be hard to guess: whoever has it can use the secret only as the rule says.
    """
    digest = hashlib.sha256(json.dumps([attempt, name]).encode()).hexdigest()
    return f"{PLACEHOLDER}{digest[:32]}"


def rule_to_text(rule: BrokerRule) -> str:
    """Return the rule as text; the same rule is always the same text."""
    return json.dumps(_fields(rule), sort_keys=True)


def text_to_rule(text: str) -> BrokerRule:
    """Return what `rule_to_text` wrote."""
    fields: dict[str, Any] = json.loads(text)
    lists = {key: tuple(value) for key, value in fields.items() if isinstance(value, list)}
    return BrokerRule(**{**fields, **lists})


def _fields(rule: BrokerRule) -> dict[str, Any]:
    return asdict(rule)


def _is_format(format: str) -> bool:
    if format.startswith(BASIC):
        return _USER.fullmatch(format.removeprefix(BASIC)) is not None
    return format.count("{}") == 1 and _is_field_value(format)


def _is_field_value(text: str) -> bool:
    return _PRINTABLE.fullmatch(text) is not None and text == text.strip()


def _bare(path: str) -> str:
    return path.rstrip("/") or "/"
