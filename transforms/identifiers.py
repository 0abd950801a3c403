"""Identifiers of instruments and issuers: written one way, their check digits proven."""

from __future__ import annotations

import re

from transforms.check_digits import CHECKS
from transforms.numbers import NumberRefusedError

SCHEMES = (*CHECKS, "cik", "occ")
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
    check = CHECKS.get(scheme)
    if check is None:
        return text.strip()
    written = re.sub(r"[\s-]", "", text.upper())
    if not check(written):
        raise NumberRefusedError("check_digit", text, f"a whole {scheme} with its check digit")
    return written
