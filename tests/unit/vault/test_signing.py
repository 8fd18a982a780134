"""The file of the key that signs records."""

import os
import stat
import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from cloister.envelope import bytes_to_sign, key_id_of, make_envelope, open_envelope
from cloister.errors import VaultError
from cloister.vault.signing import SigningKeyFile


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_key_that_others_may_use_signs_nothing(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "record.key"
    SigningKeyFile(path).public_key()
    path.chmod(mode)
    with pytest.raises(VaultError, match=r"others than its owner.*record\.key") as refusal:
        SigningKeyFile(path).sign(b"message")
    assert refusal.value.hint == f"chmod 600 {path}"


def test_what_is_no_such_key_signs_nothing_and_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "record.key"
    other = generate_private_key(SECP256R1()).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for data in (b"", b"nonsense", other):
        path.touch(mode=0o600)
        path.write_bytes(data)
        with pytest.raises(VaultError, match=r"record\.key is"):
            SigningKeyFile(path).sign(b"message")
        assert path.read_bytes() == data


def test_the_first_use_makes_a_private_key_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "record.key"
    before = os.umask(0)
    try:
        first = SigningKeyFile(path).public_key()
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert SigningKeyFile(path).public_key() == first


def test_others_read_the_key_and_find_the_signature_right(tmp_path: Path) -> None:
    """OpenSSL knows nothing of us."""
    keys, message = SigningKeyFile(tmp_path / "record.key"), bytes_to_sign(b"a statement")
    signature = keys.sign(message)
    (tmp_path / "record.pub").write_text(keys.public_key())
    (tmp_path / "signature").write_bytes(signature.value)
    for content, status in ((message, 0), (message + b"!", 1)):
        (tmp_path / "message").write_bytes(content)
        command = "openssl pkeyutl -verify -pubin -inkey record.pub -rawin -in message -sigfile signature"
        assert subprocess.run(command.split(), cwd=tmp_path, check=False, capture_output=True).returncode == status
    der = subprocess.run("openssl pkey -pubin -in record.pub -outform DER | sha256sum", shell=True, cwd=tmp_path,
                         check=True, capture_output=True, text=True).stdout  # fmt: skip
    assert der.split()[0] == signature.key_id == key_id_of(keys.public_key())
    assert open_envelope(make_envelope(b"a statement", signature), keys.public_key()) == b"a statement"
