"""Whether a delivery is the forge's: it signs each body with a secret that it shares with Cloister.

See `Validating webhook deliveries` in GitHub's documentation.
"""

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cloister.errors import UsageError
from cloister.github_settings import check_webhook_secret
from cloister.model.secret import SecretValue
from cloister.protocols import Vault

SECRET_PLACE = "\x01github"
"""Where the vault keeps what follows: no environment can be called so."""
SECRET, FORMER_SECRET = "WEBHOOK_SECRET", "WEBHOOK_SECRET_FORMER"
_SIGNATURE = re.compile(r"sha256=([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookSecrets:
    """The secrets that a body may be signed with: two, while one is being replaced."""

    vault: Vault
    given: Sequence[SecretValue] = ()
    """Of the settings; where there is one, the vault is not asked."""

    async def all(self) -> Sequence[SecretValue]:
        """Return those that are good now; none when there is none."""
        if self.given:
            return self.given
        kept = [await self.vault.find(SECRET_PLACE, name) for name in (SECRET, FORMER_SECRET)]
        return [secret for secret in kept if secret is not None]

    async def set(self, value: str, *, keep_former: bool) -> None:
        """Replace the secret of the vault. With `keep_former`, what was signed with the one so far is good too."""
        if self.given:
            raise UsageError("the settings say what the webhook's secret is, so the vault's would never be used")
        try:
            check_webhook_secret(value)
        except ValueError as error:
            raise UsageError(f"the secret of a webhook {error}", hint="make one: openssl rand -hex 32") from error
        former = await self.vault.find(SECRET_PLACE, SECRET)
        if former is not None and former.reveal() == value:
            keep_former = True  # nothing is replaced: whoever tries again does not lose the former one
        elif keep_former and former is not None:
            await self.vault.set(SECRET_PLACE, FORMER_SECRET, former.reveal())
        await self.vault.set(SECRET_PLACE, SECRET, value)
        if not keep_former and await self.vault.find(SECRET_PLACE, FORMER_SECRET) is not None:
            await self.vault.remove(SECRET_PLACE, FORMER_SECRET)


def is_signed(body: bytes, signature: str, secrets: Sequence[SecretValue]) -> bool:
    """Whether `signature`, as X-Hub-Signature-256 has it, is that of the body by one of these secrets.

    It takes as long for a wrong one as for a right one.
    """
    match = _SIGNATURE.fullmatch(signature)
    if match is None:
        return False
    said = bytes.fromhex(match[1])
    found = [hmac.compare_digest(hmac.digest(secret.reveal().encode(), body, "sha256"), said) for secret in secrets]
    return any(found)
