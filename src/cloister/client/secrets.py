"""What is asked of the vault: secrets, keys of models, and its own keys."""

from collections.abc import Sequence

from pydantic import TypeAdapter

from cloister.client.connection import Connection, path_part, read_as
from cloister.model.model_provider import ListedProvider
from cloister.model.secret import BrokerRule, KeptSecret


class SecretCalls(Connection):
    """What the vault keeps."""

    __slots__ = ()

    async def set_secret(self, environment: str, name: str, value: str, rule: BrokerRule | None = None) -> None:
        """Keep a secret's value; with a rule, for the proxy alone."""
        told = None if rule is None else TypeAdapter(BrokerRule).dump_python(rule)
        fields = {"environment": environment, "name": name, "value": value, "rule": told}
        await self._call("PUT", "/secrets", fields)

    async def secrets(self, environment: str) -> Sequence[KeptSecret]:
        """What an environment's vault keeps, by name, without the values."""
        return read_as(list[KeptSecret], await self._call("GET", "/secrets", query={"environment": environment}))

    async def remove_secret(self, environment: str, name: str) -> None:
        """Forget a secret."""
        await self._call("DELETE", "/secrets", query={"environment": environment, "name": name})

    async def models(self) -> Sequence[ListedProvider]:
        """The providers of models, and where their keys are."""
        return read_as(list[ListedProvider], await self._call("GET", "/models"))

    async def set_model_key(self, provider: str, value: str) -> None:
        """Keep a provider's key in the vault."""
        await self._call("PUT", f"/models/{path_part(provider)}/key", {"key": value})

    async def remove_model_key(self, provider: str) -> None:
        """Forget a provider's key."""
        await self._call("DELETE", f"/models/{path_part(provider)}/key")

    async def record_key(self) -> str:
        """The public key, as PEM, that verifies the installation's records."""
        pem: str = (await self._call("GET", "/secrets/record-key"))["pem"]
        return pem

    async def rotate_key(self) -> int:
        """Replace the master key; returns how many sealed values were wrapped anew."""
        count: int = (await self._call("POST", "/secrets/rotate-key"))["values"]
        return count
