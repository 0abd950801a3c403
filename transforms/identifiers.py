"""Identifiers of instruments and issuers: written one way, their check digits proven by python-stdnum."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from stdnum import cusip, figi, isin, lei
from stdnum.exceptions import ValidationError
from stdnum.gb import sedol

from transforms.numbers import NumberRefusedError

_CHECKED: dict[str, Callable[[str], Any]] = {
    "isin": isin.validate,
    "cusip": cusip.validate,
    "sedol": sedol.validate,
    "figi": figi.validate,
    "composite_figi": figi.validate,
    "share_class_figi": figi.validate,
    "lei": lei.validate,
}
SCHEMES = (*_CHECKED, "cik", "occ")
"""Schemes that are checked; any other word is a provider's own id, taken as written."""
_CIK = re.compile(r"\d{1,10}\Z")
_LONGEST = 64


def identifier_of(scheme: str, text: str) -> str:
    """Return an identifier in its one spelling: no blanks, capitals; a CIK has ten digits.

    Raises NumberRefusedError with rule check_digit or malformed_identifier.
    """
    if len(text) > _LONGEST or not text.strip() or not text.isprintable():
        raise NumberRefusedError("malformed_identifier", text, f"an identifier of at most {_LONGEST} characters")
    if scheme == "cik":
        if not _CIK.match(text.strip()) or not text.strip().isascii():
            raise NumberRefusedError("malformed_identifier", text, "up to ten digits")
        return text.strip().zfill(10)
    check = _CHECKED.get(scheme)
    if check is None:
        return text.strip()
    try:
        return str(check(text.strip().upper()))
    except (ValidationError, ValueError) as error:
        raise NumberRefusedError("check_digit", text, f"{scheme}: {error}") from error
