"""Lists about instruments and venues: ISO 10383, ISO 4217, symbol directories, index members, identifiers, symbol changes.

Layouts: the ISO 10383 list (before and since 2022), DataHub's currency codes, Nasdaq Trader's symbol directory (nasdaq and
other listed), S&P 500 constituents of today and membership intervals, FinanceDatabase's equities, and two of our own, changes
of symbols and joins of instruments (columns: see `decode_changes`, `decode_joins`).

A membership is known from its start on, its end from the end on: two versions. Kept in raw only: summaries, zip codes, names
of entities that use a currency, Nasdaq's CQS symbols.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date, timedelta

import pyarrow as pa

from lake.values import instrument_id_of
from transforms.decode.decoded import (
    CLASSIFICATIONS,
    CURRENCIES,
    IDENTIFIERS,
    INDEX_CONSTITUENTS,
    INSTRUMENT_JOINS,
    ISSUERS,
    SYMBOL_CHANGES,
    TRADING_RULES,
    VENUES,
    Decoded,
)
from transforms.decode.reference_files import (
    Fact,
    ListFile,
    Record,
    Refused,
    csv_records,
    day_told,
    decode_lists,
    midnight,
    needed_text,
    read_files,
    refused_record,
)
from transforms.identifiers import identifier_of
from transforms.numbers import NumberRefusedError, scaled_digits

CONSTITUENT_TABLES = (INDEX_CONSTITUENTS, IDENTIFIERS, CLASSIFICATIONS, ISSUERS)
LISTING_TABLES = (CLASSIFICATIONS, TRADING_RULES)
EQUITY_TABLES = (CLASSIFICATIONS, IDENTIFIERS, ISSUERS)
MINOR_UNITS = {
    "GBX": ("GBP", 100, "Penny sterling"), "GBp": ("GBP", 100, "Penny sterling"), "ZAc": ("ZAR", 100, "South African cent"),
    "ZAC": ("ZAR", 100, "South African cent"), "ILA": ("ILS", 100, "Agora"), "ILa": ("ILS", 100, "Agora"),
    "KWF": ("KWD", 1000, "Kuwaiti fils"), "USX": ("USD", 100, "US cent"), "USc": ("USD", 100, "US cent"),
}  # fmt: skip
"""Minor units that prices are quoted in, as providers spell them: currency, how many make one, name."""

_MIC = re.compile(r"[A-Z0-9]{4}\Z")
_CODE = re.compile(r"[A-Z]{3}\Z")
_SHARE_CLASS = re.compile(r"\bClass ([A-Z])\b", re.IGNORECASE)
_EXCHANGES = {"N": "XNYS", "A": "XASE", "P": "ARCX", "Z": "BATS", "V": "IEXG"}
_FOOTER = "File Creation Time"
_LAST_DAY = date(2050, 1, 1)
"""A map file's last line says until when its symbol is known to last: from here on, for ever."""


def decode_venues(messages: pa.Table) -> Decoded:
    """Return the venues of the ISO 10383 list."""
    return decode_lists(messages, (VENUES,), (("mic", "operating mic"),), _venue)


def _venue(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    mic, operating = needed_text(record, "mic").upper(), needed_text(record, "operating mic").upper()
    for one in (mic, operating):
        if not _MIC.match(one):
            raise NumberRefusedError("malformed_mic", one, "four letters and digits")
    kind = record.get("o/s") or record.get("oprt/sgmt") or ("O" if mic == operating else "S")
    status = (record.get("status") or "ACTIVE").lower()
    created = record.get("creation date")
    ended = record.get("expiry date") or (record.get("status date") if status in ("deleted", "expired") else None)
    comments = record.get("comments")
    if created is not None and created.upper().startswith("BEFORE "):
        comments, created = f"{comments or ''} CREATED {created}".strip(), None
    yield Fact(
        VENUES,
        {
            "mic": mic,
            "start_date": day_told(created, "creation date"),
            "end_date": day_told(ended, "expiry date"),
            "operating_mic": operating,
            "is_segment": kind.upper().startswith("S"),
            "venue_name": record.get("name-institution description") or record.get("market name-institution description"),
            "acronym": record.get("acronym"),
            "country": record.get("iso country code (iso 3166)"),
            "city": record.get("city"),
            "website": record.get("website"),
            "status": status,
            "comments": comments,
        },
    )


def decode_currencies(messages: pa.Table) -> Decoded:
    """Return the currencies of ISO 4217, each once a list, and beside them the minor units of those that have any."""

    def read(file: ListFile, payload: bytes) -> Iterator[Iterator[Fact | Refused]]:
        seen: set[str] = set()
        for record in csv_records(payload, (("alphabeticcode", "numericcode"),)):
            yield refused_record(record) if isinstance(record, NumberRefusedError) else _currency(record, seen)

    return read_files(messages, (CURRENCIES,), read)


def _currency(record: Record, seen: set[str]) -> Iterator[Fact | Refused]:
    code = record.get("alphabeticcode")
    if code is None or code in seen:
        return  # an entity without a currency of its own, or one more entity that uses this one
    if not _CODE.match(code):
        raise NumberRefusedError("malformed_currency", code, "three capital letters")
    seen.add(code)
    digits = record.get("minorunit")
    withdrawn = record.get("withdrawaldate")
    yield Fact(
        CURRENCIES,
        {
            "currency_code": code,
            "numeric_code": record.get("numericcode"),
            "minor_digits": int(digits) if digits is not None and re.fullmatch("[0-9]", digits) else None,
            "end_date": None if withdrawn is None else _month(withdrawn.split(" to ")[-1]),
            "units_per_major": 1,
            "currency_name": record.get("currency"),
        },
    )
    for minor, (major, count, name) in MINOR_UNITS.items():
        if major == code and withdrawn is None:
            yield Fact(
                CURRENCIES,
                {"currency_code": minor, "major_currency": major, "units_per_major": count, "currency_name": name},
            )


def _month(text: str) -> date | None:
    """Return the first day of a month written 2002-03, or of a year."""
    return day_told({4: f"{text}-01-01", 7: f"{text}-01"}.get(len(text), text), "withdrawal date")


def decode_listings(messages: pa.Table) -> Decoded:
    """Return what Nasdaq Trader's symbol directory tells: classes of each symbol and its round lot; who it is by its place."""
    needed = (("symbol", "market category"), ("act symbol", "company name"))
    return decode_lists(messages, LISTING_TABLES, needed, _listing)


def _listing(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    symbol = record.get("symbol") or record.get("act symbol")
    if symbol is None or symbol.startswith(_FOOTER):
        return
    exchange = record.get("exchange")
    if exchange is not None and exchange not in _EXCHANGES:
        raise NumberRefusedError("unknown_venue", exchange, ", ".join(_EXCHANGES))
    is_etf = record.get("etf") == "Y"
    who = {
        "symbol": symbol,
        "mic": _EXCHANGES[exchange] if exchange else "XNAS" if "market category" in record else "XNYS",
        "asset_class": "etf" if is_etf else "equity",
        "name": record.get("security name") or record.get("company name"),
    }
    for level in ("market category", "exchange", "test issue", "financial status", "etf", "nextshares"):
        label = record.get(level)
        if label is not None:
            yield Fact(CLASSIFICATIONS, {**who, "scheme": "nasdaq", "level": level.replace(" ", "_"), "label": label})
    lot = record.get("round lot size")
    rules = {"market": who["mic"], "product_kind": who["asset_class"], "product": symbol}
    if lot is not None:
        yield Fact(TRADING_RULES, {**who, **rules, "round_lot": scaled_digits(lot, 0)})
    if lot is None and "test issue" not in record:
        yield Fact(CLASSIFICATIONS, {**who, "scheme": "nasdaq", "level": "exchange", "label": "N"})


def decode_constituents(messages: pa.Table) -> Decoded:
    """Return the members of an index today: since when, CIK, GICS classes, issuer. The file's name begins with the index."""
    return decode_lists(messages, CONSTITUENT_TABLES, (("symbol", "security", "gics sector"),), _constituent)


def _constituent(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    symbol, name = needed_text(record, "symbol"), needed_text(record, "security")
    who = {"symbol": symbol, "exchange": "US", "name": name}
    try:
        added = day_told(needed_text(record, "date added"), "date added")
        yield Fact(
            INDEX_CONSTITUENTS, {**who, "index_name": _index(file), "start_date": added, "known_at": added and midnight(added)}
        )
    except NumberRefusedError as error:
        yield Refused(INDEX_CONSTITUENTS, error)
    for column, level in (("gics sector", "sector"), ("gics sub-industry", "sub_industry")):
        label = record.get(column)
        if label is not None:
            yield Fact(CLASSIFICATIONS, {**who, "scheme": "gics", "level": level, "label": label})
    cik = record.get("cik")
    key = f"name:{name}"
    if cik is not None:
        try:
            number = identifier_of("cik", cik)
            key = f"cik:{number}"
            yield Fact(IDENTIFIERS, {**who, "scheme": "cik", "identifier": number})
        except NumberRefusedError as error:
            yield Refused(IDENTIFIERS, error)
    city, _, region = (record.get("headquarters location") or "").partition(",")
    share_class = _SHARE_CLASS.search(name)
    yield Fact(
        ISSUERS,
        {
            **who,
            "issuer": key,
            "issuer_name": _SHARE_CLASS.sub("", name).replace("()", "").strip(),
            "share_class": share_class[1].upper() if share_class else None,
            "city": city.strip() or None,
            "region": region.strip() or None,
            "founded": record.get("founded"),
        },
    )


def decode_membership(messages: pa.Table) -> Decoded:
    """Return intervals of membership in an index: [start_date, end_date). The file's name begins with the index."""
    return decode_lists(messages, (INDEX_CONSTITUENTS,), (("ticker", "start_date"),), _membership)


def _membership(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    start, end = day_told(needed_text(record, "start_date"), "start_date"), day_told(record.get("end_date"), "end_date")
    if start is None or (end is not None and end <= start):
        raise NumberRefusedError("dates_reversed", f"{start} {end}", "an end after the start")
    told = {"symbol": needed_text(record, "ticker"), "exchange": "US", "index_name": _index(file), "start_date": start}
    yield Fact(INDEX_CONSTITUENTS, {**told, "known_at": midnight(start)})
    if end is not None:
        yield Fact(INDEX_CONSTITUENTS, {**told, "end_date": end, "known_at": midnight(end)})


def _index(file: ListFile) -> str:
    found = re.match(r"[A-Za-z0-9]+", file.stem)
    if found is None:
        raise NumberRefusedError("missing_index", file.stem, "a file named after the index, like sp500_constituents.csv")
    return found[0].upper()


def decode_equities(messages: pa.Table) -> Decoded:
    """Return what FinanceDatabase tells of equities: identifiers, classes, issuer."""
    return decode_lists(messages, EQUITY_TABLES, (("symbol", "name", "isin", "mic"), ("symbol", "name", "figi", "mic")), _equity)


def _equity(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    who = {
        "symbol": needed_text(record, "symbol"),
        "mic": record.get("mic"),
        "currency": record.get("currency"),
        "name": record.get("name"),
        "asset_class": "equity",
    }
    for level in ("sector", "industry_group", "industry", "market_cap", "delisted"):
        label = record.get(level)
        if label is not None:
            yield Fact(CLASSIFICATIONS, {**who, "scheme": "financedatabase", "level": level, "label": label})
    schemes = {"shareclass_figi": "share_class_figi"}
    for column in ("isin", "cusip", "figi", "composite_figi", "shareclass_figi"):
        text = record.get(column)
        if text is None:
            continue
        scheme = schemes.get(column, column)
        try:
            yield Fact(IDENTIFIERS, {**who, "scheme": scheme, "identifier": identifier_of(scheme, text)})
        except NumberRefusedError as error:
            yield Refused(IDENTIFIERS, error)
    name = record.get("name")
    if name is not None:
        issuer = {"issuer": f"name:{name}", "issuer_name": name, "country": record.get("country"), "city": record.get("city")}
        yield Fact(ISSUERS, {**who, **issuer, "region": record.get("state"), "website": record.get("website")})


def decode_changes(messages: pa.Table) -> Decoded:
    """Return changes of symbols: a list of scope (US, or a MIC), old_symbol, new_symbol (empty: given up), effective_date."""
    return decode_lists(messages, (SYMBOL_CHANGES,), (("scope", "old_symbol", "new_symbol", "effective_date"),), _change)


def _change(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    scope, old, new = needed_text(record, "scope"), needed_text(record, "old_symbol"), record.get("new_symbol")
    day = day_told(needed_text(record, "effective_date"), "effective_date")
    yield from _changed(scope, old, new, day)


def _changed(scope: str, old: str, new: str | None, day: date | None) -> Iterator[Fact | Refused]:
    if day is None or old == new:
        raise NumberRefusedError("unchanged_symbol", f"{old} {new}", "another symbol, or none")
    change = {"scope": scope, "old_symbol": old, "new_symbol": new, "start_date": day, "known_at": midnight(day)}
    yield Fact(SYMBOL_CHANGES, change)


def decode_map_files(messages: pa.Table) -> Decoded:
    """Return changes of symbols from Lean's map files: lines of the last day of a symbol, the symbol, the exchange.

    The first line names the first day; a last line before 2050 says that the symbol was given up after that day.
    """

    def read(file: ListFile, payload: bytes) -> Iterator[Iterator[Fact | Refused]]:
        records = csv_records(b"day,symbol,exchange\n" + payload, (("day", "symbol"),))
        before: tuple[date, str] | None = None
        for record in records:
            if isinstance(record, NumberRefusedError):
                yield refused_record(record)
                continue
            try:
                day, symbol = day_told(needed_text(record, "day"), "day"), needed_text(record, "symbol").upper()
            except NumberRefusedError as error:
                yield refused_record(error)
                return
            if day is None or (before is not None and day <= before[0]):
                yield refused_record(NumberRefusedError("dates_reversed", f"{day} {symbol}", "days in order"))
                return
            if before is not None and before[1] != symbol:
                yield _changed("US", before[1], symbol, before[0] + timedelta(days=1))
            before = (day, symbol)
        if before is None:
            raise NumberRefusedError("malformed", payload[:200], "lines of day, symbol, exchange")
        if before[0] < _LAST_DAY:
            yield _changed("US", before[1], None, before[0] + timedelta(days=1))

    return read_files(messages, (SYMBOL_CHANGES,), read)


def decode_joins(messages: pa.Table) -> Decoded:
    """Return joins from a list with identity, joined_identity, start_date, end_date, reason: what the first is from then on."""
    return decode_lists(messages, (INSTRUMENT_JOINS,), (("identity", "joined_identity"),), _join)


def _join(file: ListFile, record: Record) -> Iterator[Fact | Refused]:
    identity, other = needed_text(record, "identity"), needed_text(record, "joined_identity")
    start, end = day_told(record.get("start_date"), "start_date"), day_told(record.get("end_date"), "end_date")
    if identity == other or any(":" not in one for one in (identity, other)):
        raise NumberRefusedError("malformed_identity", f"{identity} {other}", "two identity keys like listing:US/META")
    if start is not None and end is not None and end <= start:
        raise NumberRefusedError("dates_reversed", f"{start} {end}", "an end after the start")
    yield Fact(
        INSTRUMENT_JOINS,
        {
            "identity": identity,
            "joined_identity": other,
            "joined_id": instrument_id_of(other),
            "start_date": start or date(1900, 1, 1),
            "end_date": end,
            "reason": record.get("reason"),
        },
    )
