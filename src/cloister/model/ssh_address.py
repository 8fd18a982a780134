"""The address of a repository behind ssh, in both of git's forms: which there are, and which are refused."""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import unquote

_USER = r"(?:(?P<user>[^@/]*)@)?"
_HOST = r"(?P<host>\[[^\]/]*\]|[^:/@\[\]]*)"
_URL = re.compile(rf"ssh://{_USER}{_HOST}(?::(?P<port>[^/]*))?(?P<path>/.*)?", re.DOTALL)
_SHORT = re.compile(rf"{_USER}{_HOST}:(?P<path>.*)", re.DOTALL)
_COLON_FIRST = re.compile(r"(?:[^/:\[]*\[[^\]/]*\]|[^/:]*):")
"""To git, what has a colon before the first slash is no path (git, connect.c: url_is_local_not_ssh)."""

_GOOD_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,63}")
_GOOD_HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,252}")
_SCHEMES = frozenset("ext fd file ftp ftps git git+ssh http https ssh ssh+git".split())
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAddress:
    """Where a repository is. No part begins with a dash, so that none is an option to ssh or to the other git."""

    user: str | None
    host: str
    """A name, an alias of ssh_config(5), or an address; IPv6 without brackets."""
    port: int | None
    path: str

    @property
    def login(self) -> str:
        """What a person gives to `ssh` to get there."""
        options = "" if self.port is None else f"-p {self.port} "
        return f"{options}{'' if self.user is None else self.user + '@'}{self.host}"


def is_short_form(text: str) -> bool:
    """Whether git reads it as `[user@]host:path`; whether that is a good one is for `parse_ssh_address` to say."""
    colon = _COLON_FIRST.match(text)
    return colon is not None and not text.startswith(":", colon.end()) and not text.startswith("//", colon.end())


def parse_ssh_address(text: str) -> SshAddress | None:
    """Read `ssh://[user@]host[:port]/path` or `[user@]host:path`; None when it is neither.

    The grammar is narrower than git's: what git decodes or ssh could read as an option (CVE-2017-1000117,
    CVE-2018-17456) or as a template (`%h`) is in no host and no user. Raises ValueError with the reason.
    """
    is_url = text.lower().startswith("ssh://")
    if not is_url and not is_short_form(text):
        return None
    match = (_URL if is_url else _SHORT).fullmatch(text)
    if match is None:
        raise ValueError("write ssh://user@host:port/path or user@host:path")
    parts = match.groupdict()
    path = parts["path"] or ""
    _check_path(unquote(path) if is_url else path, least=2 if is_url else 1)
    return SshAddress(
        user=_check_user(parts["user"]), host=_check_host(parts["host"]), port=_check_port(parts.get("port")), path=path
    )


def _check_user(user: str | None) -> str | None:
    if user is not None and ":" in user:
        raise ValueError("it must not hold a password; ssh takes keys")
    if user is not None and not _GOOD_USER.fullmatch(user):
        raise ValueError("a user's name is letters, digits and inner . _ + -")
    return user


def _check_host(host: str) -> str:
    if host.startswith("["):
        if "%" in host:
            raise ValueError("an address has no zone here")
        return str(ipaddress.IPv6Address(host[1:-1]))
    if host.lower() in _SCHEMES:
        raise ValueError(f"a {host} URL has the form {host}://...")
    if not _GOOD_HOST.fullmatch(host):
        raise ValueError("a host's name is letters, digits and inner . _ -")
    return host


def _check_port(port: str | None) -> int | None:
    if port is None:
        return None
    if not re.fullmatch(r"[0-9]{1,5}", port) or not 0 < int(port) < 65536:
        raise ValueError("a port is 1 to 65535")
    return int(port)


def _check_path(path: str, *, least: int) -> None:
    if len(path) < least:
        raise ValueError("it names no path")
    if path.startswith("-"):
        raise ValueError("its path must not begin with a dash")
    if path[1:2] == "~" and not path.startswith("/"):  # git drops what is before it (connect.c, parse_connect_url)
        raise ValueError("its path must not have a tilde as its second character")
    if _UNPRINTABLE.search(path):
        raise ValueError("its path holds a control character")
