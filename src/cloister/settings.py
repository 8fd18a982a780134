"""Settings of one installation, read once into one frozen object."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import platformdirs
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, StringConstraints
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from cloister.errors import UsageError
from cloister.github_settings import GitHubTable
from cloister.model.ceiling import Ceiling
from cloister.model.fairness import RunningLimits
from cloister.model.model_access import ModelApi
from cloister.model.model_provider import ModelProvider
from cloister.model.network import NetworkMode
from cloister.model.quantity import DAY
from cloister.model.upstreams import Upstreams
from cloister.model_settings import ModelTable, providers_of
from cloister.oidc_settings import OidcTable
from cloister.setting_values import (
    AbsolutePath,
    Allowlist,
    DirectHostList,
    Domains,
    Drain,
    Files,
    GivenAddresses,
    Listen,
    Methods,
    MetricsListen,
    Networks,
    OptionalSize,
    Ports,
    Proxy,
    PublicUrl,
    Seconds,
    Size,
    check_transport,
    is_near,
    to_endpoint,
)

VARIABLE_PREFIX = "CLOISTER_"


def _state_directory() -> Path:
    return Path("/var/lib/cloister") if os.geteuid() == 0 else platformdirs.user_data_path("cloister")


def _slots() -> int:
    # An attempt waits for a model most of its time, so a small machine takes more of them than it has cores.
    return max(4, len(os.sched_getaffinity(0)))


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

    state: AbsolutePath = Field(default_factory=_state_directory, examples=['"/var/lib/cloister"'])
    """State directory: database, images, snapshots, mirrors."""
    runtime: str = Field(default="auto", min_length=1, examples=['"crun"'])
    """Name or path of an OCI runtime; `auto` takes the first that works of crun and runc."""
    slots: int = Field(default_factory=_slots, ge=1, le=4096, examples=["4"])
    """Attempts that one worker runs at once."""
    drain: Drain = Field(default=10.0, examples=['"10s"'], validate_default=False)
    """How long running attempts may go on when a server is asked to end; what is not over then is left to the next."""
    spares: int = Field(default=2, ge=0, le=64, examples=["2"])
    """Sandboxes that a server or a worker has begun before anybody asks; see [spares](../how-to/server.md#spares)."""
    running_together: int | None = Field(default=None, ge=1, examples=["16"])
    """Attempts that run at once on all workers of this state directory; absent: as many as they have slots."""
    running_per_user: int | None = Field(default=None, ge=1, examples=["4"])
    """Attempts of one user that run at once, see [who goes first](../how-to/server.md#who-goes-first)."""
    running_per_environment: int | None = Field(default=None, ge=1, examples=["8"])
    """Attempts of one environment that run at once."""
    snapshots_size: OptionalSize = Field(default=None, examples=['"50GiB"'])
    """Room for the disks that setup leaves; above it, those used longest ago go. Absent: a fifth of the file system."""
    large_files: Size = Field(default=5 * 1024**3, examples=['"5GiB"'], validate_default=False)
    """What files of Git LFS may have together in a commit; above it, they stay pointers."""
    master_key: AbsolutePath | None = Field(default=None, examples=['"/etc/cloister/master.key"'])
    """File of the key that wraps all secrets; absent: `master.key` in the state directory. Made when missing."""
    ssh_config: AbsolutePath | None = Field(default=None, examples=['"/etc/cloister/ssh_config"'])
    """File of ssh_config(5) for repositories behind ssh, in place of `~/.ssh/config` and `/etc/ssh/ssh_config`."""
    record_key: AbsolutePath | None = Field(default=None, examples=['"/etc/cloister/record.key"'])
    """File of the key that signs records; absent: `record.key` in the state directory. Made when missing."""
    egress_uid: int = Field(default=65533, ge=1, le=2**32 - 2, examples=["65533"])
    """User id of the egress process when Cloister runs as root; nothing else should run under it."""
    allow_private: Networks = Field(default=(), examples=['["10.1.0.0/16"]'])
    """Private networks that a policy may allow; in a variable, separated by commas. None can be reached by default."""
    authorities: Files = Field(default=(), examples=['["/etc/cloister/corp.pem"]'])
    """Files of PEM certificates that may vouch for upstreams, to Cloister and in sandboxes, beside the host's own."""
    upstream_proxy: Proxy = Field(default=None, examples=['"http://user:password@proxy.example:3128"'])
    """HTTP proxy that leads out of this network; user and password are percent-encoded."""
    no_proxy: DirectHostList = Field(default=(), examples=['["corp.example", "10.0.0.0/8"]'])
    """What is reached without that proxy; in a variable, separated by commas."""
    upstream_addresses: GivenAddresses = Field(
        default_factory=dict, examples=['{ "git.example.internal" = "10.0.0.5" }']
    )
    """Where single hosts are, private ones too, in place of looking them up; never through the proxy."""
    network_setup: Literal["off", "limited", "full"] = Field(default="full", examples=['"limited"'])
    """Highest mode of setup, whatever environments ask for."""
    network_agent: Literal["off", "limited", "full"] = Field(default="full", examples=['"limited"'])
    """Highest mode of the agent."""
    network_allow: Allowlist = Field(default=None, examples=['["preset:common-dependencies", "example.com"]'])
    """When set, all that any environment may reach, in full mode too; in a variable, separated by commas."""
    network_deny: Domains = Field(default=(), examples=['["uploads.example.com"]'])
    """What no environment reaches."""
    network_methods: Methods = Field(default=None, examples=['["GET", "HEAD", "OPTIONS"]'])
    """When set, the HTTP methods that any environment may use; HTTPS is read for it."""
    network_ports: Ports = Field(default=None, examples=["[80, 443]"])
    """When set, the ports that any environment may reach."""
    metrics_remote: bool = Field(default=False, examples=["true"])
    """Whether `metrics_listen` may be an address that other machines reach. Whoever reaches it reads the numbers."""
    metrics_listen: MetricsListen = Field(default=None, examples=['"127.0.0.1:9464"'])
    """Address and port at which `cloister worker` serves metrics to Prometheus; absent: nowhere."""
    metrics_access: Literal["open", "viewer", "admin", "off"] = Field(default="admin", examples=['"viewer"'])
    """Who may read `/metrics` of the server: everybody, who has a token of that role, or nobody."""
    otlp_endpoint: Annotated[str | None, StringConstraints(pattern=r"^https?://[^\s]+$")] = Field(
        default=None, examples=['"http://collector.example:4318"']
    )
    """Collector of OpenTelemetry that gets metrics and traces by OTLP, where the OTEL_ variables name none."""
    tls_certificate: AbsolutePath | None = Field(default=None, examples=['"/etc/cloister/server.pem"'])
    """File of the server's certificate, and those between it and its authority, as PEM."""
    tls_key: AbsolutePath | None = Field(default=None, examples=['"/etc/cloister/server.key"'])
    """File of that certificate's private key, as PEM."""
    trusted_proxies: Networks = Field(default=(), examples=['["127.0.0.1/32"]'])
    """Where a proxy of your own stands in front of the server: its X-Forwarded-For, -Proto and -Host are believed."""
    plain_http: bool = Field(default=False, examples=["true"])
    """Whether `listen` may be an address that other machines reach, without TLS and without a trusted proxy."""
    listen: Listen = Field(default=None, examples=['"127.0.0.1:8450"'])
    """Address and port at which `cloister serve` is there for callers with tokens; absent: only its socket is."""
    public_url: PublicUrl = Field(default=None, examples=['"https://cloister.example"'])
    """Where people reach the server, when that is not what their requests name: behind a proxy of yours."""
    session_lifetime: Seconds = Field(default=7 * DAY, examples=['"7d"'], validate_default=False)
    """How long somebody stays logged in, in a browser."""
    session_idle: Seconds = Field(default=DAY, examples=['"12h"'], validate_default=False)
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

    def with_sources(self, sources: Mapping[str, str]) -> Self:
        """Return the settings, knowing by name where each was written."""
        chosen = self.model_copy()
        chosen._sources = dict(sources)
        return chosen

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


def with_listen(settings: Settings, text: str) -> Settings:
    """Return the settings with another `listen`. UsageError when it cannot be one, or is not safe."""
    try:
        endpoint = to_endpoint(text)
        if endpoint is not None and not is_near(endpoint):
            check_transport(dict(settings), endpoint)
    except ValueError as error:
        raise UsageError(f"--listen {text}: {error}") from error
    return settings.with_options({"listen": endpoint})
