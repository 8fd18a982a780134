"""Secrets, and what keeps them out of texts."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from cloister.model.environment import Environment
from cloister.model.record import Signature
from cloister.model.secret import BrokerRule, DeliveredSecrets, KeptSecret, SecretValue
from cloister.model.task import Task


class Vault(Protocol):
    """Sealed secrets, by environment."""

    async def set(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """Keep a value; with a rule, for the proxy alone.

        UsageError when name, value or rule cannot be one; nothing is changed then.
        """
        ...

    async def list(self, environment: str) -> Sequence[KeptSecret]:
        """What is kept, by name, without the values."""
        ...

    async def find(self, environment: str, name: str) -> SecretValue | None:
        """Open one value, for the installation itself; None when nothing is kept under that name."""
        ...

    async def remove(self, environment: str, name: str) -> None:
        """Forget a value. NotFoundError when there is none."""
        ...

    async def seal_for_task(self, values: Mapping[str, str]) -> bytes:
        """Seal values that came with one request. UsageError as for `set`."""
        ...

    def redactor(self, secrets: DeliveredSecrets) -> "Redactor":
        """Return a new masker of these values, for one stream."""
        ...

    async def versions(self, environment: Environment) -> Mapping[str, str]:
        """Return the versions that `open_for` would for a task that brings no values, opening none. Errors as there."""
        ...

    async def open_for(self, task: Task) -> DeliveredSecrets:
        """Open the secrets that the task's environment names, and those that came with the task.

        The rule of a brokered one is the vault's, narrowed by the environment; UsageError when it asks for more.
        NotFoundError names a secret that has no value, and the command that gives it one.
        """
        ...

    async def rotate_key(self) -> int:
        """Wrap every sealed value anew, under a new master key, and return how many there were.

        What was sealed before, or is being sealed meanwhile by this or another process, opens before, during and
        after. ConflictError when the key was replaced a moment ago: what is being sealed could be left behind.
        """
        ...

    async def sign(self, message: bytes) -> Signature:
        """Sign with the installation's key for records, which is made when it is first used. VaultError."""
        ...

    async def public_key(self) -> str:
        """Return what verifies those signatures, as PEM (SubjectPublicKeyInfo). VaultError."""
        ...


class Redactor(Protocol):
    """Masks secret values in one stream of bytes, also where a value is cut by a chunk border."""

    def feed(self, data: bytes) -> bytes:
        """Return what can be shown by now; holds back at most the longest value's length."""
        ...

    def flush(self) -> bytes:
        """Return what was held back; the stream is over."""
        ...

    @property
    def held_bytes(self) -> int:
        """How much is held back now. A new masker that starts behind it could not know a value cut there."""
        ...
