"""The command line that starts services before a program, and what it says of them."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib import resources

from cloister.model.environment import Service
from cloister.model.sandbox import Command

PLACE = "/cloister/out/services"
"""Where services leave what they print, NAME.log, and how they ended, `ended`."""
RUN = b"run"
"""The line with which the launcher's own part of standard output ends."""

_LAUNCHER = "services.sh"
_KIB = 1024
LINE_BYTES = 128
"""Longer than any line of the launcher's, whose names have at most 64 characters."""
_PORT = re.compile(r"tcp:\d{1,5}", re.ASCII)


def with_services(command: Command, services: Sequence[Service]) -> Command:
    """Return a command that starts these services first, and ends them after it; without any, `command` itself.

    What it prints has to be read by `follow_with_services`. Nothing that an environment says becomes part of a
    script of ours: command lines travel in files, names and numbers as arguments.
    """
    if not services:
        return command
    log_kib = str(command.output_bytes // _KIB)
    arguments = [log_kib, *(it for service in services for it in _arguments(service)), "--", *command.argv]
    files = {
        _LAUNCHER: resources.files(__package__).joinpath("launcher.sh").read_bytes(),
        "services.args": "".join(f"{argument}\0" for argument in arguments).encode(),
        **{name: text.encode() for service in services for name, text in _scripts(service)},
    }
    return replace(
        command,
        # Privileged, bash reads no file that BASH_ENV names and takes no functions from its environment.
        argv=("/bin/bash", "-p", f"/cloister/in/{_LAUNCHER}"),
        files={**command.files, **files},
        output_bytes=command.output_bytes + LINE_BYTES * (2 * len(services) + 1),
    )


def log_of(service: Service) -> str:
    """Where a service's output is kept in the sandbox."""
    return f"{PLACE}/{service.name}.log"


def _arguments(service: Service) -> tuple[str, str, str]:
    ready = service.ready or "at-once"
    how = ready if _PORT.fullmatch(ready) or service.ready is None else "command"
    return service.name, how, str(max(1, int(service.timeout_seconds * 100)))


def _scripts(service: Service) -> Iterator[tuple[str, str]]:
    yield f"service.{service.name}", f"{service.command}\n"
    if service.ready is not None:
        yield f"ready.{service.name}", f"{service.ready}\n"
