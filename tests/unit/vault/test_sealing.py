"""What is sealed opens only where and how it was sealed."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloister.errors import VaultError
from cloister.vault.keys import KeyFile, Keyring, MasterKey
from cloister.vault.sealing import rewrap, seal, unseal

ONE, TWO = MasterKey(b"1" * 32), MasterKey(b"2" * 32)
KEYRING = Keyring(current=ONE, by_id={ONE.id: ONE})
PLACE = ("web", "TOKEN", "v1")


@pytest.mark.parametrize(
    "place", [("web", "TOKEN", "v2"), ("web", "OTHER", "v1"), ("api", "TOKEN", "v1"), ("web", "TOKENv", "1"), ()]
)
def test_a_value_opens_nowhere_else(place: tuple[str, ...]) -> None:
    with pytest.raises(VaultError, match="was changed, or belongs elsewhere"):
        unseal(seal(b"value", PLACE, KEYRING), place, KEYRING)


def test_any_changed_bit_is_noticed() -> None:
    sealed = seal(b"value", PLACE, KEYRING)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(VaultError):
            unseal(bytes(changed), PLACE, KEYRING)


@given(cut=st.integers(min_value=0, max_value=200))
def test_a_cut_value_is_refused(cut: int) -> None:
    sealed = seal(b"value" * 30, PLACE, KEYRING)
    with pytest.raises(VaultError):
        unseal(sealed[:cut], PLACE, KEYRING)


def test_data_key_and_ciphertext_of_two_values_do_not_mix() -> None:
    one, two = (seal(value, PLACE, KEYRING) for value in (b"value1", b"value2"))
    with pytest.raises(VaultError):
        unseal(one[:49] + two[49:], PLACE, KEYRING)


def test_without_its_master_key_nothing_opens_and_the_way_out_is_said(tmp_path: Path) -> None:
    other = KeyFile(tmp_path / "master.key").load()
    with pytest.raises(VaultError, match="not here") as refusal:
        unseal(seal(b"value", PLACE, KEYRING), PLACE, other)
    assert "restore" in str(refusal.value.hint)


@given(plain=st.binary(), place=st.lists(st.text()).map(tuple))
def test_a_value_opens_where_it_was_sealed(plain: bytes, place: tuple[str, ...]) -> None:
    assert unseal(seal(plain, place, KEYRING), place, KEYRING) == plain


def test_the_same_value_is_never_sealed_the_same() -> None:
    one, two = (seal(b"value", PLACE, KEYRING) for _ in range(2))
    assert one != two
    assert one[9:] != two[9:]


def test_a_new_master_key_opens_what_it_wrapped_and_the_old_one_does_not() -> None:
    sealed = rewrap(seal(b"value", PLACE, KEYRING), KEYRING, TWO)
    assert unseal(sealed, PLACE, Keyring(current=TWO, by_id={TWO.id: TWO})) == b"value"
    with pytest.raises(VaultError):
        unseal(sealed, PLACE, KEYRING)
