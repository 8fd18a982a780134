"""Every error that Cloister raises on purpose.

    CloisterError                  exit 3, status 500   ours
    ├── UsageError                 exit 2, status 422   the request is wrong; nothing was changed
    │   ├── NotFoundError          exit 2, status 404   it names something that is not there
    │   ├── EnvironmentFileError   exit 2, status 422   the environment file is wrong; names line and key
    │   └── ConflictError          exit 2, status 409   it does not fit the present state
    │       └── UnderWayError      exit 2, status 409   the same request is being carried out
    ├── DeniedError                exit 5, status 403   the caller may not
    │   ├── UnauthenticatedError   exit 5, status 401   nobody knows who the caller is
    │   └── TooManyFailuresError   exit 5, status 429   it was tried with wrong tokens too often
    ├── TaskFailedError         exit 1, status 422   the task's own doing: the attempt FAILED
    ├── SignatureError             exit 1, status 422   a record is not what its key signed
    ├── SandboxError               exit 3, status 500   the node could not make, run or read a sandbox
    │   ├── HostError              exit 3, status 500   this host lacks something; `cloister doctor` says what
    │   └── DiskFullError          exit 3, status 507   no space left on the node
    ├── RepositoryError            exit 3, status 502   a repository could not be reached or read
    │   └── RateLimitError         exit 3, status 502   the forge answers no more for a while
    ├── EgressError                exit 3, status 502   the egress process did not do as asked
    ├── StoreError                 exit 3, status 500   the database refused or is damaged
    ├── VaultError                 exit 3, status 500   a secret could not be sealed or opened
    ├── UnreachableError           exit 3, status 502   no server answered
    └── LeaseLostError             exit 3, status 409   another worker has taken this attempt over

A message says what was wrong, where, and what to do, and never holds a secret's value. Errors of
libraries and of the system are translated into these at the edge of the adapter that met them.
"""

from typing import ClassVar


class CloisterError(Exception):
    """Base of all. `str(error)` is safe to show to the user."""

    exit_code: ClassVar[int] = 3
    http_status: ClassVar[int] = 500

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        """What was wrong, and where."""
        self.hint = hint
        """What to do about it, as one sentence or command; absent when the message says it."""


class UsageError(CloisterError):
    """The request is wrong. Nothing was changed."""

    exit_code = 2
    http_status = 422


class NotFoundError(UsageError):
    """The request names something that does not exist."""

    http_status = 404


class EnvironmentFileError(UsageError):
    """The environment file cannot be read as one."""


class ConflictError(UsageError):
    """The request does not fit the present state of what it names."""

    http_status = 409


class UnderWayError(ConflictError):
    """The same request, by its Idempotency-Key, is being carried out. Asked again a little later, it is answered."""


class DeniedError(CloisterError):
    """The caller is not allowed to do this."""

    exit_code = 5
    http_status = 403


class UnauthenticatedError(DeniedError):
    """Nobody knows who the caller is."""

    http_status = 401


class TooManyFailuresError(DeniedError):
    """Wrong tokens came from there too often of late."""

    http_status = 429


class TaskFailedError(CloisterError):
    """The attempt failed by the task's own doing (its setup, its agent, its limits)."""

    exit_code = 1
    http_status = 422


class SignatureError(CloisterError):
    """A record is not what its key signed: it, or its signature, was changed, or another key signed it."""

    exit_code = 1
    http_status = 422


class SandboxError(CloisterError):
    """The node could not make, run or read a sandbox."""


class HostError(SandboxError):
    """The host lacks something that Cloister needs."""


class DiskFullError(SandboxError):
    """No space is left on the node's state directory."""

    http_status = 507


class RepositoryError(CloisterError):
    """A repository could not be reached or read."""

    http_status = 502


class RateLimitError(RepositoryError):
    """The forge answers no more for a while."""

    def __init__(self, message: str, *, seconds: float = 60.0, hint: str | None = None) -> None:
        super().__init__(message, hint=hint)
        self.seconds = seconds
        """From now until it answers again; a minute where nobody says, as a server's answer does not."""


class EgressError(CloisterError):
    """The egress process did not do as asked."""

    http_status = 502


class StoreError(CloisterError):
    """The database refused, or is damaged."""


class VaultError(CloisterError):
    """A secret could not be sealed or opened."""


class UnreachableError(CloisterError):
    """No server answered, so that nobody knows whether the request was carried out."""

    http_status = 502


class LeaseLostError(CloisterError):
    """Another worker has taken the attempt over; what we do to it no longer counts."""

    http_status = 409
