"""Refuses what a caller sends and what is wrong in itself, whatever repository or environment it is about."""

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import fields
from hashlib import sha256

from cloister import environment_schema
from cloister.allowlist import check_not_too_broad
from cloister.errors import UsageError
from cloister.model.cancellation import LONGEST_GRACE_SECONDS, Cancellation
from cloister.model.environment import Limits
from cloister.model.given import (
    IMAGE_KINDS,
    LARGEST_GIVEN_BYTES,
    LARGEST_TOGETHER_BYTES,
    MOST_GIVEN,
    GivenFile,
    Upload,
    is_image,
    safe_names,
)
from cloister.model.phase import Phase
from cloister.model.quantity import GIB, HOUR, MINUTE, size_to_text
from cloister.model.request import Request
from cloister.model.task import LARGEST_PROMPT_BYTES

MOST_ATTEMPTS = 4
HIGHEST_LIMITS = Limits(
    cpu=1024,
    memory_bytes=max(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), Limits().memory_bytes),
    disk_bytes=1024 * GIB,
    inodes=100_000_000,
    pids=32_768,
    output_bytes=GIB,
    time_seconds=7 * 24 * HOUR,
    stuck_seconds=7 * 24 * HOUR,
    rounds=10,
    tokens=10**12,
    cost=1_000_000.0,
)
"""What any environment may ask for on this machine: a repository writes its own limits."""
LARGEST_PATCH_BYTES = 32 * 1024 * 1024

_DIFF = re.compile(rb"^(diff --git |--- .*\n\+\+\+ )", re.MULTILINE)
_TERMINAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}", re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def check_request(request: Request) -> None:
    """Check all that needs no look at anything else. Raises UsageError."""
    check_prompt(request.prompt)
    check_attempts(request.attempts)
    check_ref(request.ref)
    if request.command is not None and (not request.command.strip() or "\x00" in request.command):
        raise UsageError("the command line is empty, or holds a NUL")
    if request.shell is not None:
        _check_shell(request)
    check_uploads(request.files)
    if request.patch is not None:
        _check_patch(request.patch)


def _check_shell(request: Request) -> None:
    assert request.shell is not None
    if request.shell.phase not in (Phase.SETUP, Phase.AGENT):
        raise UsageError(f"there is no shell in the phase {request.shell.phase}: it is setup or agent")
    if not _TERMINAL.fullmatch(request.shell.terminal):
        raise UsageError(f"{request.shell.terminal!r} is no kind of terminal: see TERM")
    if request.command is not None or request.agent is not None or request.patch is not None or request.attempts != 1:
        raise UsageError("a shell is one attempt, without an agent, a command or a patch")
    if request.ask or request.files:
        raise UsageError("a shell asks nothing, and nothing is given with it")


def check_uploads(uploads: Sequence[Upload]) -> None:
    """Raise UsageError for what cannot come with a prompt."""
    if len(uploads) > MOST_GIVEN:
        raise UsageError(f"{len(uploads)} files and images: at most {MOST_GIVEN} come with a prompt")
    for upload in uploads:
        if len(upload.data) > LARGEST_GIVEN_BYTES:
            size, most = size_to_text(len(upload.data)), size_to_text(LARGEST_GIVEN_BYTES)
            raise UsageError(f"{upload.name} has {size}; a file that comes with a prompt has at most {most}")
        if upload.image and not is_image(upload.data):
            raise UsageError(f"{upload.name} is no picture: {IMAGE_KINDS}", hint="give it with --file")
    together = sum(len(upload.data) for upload in uploads)
    if together > LARGEST_TOGETHER_BYTES:
        size, most = size_to_text(together), size_to_text(LARGEST_TOGETHER_BYTES)
        raise UsageError(f"files and images of {size} together; at most {most} come with a prompt")


def given_files(uploads: Sequence[Upload], *, taken: Sequence[str] = ()) -> tuple[GivenFile, ...]:
    """Return what is kept of checked uploads, in their order, each with a name that no other has, nor one `taken`."""
    names = safe_names([upload.name for upload in uploads], taken=taken)
    return tuple(
        GivenFile(name=name, size_bytes=len(upload.data), sha256=sha256(upload.data).hexdigest(), image=upload.image)
        for name, upload in zip(names, uploads, strict=True)
    )


def check_ref(ref: str | None) -> None:
    """Raise UsageError when no branch, tag or commit can be called so. None is the default branch."""
    if ref is not None and (not ref or ref.startswith("-") or _CONTROL.search(ref)):
        raise UsageError(f"{ref!r} is not a branch, tag or commit")


def check_attempts(attempts: int) -> None:
    """Raise UsageError unless that many attempts can be made of one prompt."""
    if not 1 <= attempts <= MOST_ATTEMPTS:
        raise UsageError(f"a task has 1 to {MOST_ATTEMPTS} attempts, not {attempts}")


def check_prompt(prompt: str) -> None:
    """Raise UsageError when nobody can be asked that."""
    try:
        size = len(prompt.encode())
    except UnicodeEncodeError as error:
        raise UsageError("the prompt is not valid UTF-8") from error
    if not prompt.strip():
        raise UsageError("the prompt is empty; say what shall be done")
    if "\x00" in prompt:
        raise UsageError("the prompt holds a NUL, which no program can be given")
    if size > LARGEST_PROMPT_BYTES:
        raise UsageError(f"the prompt has {size} bytes; at most {LARGEST_PROMPT_BYTES} (1 MiB) are accepted")


def _check_patch(patch: bytes) -> None:
    if len(patch) > LARGEST_PATCH_BYTES:
        raise UsageError(f"the patch has {len(patch)} bytes; at most {LARGEST_PATCH_BYTES // 1024**2} MiB are accepted")
    if not _DIFF.search(patch):
        raise UsageError("the patch is not a diff; make one with: git diff --binary")


def check_cancellation(cancellation: Cancellation) -> None:
    """Raise UsageError for a grace that is none."""
    if not 0 <= cancellation.grace_seconds <= LONGEST_GRACE_SECONDS:
        most = f"{LONGEST_GRACE_SECONDS / MINUTE:g} minutes"
        raise UsageError(f"a grace of {cancellation.grace_seconds:g} seconds: it is at most {most}")


def check_limits(limits: Limits) -> None:
    """Raise UsageError when an environment asks for more than HIGHEST_LIMITS."""
    for field in fields(Limits):
        wanted, highest = getattr(limits, field.name), getattr(HIGHEST_LIMITS, field.name)
        if wanted is not None and wanted > highest:
            name = field.name.removesuffix("_bytes").removesuffix("_seconds")
            shown, most = (_limit_to_text(field.name, value) for value in (wanted, highest))
            raise UsageError(
                f"limits.{name} is {shown}, and this machine gives at most {most}",
                hint=f"lower limits.{name} in the environment file",
            )


def _limit_to_text(name: str, value: float) -> str:
    if name.endswith("_bytes"):
        return size_to_text(int(value))
    return f"{value / MINUTE:g} minutes" if name.endswith("_seconds") else f"{value:g}"


def check_secret_name(name: str) -> None:
    """Raise UsageError when no secret can be called so."""
    try:
        environment_schema.check_secret_name(name)
    except ValueError as error:
        raise UsageError(str(error)) from error


def check_hosts(hosts: Iterable[str]) -> None:
    """Raise UsageError when one of them covers too much to be given a secret."""
    for host in hosts:
        check_not_too_broad(host)


def check_environment_name(name: str) -> None:
    """Raise UsageError when no environment can be called so."""
    if not name.strip() or len(name) > 512 or _CONTROL.search(name):
        raise UsageError("an environment's name has 1 to 512 characters on one line")
