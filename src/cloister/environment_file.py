"""Reads an environment file, and lays what a command line adds over it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from pydantic import ValidationError

from cloister.allowlist import builtin_presets, parse_allowlist, wrong_entries
from cloister.environment_schema import (
    EnvironmentTable,
    SecretTable,
    check_variable_name,
    languages,
)
from cloister.errors import EnvironmentFileError, UsageError
from cloister.model.broker import wrong_parts
from cloister.model.environment import Check, Environment, Limits, NetworkRecipe, ReviewRecipe, Service, SetupRecipe
from cloister.model.finding import FindingPriority
from cloister.model.network import Audit, NetworkMode
from cloister.model.secret import SecretMode, SecretUse
from cloister.toml_document import Problem, TomlSyntaxError, parse_toml, problems_of

REPOSITORY_FILE = ".cloister/environment.toml"
"""Where a repository keeps its environment; read from the task's base commit."""

_VERSION_VARIABLE = re.compile(r"CODEX_ENV_([A-Z]+)_VERSION")
_READY = re.compile(r"tcp:(\d{1,5})", re.ASCII)


def read_environment(raw: bytes, *, source: str, default_name: str) -> Environment:
    """Return the environment that a file describes.

    `source` names the file in messages; `default_name` is used when it gives itself none.
    Raises EnvironmentFileError, which names file, line, key, and what to write instead.
    """
    try:
        document = parse_toml(raw, source=source)
    except TomlSyntaxError as error:
        raise EnvironmentFileError(str(error)) from error
    try:
        table = EnvironmentTable.model_validate(document.data)
        problems = list(_conflicts(table))
    except ValidationError as error:
        problems = problems_of(error, EnvironmentTable)
    if problems:
        raise EnvironmentFileError(document.describe(problems))
    return _table_to_environment(table, default_name=default_name)


def environment_from_options(
    environment: Environment,
    *,
    variables: Mapping[str, str],
    internet: NetworkMode | None = None,
    allow: Sequence[str] = (),
) -> Environment:
    """Lay a request's own variables and network over its environment.

    `allow` without `internet` turns an agent's network that is off into a limited one.
    Raises UsageError when they are wrong, or contradict each other.
    """
    try:
        named = {check_variable_name(name): value for name, value in variables.items()}
    except ValueError as error:
        raise UsageError(str(error)) from error
    domains = parse_allowlist(allow, builtin_presets())
    taken = sorted(named.keys() & {secret.name for secret in environment.secrets})
    if taken:
        raise UsageError(f"{taken[0]} is a secret of environment {environment.name!r}, so it cannot be a variable too")
    if domains and internet not in (None, NetworkMode.LIMITED):
        raise UsageError(f"domains to allow mean nothing when the internet is {internet}; use --internet limited")
    merged = {**environment.variables, **named}
    return replace(
        environment,
        variables=merged,
        versions={**environment.versions, **_versions_in(named)},
        network=_network_with(environment.network, internet=internet, domains=domains),
    )


def _network_with(network: NetworkRecipe, *, internet: NetworkMode | None, domains: tuple[str, ...]) -> NetworkRecipe:
    agent = internet or network.agent
    if domains and agent is NetworkMode.OFF:
        agent = NetworkMode.LIMITED
    return replace(network, agent=agent, allow=tuple(dict.fromkeys((*network.allow, *domains))))


def _table_to_environment(table: EnvironmentTable, *, default_name: str) -> Environment:
    limits, setup, network = table.limits, table.setup, table.network
    return Environment(
        name=table.name or default_name,
        repository=table.repository,
        image=table.image,
        agent=table.agent,
        model=table.model,
        versions={**_versions_in(table.variables), **table.versions.model_dump(exclude_none=True)},
        variables=table.variables,
        secrets=tuple(_secret(name, secret) for name, secret in table.secrets.items()),
        setup=SetupRecipe(
            script=setup.script,
            maintenance=setup.maintenance,
            automatic=setup.automatic,
            timeout_seconds=setup.timeout,
            residue=setup.residue,
        ),
        services=tuple(
            Service(name=key, command=it.command, ready=it.ready, timeout_seconds=it.timeout)
            for key, it in table.services.items()
        ),
        network=NetworkRecipe(
            setup=NetworkMode(network.setup),
            agent=NetworkMode(network.agent),
            allow=parse_allowlist(network.allow, builtin_presets()),
            methods=network.methods,
            ports=tuple(dict.fromkeys(network.ports)),
            deny=tuple(dict.fromkeys(network.deny)),
            audit=Audit(network.audit),
        ),
        limits=Limits(
            cpu=limits.cpu,
            memory_bytes=limits.memory,
            disk_bytes=limits.disk,
            inodes=limits.inodes,
            pids=limits.pids,
            output_bytes=limits.output,
            time_seconds=limits.time,
            stuck_seconds=limits.stuck,
            rounds=limits.rounds,
            tokens=limits.tokens,
            cost=limits.cost,
        ),
        checks=tuple(
            Check(name=key, command=it.command, timeout_seconds=it.timeout) for key, it in table.checks.items()
        ),
        cache_ttl_seconds=table.cache.ttl,
        review=ReviewRecipe(
            automatic=table.review.automatic,
            on_push=table.review.on_push,
            lowest=FindingPriority(table.review.lowest),
        ),
    )


def _secret(name: str, table: SecretTable) -> SecretUse:
    return SecretUse(
        name=name,
        mode=None if table.mode is None else SecretMode(table.mode),
        hosts=table.hosts,
        header=table.header,
        format=table.format,
        query=table.query,
        methods=table.methods,
        paths=table.paths,
    )


def _versions_in(variables: Mapping[str, str]) -> dict[str, str]:
    """Versions given the way codex-universal takes them, as CODEX_ENV_<LANG>_VERSION."""
    matches = ((_VERSION_VARIABLE.fullmatch(name), value) for name, value in variables.items())
    return {match[1].lower(): value for match, value in matches if match and match[1].lower() in languages()}


def _conflicts(table: EnvironmentTable) -> Iterator[Problem]:
    """What is wrong with keys that are each right."""
    for name in table.variables.keys() & table.secrets.keys():
        yield Problem(("variables", name), f"{name} is both in [variables] and in [secrets]; keep one of them")
    given = table.versions.model_dump(exclude_none=True)
    for language, version in _versions_in(table.variables).items():
        if given.get(language, version) != version:
            message = f"versions.{language} and CODEX_ENV_{language.upper()}_VERSION differ; keep one of them"
            yield Problem(("versions", language), message)
    for name, secret in table.secrets.items():
        yield from (
            Problem(("secrets", name), f"secret {name} {message}")
            for message in _secret_conflicts(_secret(name, secret))
        )
    for error in wrong_entries(table.network.allow, builtin_presets()):
        yield Problem(("network", "allow"), f"{error.message}. {error.hint or ''}".strip())
    for name, service in table.services.items():
        port = _READY.fullmatch(service.ready or "")
        if port and not 1 <= int(port[1]) <= 65535:
            yield Problem(("services", name, "ready"), f"services.{name}.ready: a port is 1 to 65535")


def _secret_conflicts(use: SecretUse) -> Iterator[str]:
    if use.mode is not SecretMode.BROKERED and use.is_ruled:
        yield 'has hosts, header, format, query, methods or paths, which need mode = "brokered"'
    yield from wrong_parts(use)
