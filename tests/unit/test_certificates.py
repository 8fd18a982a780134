"""The operator's authorities are read from files, and nothing else that lies in them."""

from pathlib import Path

import pytest

from cloister.certificates import read_certificates
from cloister.egress.authority import load_authority
from cloister.errors import UsageError


def test_what_holds_no_certificate_is_named(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pem"
    for file, message in ((nothing, "cannot read .*nothing.pem: No such file"), (tmp_path, "cannot read .*: Is a dir")):
        with pytest.raises(UsageError, match=message):
            read_certificates([file])
    good = load_authority(tmp_path)
    broken = good.certificate.replace("MII", "???", 1)
    for content in ("", "hello", good.key, broken, good.certificate + broken):
        nothing.write_text(content)
        with pytest.raises(UsageError, match=r"nothing\.pem holds no certificate in PEM") as caught:
            read_certificates([nothing])
        assert "openssl x509" in str(caught.value.hint)


def test_certificates_alone_are_taken_and_once_each(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    one, other = load_authority(tmp_path), load_authority(tmp_path / "other")
    bundle = tmp_path / "bundle.pem"
    bundle.write_text(f"# ours\n{one.key}{one.certificate}\n{other.certificate}{one.certificate}")
    assert read_certificates([bundle, bundle]) == one.certificate + other.certificate
    assert read_certificates([]) == ""
