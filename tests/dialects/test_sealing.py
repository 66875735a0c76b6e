"""Envelopes give back what was sealed, fit every signature field, and take nothing else for their own."""

import base64
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wayport.dialects.neutral import Issuer
from wayport.dialects.sealing import PREFIX, is_sealed, seal, unseal

ISSUERS: list[Issuer] = list(get_args(Issuer))


@given(st.sampled_from(ISSUERS), st.text())
def test_gives_back_what_was_sealed(issuer: Issuer, payload: str) -> None:
    assert unseal(seal(issuer, payload)) == (issuer, payload)


@given(st.sampled_from(ISSUERS), st.text())
def test_survives_a_client_that_decodes_signatures_and_writes_them_again(issuer: Issuer, payload: str) -> None:
    raw = base64.urlsafe_b64decode(seal(issuer, payload))
    for again in (base64.b64encode(raw), base64.urlsafe_b64encode(raw), base64.b64encode(raw).rstrip(b"=")):
        assert unseal(again.decode()) == (issuer, payload)


@given(st.text())
def test_takes_no_other_text_for_an_envelope(text: str) -> None:
    assert unseal(text) is None or text.startswith(PREFIX)


@pytest.mark.parametrize(
    "text",
    ["", "EqQBCgYIARgCIkDs", PREFIX, PREFIX + "!!!!", PREFIX + "bm9ib2R5Cng=", PREFIX + "gemini", PREFIX + "/w=="],
)
def test_a_damaged_or_foreign_envelope_opens_to_nothing(text: str) -> None:
    assert unseal(text) is None


def test_a_damaged_envelope_is_still_known_as_ours() -> None:
    assert is_sealed(PREFIX + "!!!!")
    assert not is_sealed("EqQBCgYIARgCIkDs")
    assert not is_sealed(None)
