"""Messages to push services, opened as RFC 8291 says, by a reader that the example of that RFC vouches for."""

import hashlib
import hmac
import json
import struct
from base64 import urlsafe_b64decode, urlsafe_b64encode
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloister.automation.push import PushKey, Subscription, check_subscription, encrypt
from cloister.errors import UsageError
from cloister.model.notification import KEY_NAME, PLACE
from cloister.model.secret import SecretValue

pytestmark = pytest.mark.anyio

ENDPOINT = "https://push.example:8443/send/1"


def to_bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))


def to_text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def open_message(body: bytes, key: ec.EllipticCurvePrivateKey, auth: bytes) -> bytes:
    """Do what a browser does: RFC 8291, 3.4, with the content coding of RFC 8188."""
    salt, length = body[:16], body[20]
    sender, sealed = body[21 : 21 + length], body[21 + length :]
    (size,) = struct.unpack("!L", body[16:20])
    assert len(sealed) <= size, "one record"
    shared = key.exchange(ec.ECDH(), ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), sender))
    secret = _derive(auth, shared, b"WebPush: info\x00" + point_of(key) + sender, 32)
    content_key = _derive(salt, secret, b"Content-Encoding: aes128gcm\x00", 16)
    nonce = _derive(salt, secret, b"Content-Encoding: nonce\x00", 12)
    plain = AESGCM(content_key).decrypt(nonce, sealed, None).rstrip(b"\x00")
    assert plain.endswith(b"\x02"), "the last record"
    return plain[:-1]


def _derive(salt: bytes, secret: bytes, info: bytes, length: int) -> bytes:
    """HKDF of one block (RFC 5869)."""
    extracted = hmac.new(salt, secret, hashlib.sha256).digest()
    return hmac.new(extracted, info + b"\x01", hashlib.sha256).digest()[:length]


def test_the_reader_opens_the_example_of_the_rfc() -> None:
    """RFC 8291, appendix A."""
    private = int.from_bytes(to_bytes("q1dXpw3UpT5VOmu_cf_v6ih07Aems3njxI-JWgLcM94"))
    body = to_bytes(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )
    opened = open_message(body, ec.derive_private_key(private, ec.SECP256R1()), to_bytes("BTBZMqHH6r4Tts7J_aSIgg"))
    assert opened == b"When I grow up, I want to be a watermelon"


def a_device() -> tuple[Subscription, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    return Subscription(endpoint=ENDPOINT, p256dh=to_text(point_of(key)), auth=to_text(b"0123456789abcdef")), key


def test_what_is_encrypted_is_read_by_its_browser_alone() -> None:
    subscription, key = a_device()
    body = encrypt(subscription, {"title": "Größe ✓", "body": "", "path": "/tasks/1"})
    assert json.loads(open_message(body, key, b"0123456789abcdef")) == {
        "title": "Größe ✓",
        "body": "",
        "path": "/tasks/1",
    }
    assert b"tasks" not in body
    assert body != encrypt(subscription, {"title": "Größe ✓", "body": "", "path": "/tasks/1"}), "a new key for each"
    for other, auth in ((a_device()[1], b"0123456789abcdef"), (key, b"0123456789abcdeX")):
        with pytest.raises(InvalidTag):
            open_message(body, other, auth)


def test_what_is_too_long_is_not_sent() -> None:
    with pytest.raises(UsageError, match="too much"):
        encrypt(a_device()[0], {"title": "x" * 5000})


@pytest.mark.parametrize(
    "changes",
    [
        {"endpoint": "http://push.example/1"},
        {"endpoint": "ftp://push.example/1"},
        {"p256dh": "AAAA"},
        {"p256dh": to_text(b"\x04" + b"\x01" * 64)},
        {"p256dh": "ä"},
        {"auth": ""},
        {"auth": to_text(b"x" * 17)},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_subscription_that_nothing_can_be_sent_to_is_refused(changes: dict[str, str]) -> None:
    good, _ = a_device()
    check_subscription(good)
    fields = {"endpoint": good.endpoint, "p256dh": good.p256dh, "auth": good.auth, **changes}
    with pytest.raises(UsageError):
        check_subscription(Subscription(**fields))


class OneSecret:
    """Of the vault, what a key needs."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], str] = {}

    async def find(self, place: str, name: str) -> SecretValue | None:
        return SecretValue(self.kept[place, name]) if (place, name) in self.kept else None

    async def set(self, place: str, name: str, value: str, rule: None = None) -> None:
        self.kept[place, name] = value


async def test_the_installation_says_who_it_is_by_a_key_that_it_keeps() -> None:
    vault = OneSecret()
    key = PushKey(vault)  # type: ignore[arg-type]
    public = await key.public()
    assert await PushKey(vault).public() == public, "kept"  # type: ignore[arg-type]
    assert list(vault.kept) == [(PLACE, KEY_NAME)]
    now = datetime.now(UTC)
    scheme, _, parameters = (await key.authorize(ENDPOINT, now, "https://cloister.example")).partition(" ")
    said = dict(part.strip().split("=", 1) for part in parameters.split(","))
    assert (scheme, said["k"]) == ("vapid", public)
    check = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), to_bytes(public))
    claims = jwt.decode(said["t"], check, algorithms=["ES256"], audience="https://push.example:8443")
    assert claims["sub"] == "https://cloister.example"
    assert 0 < claims["exp"] - now.timestamp() <= 24 * 3600
    with pytest.raises(jwt.InvalidSignatureError):
        other = ec.generate_private_key(ec.SECP256R1()).public_key()
        jwt.decode(said["t"], other, algorithms=["ES256"], audience="https://push.example:8443")
