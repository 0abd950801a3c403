"""Lists about markets: sessions of exchanges, Lean's market hours and symbol properties.

Sessions are what exchange_calendars writes of a calendar: session, open, close, break_start, break_end, in UTC; the file is
named after the MIC. Market hours are local times of each weekday, with the days that differ; properties are steps of price and
quantity. A list without a delivery is known since it was imported; a session since it opened, when that is earlier.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import partial

import pyarrow as pa

from transforms.decode.decoded import FUTURES_CONTRACTS, MARKET_HOURS, SESSIONS, TRADING_RULES, Decoded
from transforms.decode.delivery import zone_named
from transforms.decode.reference_files import (
    Fact,
    ListFile,
    Record,
    Refused,
    csv_records,
    decode_lists,
    midnight,
    needed_text,
    read_files,
    refused_record,
)
from transforms.numbers import NumberRefusedError, exact_decimal

RULE_TABLES = (TRADING_RULES, FUTURES_CONTRACTS)
FUTURES_MICS = {
    "cme": "XCME", "cbot": "XCBT", "nymex": "XNYM", "comex": "XCEC", "cfe": "XCBF", "ice": "IFUS", "eurex": "XEUR",
    "hkfe": "XHKF", "sgx": "XSES", "krx": "XKRX", "ose": "XOSE", "india": "XNSE",
}  # fmt: skip
"""Lean's names of futures markets -> MIC."""

_SESSION_COLUMNS = (("", "open", "close"), ("session", "open", "close"), ("date", "open", "close"))
_VENUE = re.compile(r"[A-Z0-9][A-Z0-9_-]{1,15}\Z")
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_CLOCK = re.compile(r"(?:1[.:](?=\d?\d:\d?\d:))?([01]?\d|2[0-3]):([0-5]?\d):([0-5]?\d)\Z")
_OFFSET = re.compile(r"UTC([+-])(\d\d)\Z")
_LEAN_DAY = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})\Z")
_DAYS = {"holidays": "holiday", "bankHolidays": "bank_holiday", "earlyCloses": "early_close", "lateOpens": "late_open"}
_SCALE, _DIGITS = 18, 38


def decode_sessions(messages: pa.Table) -> Decoded:
    """Return the sessions of one calendar."""

    def read(file: ListFile, payload: bytes) -> Iterator[Iterator[Fact | Refused]]:
        venue = file.stem.upper()
        if not _VENUE.match(venue):
            raise NumberRefusedError("missing_venue", file.stem, "a file named after the MIC, like xnys.csv")
        for record in csv_records(payload, _SESSION_COLUMNS):
            yield refused_record(record) if isinstance(record, NumberRefusedError) else _session(venue, file, record)

    return read_files(messages, (SESSIONS,), read)


def _session(venue: str, file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    name = next(name for name in ("", "session", "date") if name in record)
    edges = {ours: _instant(record.get(theirs), theirs) for ours, theirs in (("opens_at", "open"), ("closes_at", "close"))}
    breaks = {name: _instant(record.get(name), name) for name in ("break_start", "break_end")}
    opens, closes, away, back = edges["opens_at"], edges["closes_at"], breaks["break_start"], breaks["break_end"]
    if opens is None or closes is None:
        raise NumberRefusedError("missing_value", None, "open and close")
    if (away is None) != (back is None) or not opens < closes or (away and back and not opens < away < back < closes):
        raise NumberRefusedError("session_reversed", f"{opens} {away} {back} {closes}", "open, break and close in order")
    day = _instant(needed_text(record, name), "session")
    yield Fact(
        SESSIONS,
        {
            "mic": venue,
            "session_date": None if day is None else day.date(),
            **edges,
            **breaks,
            "known_at": opens if file.delivered is None else min(opens, file.delivered),
        },
    )


def _instant(text: str | None, name: str) -> datetime | None:
    """Return an instant written with its zone, or the midnight UTC of a date; None where nothing stands. Raises."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        if found.tzinfo is None and len(text) > len("2020-01-01"):
            raise ValueError("no zone")
        found = found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise NumberRefusedError("malformed_time", text, f"{name}: an instant like 2020-01-02T14:30:00Z") from error
    if not 1900 <= found.year <= 2199:
        raise NumberRefusedError("malformed_time", text, f"{name}: a year from 1900 to 2199")
    return found


def decode_properties(messages: pa.Table) -> Decoded:
    """Return Lean's symbol properties: trading rules of products, and the terms of futures products."""
    needed = (("market", "symbol", "type", "contract_multiplier", "minimum_price_variation"),)
    return decode_lists(messages, RULE_TABLES, needed, _property)


def _property(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    market, kind = needed_text(record, "market"), needed_text(record, "type")
    product = needed_text(record, "symbol").replace("[*]", "*")
    shared = {
        "mic": FUTURES_MICS.get(market) if kind.startswith("future") else None,
        "currency": record.get("quote_currency"),
        "market": market,
        "product": product,
        "description": record.get("description"),
        "multiplier": _number(record, "contract_multiplier"),
        "tick_size": _number(record, "minimum_price_variation"),
    }
    yield Fact(
        TRADING_RULES,
        {
            **shared,
            "product_kind": kind,
            "lot_size": _number(record, "lot_size"),
            "market_ticker": record.get("market_ticker"),
            "minimum_order_size": _number(record, "minimum_order_size"),
            "price_magnifier": _number(record, "price_magnifier"),
            "strike_multiplier": _number(record, "strike_multiplier"),
        },
    )
    if kind == "future":
        yield Fact(FUTURES_CONTRACTS, {**shared, "contract": "*"})


def _number(record: Record, name: str) -> Decimal | None:
    text = record.get(name)
    if text is None:
        return None
    head, exponent, power = text.lower().partition("e")
    if exponent and re.fullmatch(r"[+-]?[0-9]{1,2}", power) and re.fullmatch(r"[0-9.]{1,40}", head):
        try:
            text = f"{Decimal(text):f}"
        except ArithmeticError as error:
            raise NumberRefusedError("malformed_number", text, name) from error
    return exact_decimal(text, _SCALE, _DIGITS)


def decode_market_hours(messages: pa.Table) -> Decoded:
    """Return Lean's market hours database: one document of markets, each with its week and the days that differ."""

    def read(file: ListFile, payload: bytes) -> Iterator[Iterator[Fact | Refused]]:
        try:
            document = json.loads(payload)
        except (ValueError, RecursionError) as error:
            raise NumberRefusedError("malformed", payload[:200], "a JSON document") from error
        entries = document.get("entries") if isinstance(document, dict) else None
        if not isinstance(entries, dict):
            raise NumberRefusedError("malformed", payload[:200], "an object of `entries`")
        for market, entry in entries.items():
            yield _market(market, entry)

    return read_files(messages, (MARKET_HOURS,), read)


def _market(market: str, entry: object) -> Iterator[Fact | Refused]:
    zone = _zone(entry.get("exchangeTimeZone")) if isinstance(entry, dict) else None
    if not isinstance(entry, dict) or not market.isprintable() or zone is None:
        raise NumberRefusedError("malformed_market", market, "an object with an exchangeTimeZone")
    for told in (*_week(entry), *_other_days(entry)):
        try:
            yield Fact(MARKET_HOURS, {"market": market, "zone": zone, **told()})
        except NumberRefusedError as error:
            yield Refused(None, NumberRefusedError(error.rule, f"{market}: {error.value}", error.expected))


def _zone(name: object) -> str | None:
    """Return the IANA zone of an entry; Lean writes `UTC-05` for a zone without daylight saving."""
    found = _OFFSET.match(name) if isinstance(name, str) else None
    told = f"Etc/GMT{'+' if found[1] == '-' else '-'}{int(found[2])}" if found is not None else name
    return told if isinstance(told, str) and zone_named(told) is not None else None


def _week(entry: Mapping[str, object]) -> Iterator[Callable[[], dict[str, object]]]:
    for number, weekday in enumerate(_WEEKDAYS, 1):
        for part in _listed(entry, weekday):
            yield partial(_part, number, part)


def _part(number: int, part: object) -> dict[str, object]:
    state = part.get("state") if isinstance(part, dict) else None
    if not isinstance(part, dict) or not isinstance(state, str):
        raise NumberRefusedError("malformed_market", part, "start, end and state")
    hours = {"local_start": _clock(part.get("start")), "local_end": _clock(part.get("end"))}
    return {"day_kind": "weekday", "weekday_key": str(number), "weekday": number, "state": state, **hours}


def _other_days(entry: Mapping[str, object]) -> Iterator[Callable[[], dict[str, object]]]:
    for name in ("holidays", "bankHolidays"):
        for text in dict.fromkeys(str(one) for one in _listed(entry, name)):
            yield partial(_day, _DAYS[name], text, "00:00:00", None)
    for name in ("earlyCloses", "lateOpens"):
        days = entry.get(name) or {}
        if not isinstance(days, dict):
            raise NumberRefusedError("malformed_market", days, f"{name}: days and times")
        for text, clock in days.items():
            is_early = name == "earlyCloses"
            yield partial(_day, _DAYS[name], text, "00:00:00" if is_early else clock, clock if is_early else None)


def _day(kind: str, text: str, start: object, end: object) -> dict[str, object]:
    day = _lean_day(text)
    hours = {"local_start": _clock(start), "local_end": None if end is None else _clock(end)}
    return {"day_kind": kind, "weekday_key": day.isoformat(), "day": day, **hours, "known_at": midnight(day)}


def _listed(entry: Mapping[str, object], name: str) -> list[object]:
    found = entry.get(name) or []
    if not isinstance(found, list):
        raise NumberRefusedError("malformed_market", found, f"{name}: a list")
    return found


def _clock(text: object) -> str:
    """Return a local time as HH:MM:SS; `1.00:00:00` (or `1:00:00:00`) is the midnight that ends the day."""
    found = _CLOCK.match(text) if isinstance(text, str) and text.isascii() else None
    if found is None:
        raise NumberRefusedError("malformed_time", text, "a local time like 09:30:00")
    clock = f"{int(found[1]):02}:{int(found[2]):02}:{int(found[3]):02}"
    if len(found[0].replace(".", ":").split(":")) == 3:
        return clock
    if clock != "00:00:00":
        raise NumberRefusedError("malformed_time", text, "no time after the midnight that ends the day")
    return "24:00:00"


def _lean_day(text: object) -> date:
    found = _LEAN_DAY.match(text) if isinstance(text, str) else None
    try:
        if found is not None and found[0].isascii():
            return date(int(found[3]), int(found[1]), int(found[2]))
    except ValueError as error:
        raise NumberRefusedError("malformed_date", text, "a day like 7/3/2000") from error
    raise NumberRefusedError("malformed_date", text, "a day like 7/3/2000")
