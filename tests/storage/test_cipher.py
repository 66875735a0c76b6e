"""What is sealed can be opened in its own place, under its own key, for its own purpose, and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.core.secret import Secret
from wayport.storage.cipher import Cipher, NotReadable

CIPHER = Cipher(Secret("salt"), purpose="tests")


@given(st.binary(max_size=200), st.text(max_size=20))
def test_what_was_sealed_comes_back(plain: bytes, context: str) -> None:
    assert CIPHER.open(CIPHER.seal(plain, context), context) == plain


def test_nothing_of_it_can_be_read_and_no_two_are_alike() -> None:
    sealed = CIPHER.seal(b"a secret thought", "row")
    assert b"secret" not in sealed
    assert sealed != CIPHER.seal(b"a secret thought", "row")


@pytest.mark.parametrize(
    ("cipher", "context"),
    [
        (CIPHER, "another row"),
        (Cipher(Secret("pepper"), purpose="tests"), "row"),
        (Cipher(Secret("salt"), purpose="else"), "row"),
    ],
)
def test_elsewhere_it_stays_shut(cipher: Cipher, context: str) -> None:
    with pytest.raises(NotReadable):
        cipher.open(CIPHER.seal(b"plain", "row"), context)


@given(st.binary(max_size=40))
def test_what_we_did_not_seal_is_not_read(sealed: bytes) -> None:
    with pytest.raises(NotReadable):
        CIPHER.open(sealed, "row")
