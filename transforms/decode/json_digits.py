"""JSON whose numbers keep their digits, and the instants and requests that come with it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from urllib.parse import parse_qsl, urlsplit

import msgspec

from transforms.decode.delivery import json_object
from transforms.numbers import MOST_DIGITS, NumberRefusedError, exact_decimal

_RFC3339 = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)\Z")
_FARTHEST_EXPONENT = 40
_WIDE = Context(prec=120, rounding=ROUND_HALF_EVEN)
_FIRST_YEAR, _LAST_YEAR = 1900, 2199


class Digits(str):
    """A JSON number with a point or an exponent, as it was written."""

    __slots__ = ()


_decode = msgspec.json.Decoder(float_hook=Digits).decode


def document(payload: bytes) -> object:
    """Return the JSON in `payload`; numbers are int or Digits. Raises NumberRefusedError (malformed)."""
    try:
        return _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise NumberRefusedError("malformed", payload[-200:], f"JSON ({error})") from error


def exact(value: object, scale: int, digits: int = MOST_DIGITS) -> Decimal:
    """Return a JSON number as a decimal of exactly `scale` places, digit by digit.

    Raises NumberRefusedError: malformed_number for what is no number, excess_digits and overflow like `scaled_digits`.
    """
    return exact_decimal(_plain(value), scale, digits)


def rounded(value: object, scale: int, digits: int = MOST_DIGITS) -> Decimal:
    """Return a JSON number that the provider itself computed (an average), rounded half to even to `scale` places."""
    text = _plain(value)
    nearest = Decimal(text).quantize(Decimal(1).scaleb(-scale), context=_WIDE) if len(text) < 80 else Decimal(text)
    return exact_decimal(f"{nearest:f}", scale, digits)


def _plain(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        if abs(value) >= 10**_FARTHEST_EXPONENT:
            raise NumberRefusedError("overflow", "an integer of more than 40 digits", "a number that fits its column")
        return str(value)
    if not isinstance(value, Digits):
        raise NumberRefusedError("malformed_number", value, "a JSON number")
    if "e" not in value and "E" not in value:
        return str(value)
    number = Decimal(value)
    if number and abs(number.adjusted()) > _FARTHEST_EXPONENT:
        raise NumberRefusedError("overflow", value, "a number that fits its column")
    return f"{number:f}" if number else "0"


def instant(text: object) -> tuple[datetime, int]:
    """Return (UTC instant to the microsecond, nanoseconds beyond it) of an RFC 3339 stamp; raises NumberRefusedError."""
    found = _RFC3339.match(text) if isinstance(text, str) else None
    if found is not None:
        nanos = int((found[2] or "").ljust(9, "0"))
        try:
            whole = datetime.fromisoformat(found[1] + found[3]).astimezone(UTC) + timedelta(microseconds=nanos // 1000)
        except (ValueError, OverflowError):
            whole = None
        if whole is not None and _FIRST_YEAR <= whole.year <= _LAST_YEAR:
            return whole, nanos % 1000
    raise NumberRefusedError("timestamp", text, "RFC 3339 with a zone, like 2022-03-18T14:02:43.651613184Z")


def asked(request: str | None) -> tuple[str, dict[str, str]]:
    """Return (path, parameters) of the request that got a message, by its `url` and `params`; empty where unknown.

    A value that is a placeholder in braces, as documentation writes them, is unknown.
    """
    told = json_object(request)
    url, params = told.get("url"), told.get("params")
    try:
        parts = urlsplit(url) if isinstance(url, str) else urlsplit("")
        found = dict(parse_qsl(parts.query))
    except ValueError:
        return "", {}
    if isinstance(params, dict):
        found |= {str(name): value for name, value in params.items() if isinstance(value, str)}
    return parts.path, {name: value for name, value in found.items() if not value.startswith("{")}


def asked_at(request: str | None) -> datetime | None:
    """Return when a captured answer was asked for; None for an imported one."""
    stamp = json_object(request).get("ts_request_ns")
    if not isinstance(stamp, int) or isinstance(stamp, bool) or not 0 <= stamp < 1 << 62:
        return None
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=stamp // 1000)


def is_repeat(request: str | None) -> bool:
    """Return whether the capture noticed that this frame's bytes came before in its session (`ingest/conversation.py`)."""
    return request is not None and "repeats" in json_object(request)


def text_of(value: object) -> str | None:
    """Return a non-empty text; None for anything else."""
    return str(value) if isinstance(value, str) and not isinstance(value, Digits) and value else None


def joined(codes: object) -> str | None:
    """Return condition codes joined by commas, as written; None for null and for no codes. Raises NumberRefusedError."""
    if codes is None or codes == []:
        return None
    if isinstance(codes, str) and not isinstance(codes, Digits):
        return codes
    if isinstance(codes, list) and all(isinstance(code, str | int) and not isinstance(code, bool) for code in codes):
        return ",".join(str(code) for code in codes)
    raise NumberRefusedError("malformed_conditions", codes, "a list of condition codes, a code, or null")
