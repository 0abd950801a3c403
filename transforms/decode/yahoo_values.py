"""What Yahoo's payloads share beyond the chart: float images in three forms, what a symbol tells, answers that say nothing."""

from __future__ import annotations

import re
from decimal import Decimal

import numpy as np

from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import Digits
from transforms.decode.readers import Row
from transforms.numbers import MOST_DIGITS, PRICE_SCALE, NumberRefusedError, exact_decimal, restored

PRICE_TYPES = {"index": "index", "fund": "nav", "fx": "mid"}
"""Asset class -> what prices are of, where they are no trades: FX rates are composites of quotes."""
_PRINT = re.compile(r"-?\d{1,20}\.(\d{1,9})\Z")
_FX, _FUTURE, _CRYPTO = re.compile(r"([A-Z]{3})?([A-Z]{3})=X\Z"), re.compile(r".{1,30}=F\Z"), re.compile(r".{1,30}-([A-Z]{3})\Z")
_FUND = re.compile(r"0P[0-9A-Z]{8}(\.[A-Z]{1,3})?\Z")
_NEW_YORK = "America/New_York"
_MOST_HINT = 9


def image(value: object, scale: int = PRICE_SCALE, digits: int = MOST_DIGITS) -> Decimal:
    """Return the decimal that a JSON number is the float image of (`transforms.numbers.restored`)."""
    return restored(float(value) if isinstance(value, Digits) else value, scale, digits)


def printed_image(text: str) -> Decimal:
    """Return the price that a float32 printed with some places stands for: 74.059998 is 74.06.

    The shortest decimal of the float32 where its print is this text, else the text's own digits. Raises NumberRefusedError.
    """
    found = _PRINT.match(text)
    if found is None:
        return exact_decimal(text, PRICE_SCALE)
    single = np.float32(text)
    is_print = f"{float(single):.{len(found[1])}f}" == text
    return exact_decimal(np.format_float_positional(single, unique=True, trim="0") if is_print else text, PRICE_SCALE)


def hinted(value: float, places: int | None) -> Decimal:
    """Return the price of a float32: rounded to the price hint where that is within one step of the float, else its shortest."""
    single = np.float32(value)
    if places is not None and 0 <= places <= _MOST_HINT and np.isfinite(single):
        near = round(Decimal(float(single)), places)
        if abs(np.float32(float(near)) - single) <= np.spacing(abs(single)):
            return restored(float(near), PRICE_SCALE)
    return restored(float(single), PRICE_SCALE)


def symbol_hints(symbol: str) -> Row:
    """Return what a symbol of Yahoo tells by its form: EURUSD=X, BTC-USD, GC=F, ^GSPC, a fund's 0P000071W8.TO, OCDO.L, AAPL.

    The zone of an index is not told: its days are counted in New York's.
    """
    fx, crypto = _FX.match(symbol), _CRYPTO.match(symbol)
    if fx is not None:
        return {"symbol": symbol, "asset_class": "fx", "currency": fx[2]}
    if crypto is not None:
        return {"symbol": symbol, "asset_class": "crypto", "currency": crypto[1]}
    if symbol.startswith("^"):
        return {"symbol": symbol, "asset_class": "index", "exchange_zone": _NEW_YORK}
    if _FUTURE.match(symbol):
        return {"symbol": symbol, "asset_class": "future", "exchange_zone": _NEW_YORK}
    if _FUND.match(symbol):
        return {"symbol": symbol, **hints(symbol), "asset_class": "fund", "currency": None}
    return {"symbol": symbol, **hints(symbol.replace("-", "."))} if "-" in symbol else {"symbol": symbol, **hints(symbol)}


def is_no_answer(payload: bytes) -> bool:
    """Return whether a payload is empty, an outage page, or a throttle's words, under whatever status."""
    body = payload.strip()
    return not body or body.startswith(b"<") or (len(body) < 200 and b"Too Many Requests" in body)


def refused_words(found: object) -> bool:
    """Return whether an answer of any of Yahoo's endpoints is its error: {"finance": {"error": {…}}}."""
    parts = found.values() if isinstance(found, dict) else ()
    return any(isinstance(part, dict) and isinstance(part.get("error"), dict) for part in parts)


def needed_text(value: object, name: str) -> str:
    """Return a text that must be there. Raises NumberRefusedError."""
    if not isinstance(value, str) or isinstance(value, Digits) or not value:
        raise NumberRefusedError(f"missing_{name}", value, f"a {name}")
    return value
