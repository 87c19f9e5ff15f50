"""Tests that personal data is found by its form."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autodata.corpora.pii import mask


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("write to a.b-c+d@mail.example.org.", "write to [e-mail address]."),
        ("call (415) 555-1234 or +1-415-555-1234", "call [telephone number] or [telephone number]"),
        ("SSN 123-45-6789,", "SSN [social security number],"),
        ("card 4111 1111 1111 1111", "card [card number]"),
        ("from 8.8.8.8 we", "from [IP address] we"),
    ],
)
def test_what_is_masked(text, masked):
    assert mask(text)[0] == masked
    assert mask(text)[1].total() == masked.count("[")


@pytest.mark.parametrize(
    "text",
    [
        "@ home, a@b, user@localhost",
        "card 4111 1111 1111 1112",  # fails Luhn's rule
        "10.0.0.1 and 127.0.0.1 and 999.1.1.1 and version 1.2.3.4.5",
        "347 U.S. 483, 495 (1954); 28 U.S.C. 1331; No. 2019-123-4567890",
        "f(123-45-67890)",
        "3.14159265358979 and 1234567890123456789",
        "Table 2: 100-200-3000 tokens",
    ],
)
def test_what_is_left(text):
    assert mask(text)[0] == text


@given(st.text(alphabet="ab@.-() 0123456789+", max_size=200))
def test_nothing_is_found_in_what_was_masked(text):
    masked, kinds = mask(text)
    assert mask(masked) == (masked, type(kinds)())
    assert (masked == text) == (not kinds)
