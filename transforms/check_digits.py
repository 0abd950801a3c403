"""Check digits of securities' and issuers' identifiers, by the standards that define them.

ISO 6166 (ISIN), ANSI X9.6 (CUSIP), the London Stock Exchange's SEDOL Masterfile, OMG FIGI 1.1, ISO 17442 (LEI, with ISO/IEC
7064 MOD 97-10). Each function takes an identifier in capitals without blanks and returns whether it is one. Our own, since
the library for it is not permissively licensed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

_ISIN = re.compile(r"[A-Z]{2}[0-9A-Z]{9}[0-9]\Z", re.ASCII)
_CUSIP = re.compile(r"[0-9A-Z*@#]{8}[0-9]\Z", re.ASCII)
_SEDOL = re.compile(r"(?:[0-9]{6}|[B-DF-HJ-NP-TV-Z][0-9B-DF-HJ-NP-TV-Z]{5})[0-9]\Z", re.ASCII)
_FIGI = re.compile(r"(?!BS|BM|GG|GB|GH|KY|VG)[B-DF-HJ-NP-TV-Z]{2}G[0-9B-DF-HJ-NP-TV-Z]{8}[0-9]\Z", re.ASCII)
_LEI = re.compile(r"[0-9A-Z]{18}[0-9]{2}\Z", re.ASCII)
_SEDOL_WEIGHTS = (1, 3, 1, 7, 3, 9, 1)
_VALUES = {character: value for value, character in enumerate("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#")}


def is_isin(text: str) -> bool:
    """Return whether a text is an ISIN: letters become two digits each, then Luhn's sum is a multiple of ten."""
    return bool(_ISIN.match(text)) and _doubled(reversed([int(one) for one in _spelled(text)])) % 10 == 0


def is_cusip(text: str) -> bool:
    """Return whether a text is a CUSIP: every second value doubled, digits added up."""
    return bool(_CUSIP.match(text)) and (_doubled(_values(text[:-1])) + int(text[-1])) % 10 == 0


def is_figi(text: str) -> bool:
    """Return whether a text is a FIGI: summed up as a CUSIP is."""
    return bool(_FIGI.match(text)) and (_doubled(_values(text[:-1])) + int(text[-1])) % 10 == 0


def is_sedol(text: str) -> bool:
    """Return whether a text is a SEDOL: the weighted sum is a multiple of ten."""
    return bool(_SEDOL.match(text)) and sum(a * b for a, b in zip(_values(text), _SEDOL_WEIGHTS, strict=True)) % 10 == 0


def is_lei(text: str) -> bool:
    """Return whether a text is an LEI: its number leaves 1 when divided by 97."""
    return bool(_LEI.match(text)) and int(_spelled(text)) % 97 == 1


CHECKS: Mapping[str, Callable[[str], bool]] = MappingProxyType(
    {
        "isin": is_isin,
        "cusip": is_cusip,
        "sedol": is_sedol,
        "figi": is_figi,
        "composite_figi": is_figi,
        "share_class_figi": is_figi,
        "lei": is_lei,
    }
)
"""Scheme → whether a text in capitals is an identifier of it."""


def _values(text: str) -> list[int]:
    return [_VALUES[character] for character in text]


def _spelled(text: str) -> str:
    return "".join(str(value) for value in _values(text))


def _doubled(values: Iterable[int]) -> int:
    """Return the sum of the digits of values, those at odd places doubled first."""
    return sum(sum(divmod(value * (1 + number % 2), 10)) for number, value in enumerate(values))
