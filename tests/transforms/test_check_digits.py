"""Check digits against identifiers in public use, and against every slip of one digit."""

from __future__ import annotations

import pytest

from transforms.check_digits import CHECKS
from transforms.identifiers import identifier_of
from transforms.numbers import NumberRefusedError

REAL = {
    "isin": ["US0378331005", "US5949181045", "GB0002634946", "AU0000XVGZA3", "DE000BAY0017", "JP3633400001", "IE00B4BNMY34"],
    "cusip": ["037833100", "17275R102", "38259P508", "594918104", "68389X105"],
    "sedol": ["0263494", "B0YBKJ7", "2046251", "2588173", "B4BNMY3"],
    "figi": ["BBG000B9XRY4", "BBG000BLNNH6", "BBG000BPH459", "BBG000BVPV84"],
    "lei": ["HWUPKR0MPOU8FGXBT394", "INR2EJN1ERAN0W5ZP974", "5493006MHB84DD0ZWV18"],
}
"""Apple, Microsoft, BAE Systems, Bayer, Toyota, Accenture, Cisco, Google, Oracle, IBM, Amazon, Alphabet; ISO 6166's example."""
EACH = [(scheme, text) for scheme, texts in REAL.items() for text in texts]


@pytest.mark.parametrize(("scheme", "text"), EACH)
def test_identifiers_in_use_are_right(scheme: str, text: str) -> None:
    assert CHECKS[scheme](text)
    assert identifier_of(scheme, f" {text.lower()} ") == text


@pytest.mark.parametrize(("scheme", "text"), EACH)
def test_every_slip_of_one_digit_is_found(scheme: str, text: str) -> None:
    for place, right in enumerate(text):
        for wrong in "0123456789":
            if right.isdigit() and wrong != right:
                slipped = text[:place] + wrong + text[place + 1 :]
                with pytest.raises(NumberRefusedError, match="check_digit"):
                    identifier_of(scheme, slipped)


@pytest.mark.parametrize("scheme", sorted(CHECKS))
@pytest.mark.parametrize("text", ["", "0", "US037833100", "US03783310055", "٠٣٧٨٣٣١٠٠", "AAAAAAAAAAAA", "037833100\n0"])
def test_other_texts_are_no_identifiers(scheme: str, text: str) -> None:
    assert not CHECKS[scheme](text)
