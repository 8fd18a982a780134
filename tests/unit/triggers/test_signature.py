"""A delivery that is not signed by the forge is refused, whatever else is right about it."""

import pytest

from cloister.errors import UsageError
from cloister.model.secret import SecretValue
from cloister.triggers.signature import WebhookSecrets, is_signed
from cloister.vault.fake import FakeVault

from .deliveries import SECRET, signature_of

pytestmark = pytest.mark.anyio
BODY = b'{"action": "created"}'
KNOWN = (SecretValue(SECRET),)


def test_one_bit_more_or_less_is_another_body() -> None:
    signature = signature_of(BODY)
    for bit in range(len(BODY) * 8):
        changed = bytearray(BODY)
        changed[bit // 8] ^= 1 << bit % 8
        assert not is_signed(bytes(changed), signature, KNOWN)
    assert is_signed(BODY, signature, KNOWN), "the twin"


@pytest.mark.parametrize(
    "signature",
    [
        "",
        "sha256=",
        signature_of(BODY)[:-1],
        signature_of(BODY) + "0",
        signature_of(BODY).upper(),
        signature_of(BODY).removeprefix("sha256="),
        signature_of(BODY).replace("sha256", "sha1"),
        signature_of(BODY, "another-secret-of-tests"),
        signature_of(BODY) + "\n",
        "sha256=" + "é" * 64,
    ],
)
def test_what_is_no_signature_of_it_is_refused(signature: str) -> None:
    assert not is_signed(BODY, signature, KNOWN)


def test_without_a_secret_nothing_is_signed() -> None:
    assert not is_signed(BODY, signature_of(BODY, ""), ())


async def test_while_a_secret_is_replaced_both_are_good() -> None:
    secrets = WebhookSecrets(vault=FakeVault())
    assert list(await secrets.all()) == []
    with pytest.raises(UsageError, match="at least 16"):
        await secrets.set("short", keep_former=True)
    for number in (1, 2, 2, 3):  # whoever gives the second one twice loses nothing
        await secrets.set(f"{SECRET}-{number}", keep_former=True)
        known = [secret.reveal() for secret in await secrets.all()]
        assert known[0] == f"{SECRET}-{number}"
        assert known[1:] == ([f"{SECRET}-{number - 1}"] if number > 1 else [])
    await secrets.set(f"{SECRET}-4", keep_former=False)
    assert [secret.reveal() for secret in await secrets.all()] == [f"{SECRET}-4"]


async def test_the_settings_go_before_the_vault() -> None:
    secrets = WebhookSecrets(vault=FakeVault(), given=KNOWN)
    with pytest.raises(UsageError, match="never be used"):
        await secrets.set(f"{SECRET}-2", keep_former=True)
    assert list(await secrets.all()) == list(KNOWN)
