"""The unit that lets systemd run the server: as closed as it can be and still make sandboxes."""

from pathlib import Path

_STOPPING_SECONDS = 30
"""Beside the drain: for the last events, and the answers in the making."""

_UNIT = """\
# Written by `cloister serve --print-unit`. What is left open is explained in docs/how-to/operations.md.
[Unit]
Description=Cloister: coding-agent tasks in sandboxes of their own
Wants=network-online.target
After=network-online.target

[Service]
Type=exec
ExecStart={command}
Environment={state}
Restart=on-failure
RestartSec=2
# Containers outlive the server, and the next one takes them over: only the server itself is ended.
KillMode=process
KillSignal=SIGTERM
TimeoutStopSec={stop_seconds}
OOMPolicy=continue
LimitNOFILE=1048576
TasksMax=infinity
UMask=0077

# What making sandboxes does not need. Everything here holds inside sandboxes too.
NoNewPrivileges=yes
CapabilityBoundingSet=~CAP_SYS_MODULE CAP_SYS_TIME CAP_SYS_BOOT CAP_SYSLOG CAP_WAKE_ALARM CAP_BLOCK_SUSPEND
CapabilityBoundingSet=~CAP_SYS_RAWIO CAP_LINUX_IMMUTABLE CAP_LEASE CAP_AUDIT_CONTROL CAP_AUDIT_READ CAP_MAC_ADMIN
CapabilityBoundingSet=~CAP_MAC_OVERRIDE CAP_SYS_PACCT CAP_SYS_TTY_CONFIG CAP_PERFMON CAP_CHECKPOINT_RESTORE
CapabilityBoundingSet=~CAP_IPC_LOCK CAP_IPC_OWNER CAP_NET_BROADCAST
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictRealtime=yes
KeyringMode=private

[Install]
WantedBy=multi-user.target
"""


def unit_text(program: Path, *, state: Path, config: Path | None, listen: str | None, drain_seconds: float) -> str:
    """Return the unit of a server that is started so."""
    options = [*(["--config", str(config)] if config else []), "serve", *(["--listen", listen] if listen else [])]
    # In a command line, `$` begins a variable; in an assignment it stands for itself.
    command = " ".join(_quoted(part.replace("$", "$$")) for part in (str(program), *options))
    stop = int(drain_seconds) + _STOPPING_SECONDS
    return _UNIT.format(command=command, state=_quoted(f"CLOISTER_STATE={state}"), stop_seconds=stop)


def _quoted(text: str) -> str:
    """Return it as systemd reads it back: `%` stands for itself, quotes where there is a space."""
    plain = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{plain}"' if any(character in plain for character in " \t'\"\\;") else plain
