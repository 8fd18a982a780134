"""Settings of one installation: TOML files and CLOISTER_ variables, read once into one frozen object."""

import ipaddress
import os
import re
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

import platformdirs
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    PlainValidator,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
)
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from cloister.allowlist import builtin_presets, parse_allowlist
from cloister.errors import UsageError
from cloister.github_settings import GitHubTable, with_github_variables
from cloister.model.ceiling import Ceiling
from cloister.model.fairness import RunningLimits
from cloister.model.model_access import ModelApi
from cloister.model.model_provider import ModelProvider
from cloister.model.network import NetworkMode, parse_domain, parse_host
from cloister.model.quantity import DAY, parse_duration, parse_size
from cloister.model.upstreams import (
    DirectHosts,
    GivenAddress,
    UpstreamProxy,
    Upstreams,
    parse_direct_hosts,
    parse_given_address,
    parse_upstream_proxy,
)
from cloister.model_settings import ModelTable, providers_of, with_variables
from cloister.oidc_settings import OidcTable
from cloister.toml_document import TomlDocument, TomlSyntaxError, parse_toml, problems_of

VARIABLE_PREFIX = "CLOISTER_"
FILE_NAME = "cloister.toml"

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


_METHOD = re.compile(r"[A-Z][A-Z-]{0,31}")


def _state_directory() -> Path:
    return Path("/var/lib/cloister") if os.geteuid() == 0 else platformdirs.user_data_path("cloister")


def _slots() -> int:
    # An attempt waits for a model most of its time, so a small machine takes more of them than it has cores.
    return max(4, len(os.sched_getaffinity(0)))


def _absolute(path: Path) -> Path:
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
    return tuple(_absolute(Path(part)) for part in _to_parts(value, "files"))


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


def _to_endpoint(value: object) -> tuple[str, int] | None:
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


def _is_near(endpoint: tuple[str, int] | None) -> bool:
    """Whether only this machine reaches it, if any does."""
    return endpoint is None or ipaddress.ip_address(endpoint[0]).is_loopback


def _to_metrics_listen(value: object, info: ValidationInfo) -> tuple[str, int] | None:
    endpoint = _to_endpoint(value)
    if endpoint is not None and not _is_near(endpoint) and not info.data.get("metrics_remote"):
        raise ValueError(f"{endpoint[0]} can be reached from elsewhere; if that is wanted, set metrics_remote = true")
    return endpoint


def _to_listen(value: object, info: ValidationInfo) -> tuple[str, int] | None:
    endpoint = _to_endpoint(value)
    if endpoint is not None and not _is_near(endpoint):
        _check_transport(info.data, endpoint)
    return endpoint


def _check_transport(known: Mapping[str, Any], endpoint: tuple[str, int]) -> None:
    """Raise ValueError when tokens would pass a network in the open."""
    if not (known.get("tls_certificate") or known.get("trusted_proxies") or known.get("plain_http")):
        raise ValueError(
            f"{endpoint[0]} can be reached from elsewhere, and tokens would pass in the open; set tls_certificate and "
            "tls_key, or trusted_proxies, or, if nobody else is on that network, plain_http = true"
        )


Directory = Annotated[Path, AfterValidator(_absolute)]


class AgentTable(BaseModel):
    """An agent of the operator's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    command: Annotated[str, Field(min_length=1)]
    """Command line, run in bash; `{model}`, `{base_url}`, `{key}` and `{session}` are replaced."""
    api: ModelApi | None = None
    """Protocol of its model; absent: it needs none."""
    output: Literal["plain", "claude", "codex", "gemini", "opencode"] = "plain"
    """Whose output it prints."""
    variables: dict[str, str] = {}


AgentName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]


class Settings(BaseSettings):
    """One installation's settings."""

    model_config = SettingsConfigDict(
        env_prefix=VARIABLE_PREFIX, extra="forbid", frozen=True, hide_input_in_errors=True
    )

    state: Directory = Field(default_factory=_state_directory, examples=['"/var/lib/cloister"'])
    """State directory: database, images, snapshots, mirrors."""
    runtime: str = Field(default="auto", min_length=1, examples=['"crun"'])
    """Name or path of an OCI runtime; `auto` takes the first that works of crun and runc."""
    slots: int = Field(default_factory=_slots, ge=1, le=4096, examples=["4"])
    """Attempts that one worker runs at once."""
    drain: Annotated[float, NoDecode, PlainValidator(_to_drain)] = Field(
        default=10.0, examples=['"10s"'], validate_default=False
    )
    """How long running attempts may go on when a server is asked to end; what is not over then is left to the next."""
    running_together: int | None = Field(default=None, ge=1, examples=["16"])
    """Attempts that run at once on all workers of this state directory; absent: as many as they have slots."""
    running_per_user: int | None = Field(default=None, ge=1, examples=["4"])
    """Attempts of one user that run at once, see [who goes first](../how-to/server.md#who-goes-first)."""
    running_per_environment: int | None = Field(default=None, ge=1, examples=["8"])
    """Attempts of one environment that run at once."""
    snapshots_size: Annotated[int | None, NoDecode, PlainValidator(_to_size)] = Field(
        default=None, examples=['"50GiB"']
    )
    """Room for the disks that setup leaves; above it, those used longest ago go. Absent: a fifth of the file system."""
    large_files: Annotated[int, NoDecode, PlainValidator(_to_size)] = Field(
        default=5 * 1024**3, examples=['"5GiB"'], validate_default=False
    )
    """What files of Git LFS may have together in a commit; above it, they stay pointers."""
    master_key: Directory | None = Field(default=None, examples=['"/etc/cloister/master.key"'])
    """File of the key that wraps all secrets; absent: `master.key` in the state directory. Made when missing."""
    ssh_config: Directory | None = Field(default=None, examples=['"/etc/cloister/ssh_config"'])
    """File of ssh_config(5) for repositories behind ssh, in place of `~/.ssh/config` and `/etc/ssh/ssh_config`."""
    record_key: Directory | None = Field(default=None, examples=['"/etc/cloister/record.key"'])
    """File of the key that signs records; absent: `record.key` in the state directory. Made when missing."""
    egress_uid: int = Field(default=65533, ge=1, le=2**32 - 2, examples=["65533"])
    """User id of the egress process when Cloister runs as root; nothing else should run under it."""
    allow_private: Annotated[tuple[IPNetwork, ...], NoDecode, PlainValidator(_to_networks)] = Field(
        default=(), examples=['["10.1.0.0/16"]']
    )
    """Private networks that a policy may allow; in a variable, separated by commas. None can be reached by default."""
    authorities: Annotated[tuple[Path, ...], NoDecode, PlainValidator(_to_files)] = Field(
        default=(), examples=['["/etc/cloister/corp.pem"]']
    )
    """Files of PEM certificates that may vouch for upstreams, to Cloister and in sandboxes, beside the host's own."""
    upstream_proxy: Annotated[UpstreamProxy | None, NoDecode, PlainValidator(_to_proxy)] = Field(
        default=None, examples=['"http://user:password@proxy.example:3128"']
    )
    """HTTP proxy that leads out of this network; user and password are percent-encoded."""
    no_proxy: Annotated[tuple[DirectHosts, ...], NoDecode, PlainValidator(_to_direct_hosts)] = Field(
        default=(), examples=['["corp.example", "10.0.0.0/8"]']
    )
    """What is reached without that proxy; in a variable, separated by commas."""
    upstream_addresses: Annotated[dict[str, GivenAddress], NoDecode, PlainValidator(_to_given_addresses)] = Field(
        default_factory=dict, examples=['{ "git.example.internal" = "10.0.0.5" }']
    )
    """Where single hosts are, private ones too, in place of looking them up; never through the proxy."""
    network_setup: Literal["off", "limited", "full"] = Field(default="full", examples=['"limited"'])
    """Highest mode of setup, whatever environments ask for."""
    network_agent: Literal["off", "limited", "full"] = Field(default="full", examples=['"limited"'])
    """Highest mode of the agent."""
    network_allow: Annotated[tuple[str, ...] | None, NoDecode, PlainValidator(_to_allowlist)] = Field(
        default=None, examples=['["preset:common-dependencies", "example.com"]']
    )
    """When set, all that any environment may reach, in full mode too; in a variable, separated by commas."""
    network_deny: Annotated[tuple[str, ...], NoDecode, PlainValidator(_to_domains)] = Field(
        default=(), examples=['["uploads.example.com"]']
    )
    """What no environment reaches."""
    network_methods: Annotated[tuple[str, ...] | None, NoDecode, PlainValidator(_to_methods)] = Field(
        default=None, examples=['["GET", "HEAD", "OPTIONS"]']
    )
    """When set, the HTTP methods that any environment may use; HTTPS is read for it."""
    network_ports: Annotated[tuple[int, ...] | None, NoDecode, PlainValidator(_to_ports)] = Field(
        default=None, examples=["[80, 443]"]
    )
    """When set, the ports that any environment may reach."""
    metrics_remote: bool = Field(default=False, examples=["true"])
    """Whether `metrics_listen` may be an address that other machines reach. Whoever reaches it reads the numbers."""
    metrics_listen: Annotated[tuple[str, int] | None, NoDecode, PlainValidator(_to_metrics_listen)] = Field(
        default=None, examples=['"127.0.0.1:9464"']
    )
    """Address and port at which `cloister worker` serves metrics to Prometheus; absent: nowhere."""
    metrics_access: Literal["open", "viewer", "admin", "off"] = Field(default="admin", examples=['"viewer"'])
    """Who may read `/metrics` of the server: everybody, who has a token of that role, or nobody."""
    otlp_endpoint: Annotated[str | None, StringConstraints(pattern=r"^https?://[^\s]+$")] = Field(
        default=None, examples=['"http://collector.example:4318"']
    )
    """Collector of OpenTelemetry that gets metrics and traces by OTLP, where the OTEL_ variables name none."""
    tls_certificate: Directory | None = Field(default=None, examples=['"/etc/cloister/server.pem"'])
    """File of the server's certificate, and those between it and its authority, as PEM."""
    tls_key: Directory | None = Field(default=None, examples=['"/etc/cloister/server.key"'])
    """File of that certificate's private key, as PEM."""
    trusted_proxies: Annotated[tuple[IPNetwork, ...], NoDecode, PlainValidator(_to_networks)] = Field(
        default=(), examples=['["127.0.0.1/32"]']
    )
    """Where a proxy of your own stands in front of the server: its X-Forwarded-For, -Proto and -Host are believed."""
    plain_http: bool = Field(default=False, examples=["true"])
    """Whether `listen` may be an address that other machines reach, without TLS and without a trusted proxy."""
    listen: Annotated[tuple[str, int] | None, NoDecode, PlainValidator(_to_listen)] = Field(
        default=None, examples=['"127.0.0.1:8450"']
    )
    """Address and port at which `cloister serve` is there for callers with tokens; absent: only its socket is."""
    public_url: Annotated[str | None, NoDecode, PlainValidator(_to_public_url)] = Field(
        default=None, examples=['"https://cloister.example"']
    )
    """Where people reach the server, when that is not what their requests name: behind a proxy of yours."""
    session_lifetime: Annotated[float, NoDecode, PlainValidator(_to_seconds)] = Field(
        default=7 * DAY, examples=['"7d"'], validate_default=False
    )
    """How long somebody stays logged in, in a browser."""
    session_idle: Annotated[float, NoDecode, PlainValidator(_to_seconds)] = Field(
        default=DAY, examples=['"12h"'], validate_default=False
    )
    """After how long without a request they have to log in again."""
    oidc: OidcTable | None = Field(default=None)
    """A provider of OpenID Connect, where people log in: a table, see [access](../how-to/access.md)."""
    agents: dict[AgentName, AgentTable] = Field(default={}, examples=['{ mine = { command = "my-agent --json" } }'])
    """Agents of your own: a table for each, see [agents](../how-to/agents.md)."""
    models: dict[str, ModelTable] = Field(default={}, repr=False)
    """Providers of models, by a name of yours or a known one, with what [their tables](#models) say."""
    github: GitHubTable = Field(default=GitHubTable(), examples=['{ url = "https://github.example.com" }'])
    """Where GitHub is, and how Cloister logs in there, with what [its table](#github) says."""
    log_level: Literal["debug", "info", "warning", "error"] = Field(default="warning", examples=['"info"'])
    """Least severe entry of the log that is kept."""
    log_format: Literal["json", "console"] = Field(default="json", examples=['"console"'])
    """How `cloister serve` and `cloister worker` write it: an object a line, or for people to read."""
    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)

    def source_of(self, name: str) -> str:
        """Return where a setting was written: a variable, a file, an option of the command, or `default`."""
        return self._sources.get(name, "default")

    def with_options(self, values: Mapping[str, Any]) -> Self:
        """Return the settings with what the options of a command say over them; they are checked already."""
        chosen = self.model_copy(update=dict(values))
        chosen._sources = {**self._sources, **{name: f"--{name.replace('_', '-')}" for name in values}}
        return chosen

    @property
    def ceiling(self) -> Ceiling:
        """What no environment can exceed on the network."""
        return Ceiling(
            setup=NetworkMode(self.network_setup),
            agent=NetworkMode(self.network_agent),
            allow=self.network_allow,
            deny=self.network_deny,
            methods=self.network_methods,
            ports=self.network_ports,
        )

    @property
    def running_limits(self) -> RunningLimits:
        """What may run at once."""
        return RunningLimits(
            together=self.running_together,
            per_user=self.running_per_user,
            per_environment=self.running_per_environment,
        )

    @property
    def upstreams(self) -> Upstreams:
        """The way to every host."""
        return Upstreams(proxy=self.upstream_proxy, direct=self.no_proxy, addresses=self.upstream_addresses)

    @property
    def providers(self) -> tuple[ModelProvider, ...]:
        """Who answers calls of models, those of the settings first."""
        return providers_of(self.models, self.upstream_addresses)

    @property
    def master_key_path(self) -> Path:
        """Where the master key is."""
        return self.master_key or self.state / "master.key"

    @property
    def socket(self) -> Path:
        """Where a server of this state directory listens for its owner."""
        return self.state / "cloister.sock"

    @property
    def record_key_path(self) -> Path:
        """Where the key of records is."""
        return self.record_key or self.state / "record.key"

    @property
    def log_directory(self) -> Path:
        """Where background workers and crashes are written down."""
        return self.state / "log"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Variables win over files, which arrive as arguments."""
        return (env_settings, init_settings)


def load_settings(config: Path | None = None) -> Settings:
    """Read `config`, or else the system's file and the user's over it; CLOISTER_ variables win over both.

    Raises UsageError, which names file and line, or the variable.
    """
    documents = [document for path in _files(config) if (document := _read(path, required=config is not None))]
    values: dict[str, Any] = {}
    for document in documents:
        values.update(document.data, **_merged_models(values, document))
    values["models"] = with_variables(values.get("models", {}), os.environ)
    values["github"] = with_github_variables(values.get("github", {}), os.environ)
    try:
        settings = Settings(**values)
    except ValidationError as error:
        raise UsageError(_explain(error, documents, os.environ)) from error
    settings._sources = _sources(documents, os.environ)
    if settings.upstream_proxy is not None and settings.upstream_proxy.credentials is not None:
        _check_privacy(documents, "upstream_proxy", "a password")
    _check_models(settings, documents)
    if settings.oidc is not None and settings.oidc.client_secret is not None:
        _check_privacy(documents, "oidc", "the secret of a client")
    if settings.github.webhook_secret is not None and "CLOISTER_GITHUB_WEBHOOK_SECRET" not in os.environ:
        _check_privacy(documents, "github", "the secret of a webhook")
    return settings


def endpoint_to_text(endpoint: tuple[str, int]) -> str:
    """Return address and port as settings write them."""
    host, port = endpoint
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def with_listen(settings: Settings, text: str) -> Settings:
    """Return the settings with another `listen`. UsageError when it cannot be one, or is not safe."""
    try:
        endpoint = _to_endpoint(text)
        if endpoint is not None and not _is_near(endpoint):
            _check_transport(dict(settings), endpoint)
    except ValueError as error:
        raise UsageError(f"--listen {text}: {error}") from error
    return settings.with_options({"listen": endpoint})


def _sources(documents: Sequence[TomlDocument], environ: Mapping[str, str]) -> Mapping[str, str]:
    """Return by setting where it was written: of a table, all places that have a part of it."""
    found = {}
    for name in Settings.model_fields:
        is_table = name in ("models", "github")
        files = [document.source for document in documents if name in document.data]
        variable = VARIABLE_PREFIX + name.upper()
        parts = sorted(each for each in environ if is_table and each.startswith(f"{variable}_"))
        variables = [variable] if variable in environ else parts
        places = [*files, *variables] if is_table else [*variables, *files[-1:]][:1]
        if places:
            found[name] = ", ".join(places)
    return found


def _merged_models(values: Mapping[str, Any], document: TomlDocument) -> dict[str, Any]:
    """Of two files, the later one replaces the tables of the providers that it names."""
    former, later = values.get("models"), document.data.get("models")
    return {"models": {**former, **later}} if isinstance(former, dict) and isinstance(later, dict) else {}


def _check_models(settings: Settings, documents: Sequence[TomlDocument]) -> None:
    """Refuse providers that cannot be, and files with a key that every user of this machine can read."""
    try:
        _ = settings.providers
    except ValueError as error:
        sources = [document.source for document in documents if "models" in document.data]
        raise UsageError(f"{sources[-1] if sources else VARIABLE_PREFIX + 'MODELS'}: {error}") from error
    for document in documents:
        tables = document.data.get("models")
        has_key = isinstance(tables, dict) and any("key" in table for table in tables.values())
        if has_key and Path(document.source).stat().st_mode & stat.S_IROTH:
            raise UsageError(
                f"{document.source}: everyone on this machine can read it, and it has a key of a provider",
                hint=f"chmod o= {document.source}",
            )


def _check_privacy(documents: Sequence[TomlDocument], key: str, what: str) -> None:
    """Refuse a file with something secret that every user of this machine can read."""
    for document in documents:
        if key in document.data and Path(document.source).stat().st_mode & stat.S_IROTH:
            raise UsageError(
                f"{document.source}: everyone on this machine can read it, and {key} has {what}",
                hint=f"chmod o= {document.source}",
            )


def _files(config: Path | None) -> tuple[Path, ...]:
    if config is not None:
        return (config,)
    return (Path("/etc/cloister") / FILE_NAME, platformdirs.user_config_path("cloister") / FILE_NAME)


def _read(path: Path, *, required: bool) -> TomlDocument | None:
    try:
        return parse_toml(path.read_bytes(), source=str(path))
    except FileNotFoundError as error:
        if required:
            raise UsageError(f"there is no settings file {path}") from error
        return None
    except OSError as error:
        raise UsageError(f"cannot read the settings file {path}: {error.strerror}") from error
    except TomlSyntaxError as error:
        raise UsageError(str(error)) from error


def _explain(error: ValidationError, documents: list[TomlDocument], environ: Mapping[str, str]) -> str:
    """Say what is wrong where it was written: in a variable, or in the last file that has the key."""
    told = []
    for problem in problems_of(error, Settings):
        key = problem.path[0] if problem.path else ""
        variable = VARIABLE_PREFIX + key.upper()
        source = next((document for document in reversed(documents) if key in document.data), None)
        if variable in environ or source is None:
            told.append(f"{variable}: {problem.message}")
        else:
            told.append(source.describe([problem]))
    return "\n".join(told)
