"""Envelopes of signed statements: DSSE (https://github.com/secure-systems-lab/dsse), with one ed25519 signature.

Signing needs a line of the protocol and loads nothing for it. Opening is done by a library of the field, so that two
authors agree on every envelope.
"""

import base64
import json
from hashlib import sha256
from typing import Annotated, Any

import msgspec

from cloister.errors import SignatureError, UsageError
from cloister.model.record import Signature

PAYLOAD_TYPE = "application/vnd.in-toto+json"


def bytes_to_sign(payload: bytes) -> bytes:
    """Return what a signature is made over: type and payload, each with its length (DSSE, protocol, PAE)."""
    return b"DSSEv1 %d %s %d %s" % (len(PAYLOAD_TYPE), PAYLOAD_TYPE.encode(), len(payload), payload)


def make_envelope(payload: bytes, signature: Signature) -> bytes:
    """Return the envelope as JSON."""
    fields = {
        "payloadType": PAYLOAD_TYPE,
        "payload": base64.b64encode(payload).decode(),
        "signatures": [{"keyid": signature.key_id, "sig": base64.b64encode(signature.value).decode()}],
    }
    return json.dumps(fields).encode() + b"\n"


def payload_of(data: bytes) -> bytes:
    """Return what an envelope holds, whoever signed it. UsageError when it is no envelope."""
    return base64.b64decode(_read(data)["payload"], validate=True)


def open_envelope(data: bytes, public_key: str) -> bytes:
    """Return what was signed with that key (PEM).

    SignatureError when it was not, or was changed since; UsageError when this is no envelope, or no such key.
    """
    from securesystemslib.dsse import Envelope
    from securesystemslib.exceptions import VerificationError
    from securesystemslib.signer import SSlibKey

    key = _load_key(public_key)
    fields = _read(data)
    envelope = Envelope.from_dict(json.loads(json.dumps(fields)))
    if envelope.to_dict() != fields:
        raise SignatureError("the envelope was changed: it is not written as whoever signed it writes one")
    if envelope.payload_type != PAYLOAD_TYPE:
        raise SignatureError(f"this is no record: the envelope holds {envelope.payload_type!r}, not {PAYLOAD_TYPE!r}")
    wanted, (signer,) = key_id_of(public_key), envelope.signatures
    if signer != wanted:
        raise SignatureError(
            f"it was signed with another key: the envelope names {signer[:16]}, and this key is {wanted[:16]}",
            hint="give the public key of the installation that made it: --key FILE",
        )
    try:
        envelope.verify([SSlibKey.from_crypto(key, keyid=wanted)], threshold=1)
    except VerificationError as error:
        raise SignatureError("the signature does not fit: the record or its signature was changed") from error
    return envelope.payload


def key_id_of(public_key: str) -> str:
    """Return the id of a public key (PEM), as `Signature.key_id`. UsageError when it is none."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return sha256(_load_key(public_key).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def _load_key(public_key: str) -> Any:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        key = load_pem_public_key(public_key.encode())
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UsageError("this is no public key: it must be PEM, as `cloister record key` prints it") from error
    if not isinstance(key, Ed25519PublicKey):
        raise UsageError("this is a public key of another kind than ed25519")
    return key


class _Signature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    keyid: str
    sig: str


class _Envelope(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What ours has, and nothing else: what nobody signed misleads."""

    payload_type: str = msgspec.field(name="payloadType")
    payload: str
    signatures: Annotated[list[_Signature], msgspec.Meta(min_length=1, max_length=1)]


def _read(data: bytes) -> dict[str, Any]:
    """Return the fields of an envelope."""
    try:
        fields: dict[str, Any] = json.loads(data, object_pairs_hook=_without_repetition)
        read = msgspec.convert(fields, _Envelope)
        for text in (read.payload, read.signatures[0].sig):
            base64.b64decode(text, validate=True)
    except (ValueError, RecursionError) as error:
        raise UsageError("this is no signed record: it must be one envelope (DSSE) as JSON") from error
    return fields


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Refuse what two readers could read differently."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise ValueError("a key is there twice")
    return fields
