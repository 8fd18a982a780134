"""A vault that keeps values in memory, unsealed."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloister.errors import NotFoundError
from cloister.model.broker import rule_to_text
from cloister.model.environment import Environment
from cloister.model.record import Signature
from cloister.model.secret import BrokeredSecret, BrokerRule, DeliveredSecrets, KeptSecret, SecretUse, SecretValue
from cloister.model.task import Task
from cloister.protocols import Redactor, Vault
from cloister.secret_rules import check_rule, rule_of_given, rule_of_kept
from cloister.vault.rules import check_name, check_value

OnCall = Callable[[str, str], Awaitable[None]]
"""Told of each call before it takes effect, as (environment, call). What it raises, the call raises."""


@dataclass(frozen=True, slots=True)
class _Kept:
    value: str
    version: str
    rule: BrokerRule | None


class FakeVault:
    """Values by environment; a version counts up with each `set`."""

    def __init__(self, *, on_call: OnCall | None = None) -> None:
        self._on_call = on_call
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._sealed: dict[bytes, Mapping[str, str]] = {}
        self._sets = 0
        self._signing_key = Ed25519PrivateKey.generate()

    async def set(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """See `protocols.Vault`."""
        check_name(name)
        check_value(name, value)
        rule = None if rule is None else check_rule(name, value, rule)
        self._sets += 1
        self._kept[environment, name] = _Kept(value, str(self._sets), rule)

    async def list(self, environment: str) -> Sequence[KeptSecret]:
        """See `protocols.Vault`."""
        return [
            KeptSecret(name=name, rule=kept.rule)
            for (owner, name), kept in sorted(self._kept.items())
            if owner == environment
        ]

    async def find(self, environment: str, name: str) -> SecretValue | None:
        """See `protocols.Vault`."""
        kept = self._kept.get((environment, name))
        return None if kept is None else SecretValue(kept.value)

    async def remove(self, environment: str, name: str) -> None:
        """See `protocols.Vault`."""
        if self._kept.pop((environment, name), None) is None:
            raise NotFoundError(f"environment {environment} has no secret {name}")

    async def seal_for_task(self, values: Mapping[str, str]) -> bytes:
        """Return a token: a fake's seal holds nothing that could be read."""
        for name, value in values.items():
            check_name(name)
            check_value(name, value)
        token = f"sealed {len(self._sealed)}".encode()
        self._sealed[token] = dict(values)
        return token

    def redactor(self, secrets: DeliveredSecrets) -> "FakeRedactor":
        """See `protocols.Vault`."""
        values = {**secrets.values, **{secret.name: secret.value for secret in secrets.brokered}}
        return FakeRedactor({name: value.reveal().encode() for name, value in values.items()})

    async def versions(self, environment: Environment) -> Mapping[str, str]:
        """See `protocols.Vault`."""
        kept = {use.name: self._get(environment.name, use.name) for use in environment.secrets}
        rules = {use.name: rule_of_kept(kept[use.name].rule, use, environment.name) for use in environment.secrets}
        return {name: rule_to_text(rule) if rule else kept[name].version for name, rule in rules.items()}

    async def open_for(self, task: Task) -> DeliveredSecrets:
        """See `protocols.Vault`."""
        if self._on_call is not None:
            await self._on_call(task.environment.name, "open secrets")
        given = self._given(task)
        uses = {use.name: use for use in task.environment.secrets}
        opened = {
            name: _Kept(value, f"given {name} {value}", rule_of_given(uses.get(name, SecretUse(name=name)), value))
            for name, value in given.items()
        }
        for name, use in uses.items():
            if name not in given:
                kept = self._get(task.environment.name, name)
                opened[name] = replace(kept, rule=rule_of_kept(kept.rule, use, task.environment.name))
        return DeliveredSecrets(
            values={name: SecretValue(it.value) for name, it in opened.items() if it.rule is None},
            versions={name: rule_to_text(it.rule) if it.rule else it.version for name, it in opened.items()},
            brokered=tuple(
                BrokeredSecret(name=name, value=SecretValue(it.value), rule=it.rule)
                for name, it in opened.items()
                if it.rule is not None
            ),
        )

    async def rotate_key(self) -> int:
        """See `protocols.Vault`; there is no key here, and no moment in which it must not be replaced."""
        return len(self._kept) + len(self._sealed)

    async def sign(self, message: bytes) -> Signature:
        """See `protocols.Vault`."""
        if self._on_call is not None:
            await self._on_call("", "sign")
        der = self._signing_key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return Signature(key_id=sha256(der).hexdigest(), value=self._signing_key.sign(message))

    async def public_key(self) -> str:
        """See `protocols.Vault`."""
        return self._signing_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()

    def _given(self, task: Task) -> Mapping[str, str]:
        if task.sealed_secrets is None:
            return {}
        assert task.sealed_secrets in self._sealed, "secrets of a task that this vault did not seal"
        return self._sealed[task.sealed_secrets]

    def _get(self, environment: str, name: str) -> "_Kept":
        if (environment, name) not in self._kept:
            raise NotFoundError(
                f"environment {environment} names the secret {name}, which has no value",
                hint=f"give it one: cloister secret set {environment} {name}",
            )
        return self._kept[environment, name]


class FakeRedactor:
    """Masks the values themselves, in no encoding, as `[secret NAME]`."""

    def __init__(self, values: Mapping[str, bytes]) -> None:
        self._masks = {value: f"[secret {name}]".encode() for name, value in values.items()}
        self._held = b""
        self._flushed = False

    def feed(self, data: bytes) -> bytes:
        """See `protocols.Redactor`."""
        assert not self._flushed, "fed after the flush"
        text = self._mask(self._held + data)
        cut = len(text) - self._beginning_at_end(text)
        text, self._held = text[:cut], text[cut:]
        return text

    def flush(self) -> bytes:
        """See `protocols.Redactor`."""
        assert not self._flushed, "flushed twice"
        self._flushed = True
        text, self._held = self._held, b""
        return text

    @property
    def held_bytes(self) -> int:
        """See `protocols.Redactor`."""
        return len(self._held)

    def _mask(self, text: bytes) -> bytes:
        for value in sorted(self._masks, key=len, reverse=True):
            text = text.replace(value, self._masks[value])
        return text

    def _beginning_at_end(self, text: bytes) -> int:
        """Length of the longest beginning of a value that `text` ends in."""
        longest = max(map(len, self._masks), default=1) - 1
        lengths = range(min(longest, len(text)), 0, -1)
        return next((n for n in lengths if any(v.startswith(text[-n:]) for v in self._masks if n < len(v))), 0)


def _conforms(vault: FakeVault, redactor: FakeRedactor) -> tuple[Vault, Redactor]:
    return vault, redactor
