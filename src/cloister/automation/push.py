"""Messages to push services: encrypted for one browser (RFC 8291), from one installation (VAPID, RFC 8292)."""

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from urllib.parse import urlsplit

import anyio
import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from cloister.errors import UsageError
from cloister.model.notification import KEY_NAME, PLACE
from cloister.protocols import Vault

KEPT_SECONDS = 24 * 3600
"""How long a push service keeps a message for a device that is off (TTL, RFC 8030, 5.2)."""
_SIGNED_FOR = timedelta(hours=12)
"""RFC 8292, 2: at most 24 hours."""
_POINT_BYTES, _SHARED_BYTES = 65, 16
LONGEST_PAYLOAD_BYTES = 3000
"""Services take 4096 bytes, encrypted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """Where a browser's push service takes messages, and what they are encrypted for."""

    endpoint: str
    p256dh: str
    """The browser's public key: a point of P-256 in base64url."""
    auth: str
    """What only the browser and we know, in base64url."""


class PushKey:
    """The installation's own key, made when it is first used, and kept sealed."""

    def __init__(self, vault: Vault) -> None:
        self._vault = vault
        self._making = anyio.Lock()

    async def public(self) -> str:
        """Return what browsers subscribe with (`applicationServerKey`), in base64url."""
        return _to_text(_point_of(await self._load()))

    async def authorize(self, endpoint: str, now: datetime, contact: str) -> str:
        """Return the header that says who sends to that address."""
        key, parts = await self._load(), urlsplit(endpoint)
        claims = {
            "aud": f"{parts.scheme}://{parts.netloc}",
            "exp": int((now + _SIGNED_FOR).timestamp()),
            "sub": contact,
        }
        return f"vapid t={jwt.encode(claims, key, algorithm='ES256')}, k={_to_text(_point_of(key))}"

    async def _load(self) -> ec.EllipticCurvePrivateKey:
        async with self._making:
            kept = await self._vault.find(PLACE, KEY_NAME)
            if kept is None:
                made = ec.generate_private_key(ec.SECP256R1())
                text = made.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
                await self._vault.set(PLACE, KEY_NAME, text)
                return made
        key = load_pem_private_key(kept.reveal().encode(), None)
        assert isinstance(key, ec.EllipticCurvePrivateKey), "nobody else writes there"
        return key


def check_subscription(subscription: Subscription) -> None:
    """Raise UsageError for what no message can be encrypted for. Where it may be sent is another question."""
    if urlsplit(subscription.endpoint).scheme != "https":
        raise UsageError("the address of a push service is an https URL")
    try:
        point, shared = _to_bytes(subscription.p256dh), _to_bytes(subscription.auth)
        if len(point) != _POINT_BYTES or len(shared) != _SHARED_BYTES:
            raise ValueError("they are of another length")  # noqa: TRY301
        ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError(f"the keys of this subscription cannot be used: {error}") from error


def encrypt(subscription: Subscription, payload: Mapping[str, str]) -> bytes:
    """Return the body of a message that this browser alone can read."""
    from webpush import WebPush, WebPushSubscription  # no start waits for it
    from webpush.types import WebPushKeys

    data = json.dumps(payload, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
    if len(data) > LONGEST_PAYLOAD_BYTES:
        raise UsageError("this is too much for a notification")
    key = ec.generate_private_key(ec.SECP256R1())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    # Its own signature names a mail address alone, and a service without its port: the header is ours, see `PushKey`.
    library = WebPush(private_key=private, public_key=public, subscriber="unused@localhost")
    keys = WebPushKeys(auth=subscription.auth, p256dh=subscription.p256dh)
    target = WebPushSubscription.model_validate({"endpoint": subscription.endpoint, "keys": keys})
    encrypted: bytes = library.get(data, target).encrypted
    return encrypted


def _point_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def _to_text(data: bytes) -> str:
    return urlsafe_b64encode(data).decode().rstrip("=")


def _to_bytes(text: str) -> bytes:
    return urlsafe_b64decode(text + "=" * (-len(text) % 4))
