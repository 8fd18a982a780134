"""The vault: seals what users give it, and opens it for a task."""

import hmac
import json
import math
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Protocol

from cloister.errors import ConflictError, NotFoundError, VaultError
from cloister.masking import MaskingRedactor
from cloister.model.broker import rule_to_text, text_to_rule
from cloister.model.environment import Environment
from cloister.model.record import Signature
from cloister.model.secret import (
    BrokeredSecret,
    BrokerRule,
    DeliveredSecrets,
    KeptSecret,
    SealedSecret,
    SecretUse,
    SecretValue,
)
from cloister.model.task import Task
from cloister.protocols import Redactor, Vault
from cloister.secret_rules import check_rule, rule_of_given, rule_of_kept
from cloister.vault.keys import KeyFile, Keyring
from cloister.vault.rules import check_name, check_value
from cloister.vault.sealing import rewrap, seal, unseal
from cloister.vault.signing import SigningKeyFile

SETTLING_SECONDS = 60.0
"""After the key was replaced, until it may be again: longer than from sealing a value to keeping it."""

_TASK_PLACE = ("values of a task",)


class SealedSecrets(Protocol):
    """Where sealed secrets are kept. Every method is one transaction."""

    async def put(self, secret: SealedSecret) -> None:
        """Keep, in place of what was kept under that name."""
        ...

    async def find(self, environment: str, name: str) -> SealedSecret | None:
        """The secret of that name."""
        ...

    async def list(self, environment: str) -> Sequence[SealedSecret]:
        """What is kept for an environment, by name."""
        ...

    async def remove(self, environment: str, name: str) -> bool:
        """Forget. False when nothing was kept."""
        ...

    async def reseal_all(self, reseal: Callable[[bytes], bytes]) -> int:
        """Put every sealed value, those of tasks included, through `reseal`, and return how many there were.

        All, or on an error none.
        """
        ...

    async def any_needed(self) -> bool:
        """Whether a sealed value is kept that somebody may still open: for an environment, or of an unfinished task."""
        ...


class SealedVault:
    """`Vault` whose values are kept sealed, under a master key that is kept elsewhere."""

    def __init__(self, kept: SealedSecrets, keys: KeyFile, signer: SigningKeyFile) -> None:
        self._kept = kept
        self._keys = keys
        self._signer = signer

    async def set(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """Seal and keep a value, with a new version."""
        check_name(name)
        check_value(name, value)
        rule = None if rule is None else check_rule(name, value, rule)
        # Random rather than counted: a name that is removed and set again must not have a former version.
        version = secrets.token_hex(16)
        kept = SealedSecret(
            environment=environment,
            name=name,
            version=version,
            rule=None if rule is None else rule_to_text(rule),
            sealed=b"",
        )
        await self._kept.put(replace(kept, sealed=seal(value.encode(), _place(kept), await self._keyring())))

    async def list(self, environment: str) -> Sequence[KeptSecret]:
        """What is kept, by name."""
        return [KeptSecret(name=kept.name, rule=_rule_of(kept)) for kept in await self._kept.list(environment)]

    async def find(self, environment: str, name: str) -> SecretValue | None:
        """Open one value."""
        kept = await self._kept.find(environment, name)
        if kept is None:
            return None
        return SecretValue(unseal(kept.sealed, _place(kept), await self._keyring()).decode())

    async def remove(self, environment: str, name: str) -> None:
        """Forget a value."""
        if not await self._kept.remove(environment, name):
            raise NotFoundError(f"environment {environment} has no secret {name}", hint="`cloister secret list ENV`")

    async def seal_for_task(self, values: Mapping[str, str]) -> bytes:
        """Seal all values of one request together."""
        for name, value in values.items():
            check_name(name)
            check_value(name, value)
        return seal(json.dumps(dict(values)).encode(), _TASK_PLACE, await self._keyring())

    def redactor(self, secrets: DeliveredSecrets) -> Redactor:
        """Return a new masker of these values."""
        return MaskingRedactor({**secrets.values, **{secret.name: secret.value for secret in secrets.brokered}})

    async def versions(self, environment: Environment) -> Mapping[str, str]:
        """Return the version of each secret that the environment names, opening none."""
        kept = {use.name: await self._get(environment.name, use.name) for use in environment.secrets}
        rules = {use.name: rule_of_kept(_rule_of(kept[use.name]), use, environment.name) for use in environment.secrets}
        return {name: _version_shown(kept[name].version, rule) for name, rule in rules.items()}

    async def open_for(self, task: Task) -> DeliveredSecrets:
        """Open what the task brought along, and, for the names it did not bring, what is kept.

        A brokered secret's value goes to the proxy alone, with the vault's rule as the environment narrows it. A value
        that the task brought is brokered where the environment states the whole rule.
        """
        uses = {use.name: use for use in task.environment.secrets}
        rows = {name: await self._kept.find(task.environment.name, name) for name in uses}
        # Only now, because another process may have replaced the key before a row was read, and not after that twice.
        keyring = await self._keyring()
        opened = _Opened()
        given = _open_task_values(task, keyring)
        for name, value in given.items():
            rule = rule_of_given(uses.get(name, SecretUse(name=name)), value)
            opened.add(name, value, _version_of(name, value, keyring), rule)
        for name, use in uses.items():
            if name not in given:
                kept = _found(rows[name], task.environment.name, name)
                value = unseal(kept.sealed, _place(kept), keyring).decode()
                opened.add(name, value, kept.version, rule_of_kept(_rule_of(kept), use, task.environment.name))
        return DeliveredSecrets(values=opened.values, versions=opened.versions, brokered=tuple(opened.brokered))

    async def rotate_key(self) -> int:
        """Make a new master key and wrap every data key with it. A crash in between loses nothing."""
        await self._keyring()
        ago = self._keys.replaced_seconds_ago(time.time())
        if ago < SETTLING_SECONDS:
            raise ConflictError(
                "the master key was replaced a moment ago, and values that were being sealed then need the former one",
                hint=f"wait {math.ceil(SETTLING_SECONDS - ago)} seconds",
            )
        with self._keys.replacing() as new:
            keyring = self._keys.load()
            return await self._kept.reseal_all(lambda sealed: rewrap(sealed, keyring, new))

    async def sign(self, message: bytes) -> Signature:
        """Sign with the key of records."""
        return self._signer.sign(message)

    async def public_key(self) -> str:
        """What verifies those signatures."""
        return self._signer.public_key()

    async def _keyring(self) -> Keyring:
        """Read the keys; the first one is made only where nothing has been sealed yet."""
        if not self._keys.exists() and await self._kept.any_needed():
            raise VaultError(
                f"the master key {self._keys.path} is missing, and without it no secret that is kept can be opened",
                hint="put it back from a backup; if it is lost, so are the values: cancel waiting tasks, and "
                "`cloister secret rm` every secret, before new ones are set",
            )
        return self._keys.load()

    async def _get(self, environment: str, name: str) -> SealedSecret:
        return _found(await self._kept.find(environment, name), environment, name)


def _found(kept: SealedSecret | None, environment: str, name: str) -> SealedSecret:
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


def _version_shown(version: str, rule: BrokerRule | None) -> str:
    """Of a brokered secret setup sees a placeholder, so a new value makes no new disk."""
    return version if rule is None else rule_to_text(rule)


class _Opened:
    """What `open_for` has collected by now."""

    def __init__(self) -> None:
        self.values: dict[str, SecretValue] = {}
        self.versions: dict[str, str] = {}
        self.brokered: list[BrokeredSecret] = []

    def add(self, name: str, value: str, version: str, rule: BrokerRule | None) -> None:
        self.versions[name] = _version_shown(version, rule)
        if rule is None:
            self.values[name] = SecretValue(value)
        else:
            self.brokered.append(BrokeredSecret(name=name, value=SecretValue(value), rule=rule))


def _rule_of(kept: SealedSecret) -> BrokerRule | None:
    return None if kept.rule is None else text_to_rule(kept.rule)


def _place(kept: SealedSecret) -> tuple[str, ...]:
    """What a sealed value is bound to. A rule that is changed, taken away or put to another secret opens nothing."""
    place = (kept.environment, kept.name, kept.version)
    return place if kept.rule is None else (*place, kept.rule)


_: type[Vault] = SealedVault
