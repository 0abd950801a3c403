"""When an answer was delivered, and the zones that payloads name: what several decoders read the same way."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from zoneinfo import ZoneInfo

from lake.errors import InvalidValueError
from lake.instants import parse_instant


def delivered_at(headers: str | None, request: str | None) -> datetime | None:
    """Return when the provider delivered a message: its Date header, else `received_at` of the request; None when unknown.

    A `received_at` of a date alone means the end of that UTC day.
    """
    told = next((value for name, value in json_object(headers).items() if name.lower() == "date"), None)
    found = _http_date(told) if isinstance(told, str) else None
    if found is not None:
        return found
    received = json_object(request).get("received_at")
    try:
        return _plausible(parse_instant(received)) if isinstance(received, str) else None
    except (InvalidValueError, OverflowError):
        return None


def _http_date(text: str) -> datetime | None:
    try:
        parsed = parsedate_to_datetime(text)
        return _plausible(parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC))
    except (ValueError, OverflowError, IndexError, TypeError):
        return None


def json_object(text: str | None) -> dict[str, object]:
    """Return the JSON object in `text`; an empty one for anything else."""
    if text is None:
        return {}
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None


def zone_named(name: object) -> ZoneInfo | None:
    """Return the IANA zone called `name`, or None when there is none."""
    return _zone(name) if isinstance(name, str) and 0 < len(name) < 64 and "\0" not in name else None


def _plausible(instant: datetime) -> datetime | None:
    return instant if date(1900, 1, 1) <= instant.date() <= date(2199, 12, 31) else None
