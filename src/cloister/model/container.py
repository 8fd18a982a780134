"""What every program in a sandbox finds in its environment. Public: listed in the reference."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from cloister.model.phase import Phase
from cloister.model.sandbox import PROXY_PORT, WORKSPACE, Checkout
from cloister.model.task import Task

HOME = "/root"
PROMPT_FILE = "/cloister/in/prompt.md"
TIME_LEFT = "/cloister/in/time-left"
"""Appears shortly before an agent's time is up, and says how much there is."""
MESSAGE_FILE = "/cloister/out/message.md"
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
"""What the host trusts, the installation's own authority and those of its settings, where Debian's programs look."""
OWN_AUTHORITY = "/etc/ssl/certs/cloister.pem"
"""The installation's own and those of its settings alone, for programs that add it to those they bring with them."""
JAVA_TRUST_STORE = "/etc/ssl/certs/cloister.p12"
CHECK = "check"
"""What programs of the output phase are told: the only ones that run there are checks."""
_PROXY = f"http://127.0.0.1:{PROXY_PORT}"
_NO_PROXY = "localhost,127.0.0.1,::1"

_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN_PREFIX = "CLOISTER_"

_PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_CA_NAMES = (
    "CARGO_HTTP_CAINFO",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "PIP_CERT",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_FILE",
)
_OWN_CA_NAMES = ("CODEX_PROXY_CERT", "NODE_EXTRA_CA_CERTS")
_PIP = {"PIP_BREAK_SYSTEM_PACKAGES": "1", "PIP_ROOT_USER_ACTION": "ignore"}
"""A sandbox is one project's: root's `pip install` breaks nothing there (PEP 668, "Use cases": containers)."""
_JAVA_OPTIONS = " ".join(
    [
        *(f"-D{scheme}.proxyHost=127.0.0.1 -D{scheme}.proxyPort={PROXY_PORT}" for scheme in ("http", "https")),
        f"-Djavax.net.ssl.trustStore={JAVA_TRUST_STORE}",
    ]
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Foundation:
    """What image and automatic setup bring with them, below the environment's own variables."""

    path: tuple[str, ...] = ()
    """Folders before PATH."""
    variables: Mapping[str, str] = field(default_factory=dict)
    image: Mapping[str, str] = field(default_factory=dict)
    """What the image's configuration gives to its programs: below everything else, but its PATH replaces the usual."""
    universal: bool = False
    """Whether programs run in login shells, as in OpenAI's universal image; see `model.universal`."""

    @property
    def outside(self) -> Mapping[str, str]:
        """What programs get of it where no sandbox is: what an exported image says."""
        path = ":".join([*self.path, self.image.get("PATH") or _PATH])
        return {**self.image, **self.variables, "PATH": path}


NOTHING_FOUND = Foundation()
"""Nothing is chosen, and nothing installed."""


def work_tree(task: Task) -> str:
    """Where the work tree lies."""
    return f"{WORKSPACE}/{task.repository.directory}"


def default_checkout(task: Task) -> Checkout:
    """The tip of the default branch: where setup runs on a cold disk."""
    revision = task.revision
    return Checkout(commit=revision.default_commit, branch=revision.default_branch, origin=task.repository.address)


def asked_checkout(task: Task) -> Checkout:
    """The task's commit, without its patch."""
    return Checkout(commit=task.revision.commit, branch=task.branch, origin=task.repository.address)


def container_variables(task: Task, phase: Phase, foundation: Foundation = NOTHING_FOUND) -> Mapping[str, str]:
    """Return the environment of a program of this phase, without secrets.

    The environment's own variables may replace anything but what makes the table of phases true: the
    proxy, the authorities and the `CLOISTER_` names.
    """
    proxies = dict.fromkeys(_PROXY_NAMES, _PROXY) | {"NO_PROXY": _NO_PROXY}
    shell = {"BASH_ENV": f"{HOME}/.bashrc"} if phase is not Phase.SETUP else {}
    return {
        **{name: value for name, value in foundation.image.items() if not name.startswith(_OWN_PREFIX)},
        "HOME": HOME,
        "LANG": "C.UTF-8",
        "PATH": foundation.outside["PATH"],
        "TERM": "dumb",
        **_PIP,
        **shell,  # what setup wrote there is how it leaves variables to the agent
        **foundation.variables,
        **task.environment.variables,
        **proxies,
        **{name.lower(): value for name, value in proxies.items()},
        **dict.fromkeys(_CA_NAMES, CA_BUNDLE),
        **dict.fromkeys(_OWN_CA_NAMES, OWN_AUTHORITY),
        "JAVA_TOOL_OPTIONS": _JAVA_OPTIONS,
        "NODE_USE_ENV_PROXY": "1",
        "CLOISTER_TASK": task.id,
        "CLOISTER_PHASE": CHECK if phase is Phase.OUTPUT else phase,
        "CLOISTER_PROMPT_FILE": PROMPT_FILE,
    }
