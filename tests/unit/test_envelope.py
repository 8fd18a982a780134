import base64
import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from cloister.envelope import bytes_to_sign, key_id_of, make_envelope, open_envelope, payload_of
from cloister.errors import SignatureError, UsageError
from cloister.model.record import Signature

PAYLOAD = b'{"predicate": 1}'


def pem(key: Any) -> str:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


KEY = Ed25519PrivateKey.generate()
PUBLIC = pem(KEY)


def signed(payload: bytes = PAYLOAD, *, key: Ed25519PrivateKey = KEY) -> bytes:
    return make_envelope(payload, Signature(key_id=key_id_of(pem(key)), value=key.sign(bytes_to_sign(payload))))


def fields(data: bytes = b"") -> dict[str, Any]:
    read: dict[str, Any] = json.loads(data or signed())
    return read


def test_what_was_signed_is_opened_also_when_it_is_written_in_another_way() -> None:
    assert open_envelope(signed(), PUBLIC) == payload_of(signed()) == PAYLOAD
    assert open_envelope(json.dumps(fields(), indent=4, sort_keys=True).encode(), PUBLIC) == PAYLOAD


@pytest.mark.parametrize("place", range(0, 64, 7))
def test_a_signature_with_one_other_bit_is_found(place: int) -> None:
    changed = fields()
    signature = bytearray(base64.b64decode(changed["signatures"][0]["sig"]))
    signature[place] ^= 1
    changed["signatures"][0]["sig"] = base64.b64encode(signature).decode()
    with pytest.raises(SignatureError, match="does not fit"):
        open_envelope(json.dumps(changed).encode(), PUBLIC)


def test_every_other_bit_of_the_payload_is_found() -> None:
    for bit in range(8 * len(PAYLOAD)):
        payload = bytearray(PAYLOAD)
        payload[bit // 8] ^= 1 << bit % 8
        changed = fields() | {"payload": base64.b64encode(payload).decode()}
        with pytest.raises(SignatureError, match="does not fit"):
            open_envelope(json.dumps(changed).encode(), PUBLIC)


def test_another_key_is_found_also_under_our_keys_name() -> None:
    another = Ed25519PrivateKey.generate()
    with pytest.raises(SignatureError, match="another key"):
        open_envelope(signed(key=another), PUBLIC)
    with pytest.raises(SignatureError, match="another key"):
        open_envelope(signed(), pem(another))
    renamed = fields(signed(key=another))
    renamed["signatures"][0]["keyid"] = key_id_of(PUBLIC)
    with pytest.raises(SignatureError, match="does not fit"):
        open_envelope(json.dumps(renamed).encode(), PUBLIC)


def test_another_type_of_payload_is_found_also_when_our_key_signed_it() -> None:
    kind = "application/vnd.dsse+json"
    value = KEY.sign(b"DSSEv1 %d %s %d %s" % (len(kind), kind.encode(), len(PAYLOAD), PAYLOAD))
    other = fields(make_envelope(PAYLOAD, Signature(key_id=key_id_of(PUBLIC), value=value))) | {"payloadType": kind}
    with pytest.raises(SignatureError, match="no record"):
        open_envelope(json.dumps(other).encode(), PUBLIC)


def test_bits_that_the_base64_does_not_use_are_found() -> None:
    payload = fields()["payload"]
    assert payload.endswith("fQ=="), "four bits of the last character mean nothing"
    other = payload.removesuffix("Q==") + "R=="
    assert base64.b64decode(other, validate=True) == PAYLOAD, "a lax reader does not notice"
    with pytest.raises(SignatureError, match="was changed"):
        open_envelope(json.dumps(fields() | {"payload": other}).encode(), PUBLIC)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b"[" * 100_000,
        json.dumps(fields() | {"payload": 1}).encode(),
        json.dumps(fields() | {"payload": "not base64!"}).encode(),
        json.dumps(fields() | {"signatures": []}).encode(),
        json.dumps(fields() | {"signatures": fields()["signatures"] * 2}).encode(),
        json.dumps(fields() | {"signatures": {"keyid": "a", "sig": "b"}}).encode(),
        json.dumps(fields() | {"signatures": [{"sig": "AAAA"}]}).encode(),
        json.dumps(fields() | {"more": "that nobody signed"}).encode(),
        json.dumps(fields() | {"signatures": [fields()["signatures"][0] | {"cert": "x"}]}).encode(),
        signed().replace(b'"payload":', b'"payload": "e30=", "payload":'),
    ],
    ids=range(16),
)
def test_what_is_no_envelope_of_ours_is_refused(data: bytes) -> None:
    with pytest.raises(UsageError, match="no signed record"):
        open_envelope(data, PUBLIC)
    with pytest.raises(UsageError, match="no signed record"):
        payload_of(data)


@pytest.mark.parametrize(
    "key", ["", "ä", PUBLIC.replace("MCow", "MCox"), pem(generate_private_key(SECP256R1()))], ids=range(4)
)
def test_what_is_no_public_key_of_this_kind_is_refused(key: str) -> None:
    with pytest.raises(UsageError, match="public key"):
        open_envelope(signed(), key)
