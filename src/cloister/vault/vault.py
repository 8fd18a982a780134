"""The vault: seals what users give it, and opens it for a task."""

import hmac
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Protocol

from cloister.errors import NotFoundError, UsageError
from cloister.masking import MaskingRedactor
from cloister.model.secret import DeliveredSecrets, SealedSecret, SecretMode, SecretUse, SecretValue
from cloister.model.task import Task
from cloister.protocols import Redactor, Vault
from cloister.vault.keys import KeyFile, Keyring
from cloister.vault.rules import check_name, check_value
from cloister.vault.sealing import rewrap, seal, unseal

_TASK_PLACE = ("values of a task",)


class SealedSecrets(Protocol):
    """Where sealed secrets are kept. Every method is one transaction."""

    async def put(self, secret: SealedSecret) -> None:
        """Keep, in place of what was kept under that name."""
        ...

    async def find(self, environment: str, name: str) -> SealedSecret | None:
        """The secret of that name."""
        ...

    async def names(self, environment: str) -> Sequence[str]:
        """The names that are kept for an environment, sorted."""
        ...

    async def remove(self, environment: str, name: str) -> bool:
        """Forget. False when nothing was kept."""
        ...

    async def reseal_all(self, reseal: Callable[[bytes], bytes]) -> None:
        """Put every sealed value, those of tasks included, through `reseal`: all, or on an error none."""
        ...


class SealedVault:
    """`Vault` whose values are kept sealed, under a master key that is kept elsewhere."""

    def __init__(self, kept: SealedSecrets, keys: KeyFile) -> None:
        self._kept = kept
        self._keys = keys

    async def set(self, environment: str, name: str, value: str) -> None:
        """Seal and keep a value, with a new version."""
        check_name(name)
        check_value(name, value)
        # Random rather than counted: a name that is removed and set again must not have a former version.
        version = secrets.token_hex(16)
        sealed = seal(value.encode(), (environment, name, version), self._keys.load())
        await self._kept.put(SealedSecret(environment=environment, name=name, version=version, sealed=sealed))

    async def names(self, environment: str) -> Sequence[str]:
        """The names that have a value, sorted."""
        return await self._kept.names(environment)

    async def remove(self, environment: str, name: str) -> None:
        """Forget a value."""
        if not await self._kept.remove(environment, name):
            raise NotFoundError(f"environment {environment} has no secret {name}", hint="`cloister secret list ENV`")

    async def seal_for_task(self, values: Mapping[str, str]) -> bytes:
        """Seal all values of one request together."""
        for name, value in values.items():
            check_name(name)
            check_value(name, value)
        return seal(json.dumps(dict(values)).encode(), _TASK_PLACE, self._keys.load())

    def redactor(self, secrets: DeliveredSecrets) -> Redactor:
        """Return a new masker of these values."""
        return MaskingRedactor(secrets.values)

    async def open_for(self, task: Task) -> DeliveredSecrets:
        """Open what the task brought along, and, for the names it did not bring, what is kept.

        UsageError for a secret that only the proxy may use: it must not reach the sandbox.
        """
        keyring = self._keys.load()
        given = _open_task_values(task, keyring)
        values = {name: SecretValue(value) for name, value in given.items()}
        versions = {name: _version_of(name, value, keyring) for name, value in given.items()}
        for use in task.environment.secrets:
            _check_deliverable(use, task.environment.name)
            if use.name not in given:
                kept = await self._get(task.environment.name, use.name)
                place = (kept.environment, kept.name, kept.version)
                values[use.name] = SecretValue(unseal(kept.sealed, place, keyring).decode())
                versions[use.name] = kept.version
        return DeliveredSecrets(values=values, versions=versions)

    async def rotate_key(self) -> None:
        """Make a new master key and wrap every data key with it. A crash in between loses nothing."""
        with self._keys.replacing() as new:
            keyring = self._keys.load()
            await self._kept.reseal_all(lambda sealed: rewrap(sealed, keyring, new))

    async def _get(self, environment: str, name: str) -> SealedSecret:
        kept = await self._kept.find(environment, name)
        if kept is None:
            raise NotFoundError(
                f"environment {environment} names the secret {name}, which has no value",
                hint=f"give it one: cloister secret set {environment} {name}",
            )
        return kept


def _open_task_values(task: Task, keyring: Keyring) -> dict[str, str]:
    if task.sealed_secrets is None:
        return {}
    values: dict[str, str] = json.loads(unseal(task.sealed_secrets, _TASK_PLACE, keyring))
    return values


def _version_of(name: str, value: str, keyring: Keyring) -> str:
    # The same value has the same version, so that a later task with it finds its snapshot; without the key
    # nobody can try values against it.
    key = keyring.current.derive("versions of values that come with tasks")
    return hmac.new(key, json.dumps([name, value]).encode(), sha256).hexdigest()


def _check_deliverable(use: SecretUse, environment: str) -> None:
    if use.mode is not SecretMode.SETUP:
        raise UsageError(
            f"environment {environment} asks for {use.name} as a {use.mode} secret, which this version cannot deliver",
            hint='use mode = "setup", or leave the secret out',
        )


_: type[Vault] = SealedVault
