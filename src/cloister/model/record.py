"""Records: the signed accounts of attempts, as they are kept."""

from collections.abc import Mapping
from dataclasses import dataclass

from cloister.model.task import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a key says of some bytes (ed25519, RFC 8032)."""

    key_id: str
    """SHA-256 of the public key in its DER form (SubjectPublicKeyInfo), in hexadecimal digits."""
    value: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SignedRecord:
    """An attempt's record, for each way in which it may still end when it is written down."""

    envelopes: Mapping[Verdict, bytes]
    """By verdict, because a cancellation may be asked for in the last moment. What it ends with chooses one."""
