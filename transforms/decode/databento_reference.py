"""Databento's reference data, a JSON object a line: corporate actions, adjustment factors, the security master.

Each line says when it was recorded (`ts_record`), which is when the market could know it; a later line about the same event
or listing is its next version. Of corporate actions, splits and cash dividends are ours, others are refused by their event.
A vendor's factor for an ex-date is a number of normalized.alternative: ours are made from actions. The security master gives
identifiers, issuer and classes of a listing from its effective day on, and its shares outstanding.
Kept in raw only: options, elections and dates of voluntary events, outturn securities, segments, lots, par values, votes.
A dividend is `gross_dividend` of `rate_info`, in cash where `payment_type` is C.
Source: databento.com/docs/api-reference-reference and /docs/examples/corporate-actions/dividends; samples of
github.com/databento/databento-python (Apache-2.0).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, time

import pyarrow as pa

from transforms.decode.decoded import (
    ALTERNATIVE,
    CLASSIFICATIONS,
    CORPORATE_ACTIONS,
    FUNDAMENTALS,
    IDENTIFIERS,
    ISSUERS,
    MESSAGES,
    Decoded,
)
from transforms.decode.json_digits import Digits, document, exact, instant, rounded, text_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.decode.spans import day_of
from transforms.identifiers import identifier_of
from transforms.numbers import PRICE_SCALE, NumberRefusedError, lowest_terms

TABLES = (CORPORATE_ACTIONS, ALTERNATIVE, IDENTIFIERS, ISSUERS, CLASSIFICATIONS, FUNDAMENTALS)

_SPLITS = frozenset({"FSPLT", "RSPLT", "SPLT", "SD", "CONSD"})
_DIVIDEND, _CASH = "DIV", (None, "C")
_NUMBER_SCALE, _NUMBER_DIGITS = 12, 38
_FACTORS = ("factor", "close", "sentiment", "detail")
_IDENTIFIERS = (
    *(
        ("isin", "isin"),
        ("cusip", "us_code"),
        ("figi", "figi"),
        ("composite_figi", "bbg_comp_id"),
        ("lei", "lei"),
        ("cik", "cik"),
    ),
    *(("databento_security_id", "security_id"), ("databento_listing_id", "listing_id"), ("figi_ticker", "figi_ticker")),
)
_CLASSES = ("cfi", "sic", "gics", "naics", "cic", "security_type", "segment_mic")


def decode_reference(messages: pa.Table) -> Decoded:
    """Return what lines of reference data say."""
    reader = Reader(TABLES)

    def read(payload: bytes) -> None:
        for line in payload.split(b"\n"):
            if not line.strip():
                continue
            try:
                _read_line(reader, line)
            except NumberRefusedError as error:
                reader.refuse(MESSAGES, error)

    return read_messages(reader, messages, read)


def _read_line(reader: Reader, line: bytes) -> None:
    entry = object_of(document(line), "a line of reference data")
    if "event_action" in entry:
        reader.add(CORPORATE_ACTIONS, _action, entry, reader.delivered)
    elif "factor" in entry:
        reader.add_all(ALTERNATIVE, _factors, entry, reader.delivered)
    elif "ts_effective" in entry:
        _read_master(reader, entry)
    else:
        raise NumberRefusedError("unknown_line", line[:200], "a corporate action, a factor or a listing")


def _who(entry: Object) -> Row:
    """Return whose line it is; Databento writes the exchange's own MIC, which need not have a calendar."""
    symbol = next((found for name in ("symbol", "nasdaq_symbol", "local_code") if (found := text_of(entry.get(name)))), None)
    if symbol is None:
        raise NumberRefusedError("missing_symbol", None, "symbol, nasdaq_symbol or local_code")
    return {
        "symbol": symbol,
        "mic": text_of(entry.get("operating_mic")),
        "currency": text_of(entry.get("trading_currency")) or text_of(entry.get("currency")),
        "exchange_zone": "UTC",
        "name": text_of(entry.get("issuer_name")),
    }


def _recorded(entry: Object, delivered: datetime | None, name: str = "ts_record") -> Row:
    """Return when the market could know a line, and when Databento had it: lines recorded alike are ordered by that."""
    created = entry.get("ts_created")
    return {"known_at": instant(entry.get(name))[0], "delivered_at": delivered if created is None else instant(created)[0]}


def _needed(entry: Object, name: str) -> date:
    found = day_of(entry.get(name), name)
    if found is None:
        raise NumberRefusedError("missing_date", None, name)
    return found


# --- corporate actions


def _action(entry: Object, delivered: datetime | None) -> Row:
    event = text_of(entry.get("event"))
    if event not in _SPLITS and event != _DIVIDEND:
        raise NumberRefusedError("unsupported_action", event, f"{_DIVIDEND} or one of {', '.join(sorted(_SPLITS))}")
    known = _recorded(entry, delivered)
    ex_date = _needed(entry, "ex_date")
    key = [text_of(entry.get("event_unique_id")) or text_of(entry.get("event_id"))]
    key += [str(found) for name in ("option_id", "serial_id") if (found := entry.get(name)) not in (None, "1", 1)]
    if key[0] is None:
        raise NumberRefusedError("missing_id", None, "event_unique_id")
    is_gone = text_of(entry.get("event_action")) == "D"
    moment = known["known_at"]
    is_past = isinstance(moment, datetime) and ex_date <= moment.date()
    return {
        **_who(entry),
        **known,
        "action_key": "/".join(map(str, key)),
        "ex_date": ex_date,
        "announcement_date": day_of(entry.get("event_created_date"), "event_created_date"),
        "record_date": day_of(entry.get("record_date"), "record_date"),
        "pay_date": day_of(entry.get("payment_date"), "payment_date"),
        "status": "rescinded" if is_gone else "confirmed" if is_past else "announced",
        **(_dividend(entry) if event == _DIVIDEND else _split(entry)),
    }


def _split(entry: Object) -> Row:
    new, old = lowest_terms(exact(entry.get("ratio_new"), PRICE_SCALE), exact(entry.get("ratio_old"), PRICE_SCALE))
    return {"kind": "split", "ratio_new": new, "ratio_old": old}


def _dividend(entry: Object) -> Row:
    if text_of(entry.get("payment_type")) not in _CASH:
        raise NumberRefusedError("unsupported_action", entry.get("payment_type"), "a dividend in cash (payment_type C)")
    rates = entry.get("rate_info")
    gross = rates.get("gross_dividend") if isinstance(rates, dict) else None
    row: Row = {"kind": "cash_dividend", "amount": exact(gross, PRICE_SCALE), "share_basis": "as_paid"}
    currency = text_of(entry.get("rate_currency"))
    return row if currency is None else row | {"currency": currency}


# --- adjustment factors


def _factors(entry: Object, delivered: datetime | None) -> Iterator[Row]:
    """Yield the factor of an ex-date with all its digits as text, the close it was made from, its effect, what it is of."""
    day = _needed(entry, "ex_date")
    who, known = _who(entry), _recorded(entry, delivered, "ts_created")
    event = text_of(entry.get("event_type")) or "unknown"
    number = entry.get("event_id")
    for name in _FACTORS:
        told = entry.get(name)
        if told is None:
            continue
        is_number = not isinstance(told, str) or isinstance(told, Digits)
        yield {
            **who,
            **known,
            "ts_event": datetime.combine(day, time(), UTC),
            "session_date": day,
            "measure": f"adjustment_{name}:{event}:{number}",
            "value": rounded(told, _NUMBER_SCALE, _NUMBER_DIGITS) if is_number else None,
            "text_value": str(told),
            "unit": {"factor": "ratio", "sentiment": "ratio", "close": who["currency"]}.get(name),
        }


# --- the security master


def _read_master(reader: Reader, entry: Object) -> None:
    reader.add_all(ISSUERS, _issuer, entry, reader.delivered)
    for scheme, name in _IDENTIFIERS:
        if text_of(entry.get(name)) is not None:
            reader.add(IDENTIFIERS, _identifier, entry, reader.delivered, scheme, name)
    for name in _CLASSES:
        if text_of(entry.get(name)) is not None:
            reader.add(CLASSIFICATIONS, _class, entry, reader.delivered, name)
    if entry.get("shares_outstanding") is not None:
        reader.add(FUNDAMENTALS, _shares, entry, reader.delivered)


def _listed(entry: Object, delivered: datetime | None) -> Row:
    """Return whose line of the master it is, and from which day it holds."""
    since = instant(entry.get("ts_effective"))[0].date()
    return {
        **_who(entry),
        **_recorded(entry, delivered),
        "start_date": since,
        "end_date": day_of(entry.get("delisting_date"), "delisting_date"),
    }


def _issuer(entry: Object, delivered: datetime | None) -> Iterator[Row]:
    cik, lei, name = (text_of(entry.get(key)) for key in ("cik", "lei", "issuer_name"))
    number = text_of(entry.get("issuer_id"))
    key = f"cik:{cik}" if cik else f"lei:{lei}" if lei else f"databento:{number}" if number else f"name:{name}" if name else None
    if key is None:
        raise NumberRefusedError("missing_issuer", None, "cik, lei, issuer_id or issuer_name")
    yield {**_listed(entry, delivered), "issuer": key, "issuer_name": name, "country": text_of(entry.get("register_country"))}


def _identifier(entry: Object, delivered: datetime | None, scheme: str, name: str) -> Row:
    text = text_of(entry.get(name)) or ""
    return {**_listed(entry, delivered), "scheme": scheme, "identifier": identifier_of(scheme, text)}


def _class(entry: Object, delivered: datetime | None, name: str) -> Row:
    return {**_listed(entry, delivered), "scheme": name, "level": name, "label": text_of(entry.get(name))}


def _shares(entry: Object, delivered: datetime | None) -> Row:
    day = _needed(entry, "shares_outstanding_date")
    return {
        **_who(entry),
        **_recorded(entry, delivered),
        "ts_event": instant(entry.get("ts_effective"))[0],
        "session_date": instant(entry.get("ts_effective"))[0].date(),
        "statement": "overview",
        "item": "shares_outstanding",
        "period": "point",
        "period_end": day,
        "value": exact(entry.get("shares_outstanding"), _NUMBER_SCALE, _NUMBER_DIGITS),
        "unit": "shares",
    }
