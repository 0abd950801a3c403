"""Finnhub's lists: symbols of an exchange, holidays of an exchange, changes of symbols.

A listing gives its type as a class and its identifiers; a day that differs is a day of `market_hours`, with the hours it tells
or none. A change counts within the US where both names are plain, else among Finnhub's own names. What is told is known from
its delivery on. Kept in raw only: whether an exchange is open now (`/stock/market-status`), changes of ISINs, members of
indices (they tell no date, or removals alone), peers, searches, profiles, calendars: each named in its refusal.
Source: PROVIDERS.md section 2, Finnhub's documentation; bodies made by hand in its form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

import pyarrow as pa

from transforms.decode.decoded import CLASSIFICATIONS, IDENTIFIERS, MARKET_HOURS, SYMBOL_CHANGES, Decoded
from transforms.decode.delivery import zone_named
from transforms.decode.exchange_symbols import US, hints
from transforms.decode.finnhub import answer_of
from transforms.decode.json_digits import text_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.decode.spans import day_of
from transforms.identifiers import identifier_of
from transforms.numbers import NumberRefusedError

REFERENCE_TABLES = (CLASSIFICATIONS, IDENTIFIERS, MARKET_HOURS, SYMBOL_CHANGES)
_CLASSES = {
    "Common Stock": "equity", "ADR": "equity", "GDR": "equity", "REIT": "equity", "NY Reg Shrs": "equity", "Preference": "equity",
    "Dutch Cert": "equity", "Stapled Security": "equity", "MLP": "equity", "Ltd Part": "equity", "ETP": "etf",
    "Open-End Fund": "fund", "Closed-End Fund": "fund", "Mutual Fund": "fund", "Fund of Funds": "fund",
}  # fmt: skip
"""Type of a listing -> asset class; any other is `other`, and an empty one is not told."""
_SCHEMES = {"figi": "figi", "isin": "isin", "shareClassFIGI": "share_class_figi"}
_HOURS = re.compile(r"(\d\d:\d\d)-(\d\d:\d\d)\Z", re.ASCII)


def decode_reference(messages: pa.Table) -> Decoded:
    """Return classes and identifiers of listings, days that differ, changes of symbols; other lists are refused as raw_only."""
    reader = _Reader(REFERENCE_TABLES)
    return read_messages(reader, messages, reader.answer)


class _Reader(Reader):
    """Reads lists."""

    def answer(self, payload: bytes) -> None:
        """Append what a payload says. Raises NumberRefusedError for a list that no table holds."""
        found = answer_of(payload)
        if not found:
            return
        told = found if isinstance(found, dict) else {}
        entries = found if isinstance(found, list) else told.get("data")
        if isinstance(entries, list) and "timezone" in told:
            for entry in entries:
                self.add(MARKET_HOURS, self._day, told, entry)
        elif isinstance(found, list) and any(isinstance(each, dict) and "displaySymbol" in each for each in found):
            for entry in found:
                self._listing(entry)
        elif isinstance(entries, list) and all(isinstance(each, dict) and "oldSymbol" in each for each in entries):
            for entry in entries:
                self.add(SYMBOL_CHANGES, self._change, entry)
        else:
            raise NumberRefusedError("raw_only", payload[:200], "symbols of an exchange, holidays, changes of symbols")

    def _listing(self, entry: object) -> None:
        try:
            who = _who(object_of(entry, "a listing"))
        except NumberRefusedError as error:
            return self.refuse(CLASSIFICATIONS, error)
        told = object_of(entry)
        self.add_all(CLASSIFICATIONS, _classes, told, who | {"delivered_at": self.delivered})
        for name, scheme in _SCHEMES.items():
            text = text_of(told.get(name))
            if text is not None:
                self.add(IDENTIFIERS, _identifier, who | {"delivered_at": self.delivered}, scheme, text)

    def _day(self, told: Object, entry: object) -> Row:
        exchange, each = text_of(told.get("exchange")), object_of(entry, "a holiday")
        zone, day = told.get("timezone"), day_of(each.get("atDate"), "atDate")
        if exchange is None or zone_named(zone) is None or day is None:
            raise NumberRefusedError("malformed_market", entry, "exchange, timezone and atDate")
        row: Row = {
            "market": exchange, "zone": zone, "weekday_key": day.isoformat(), "day": day, "delivered_at": self.delivered,
        }  # fmt: skip
        text = text_of(each.get("tradingHour"))
        if text is None:
            return row | {"day_kind": "holiday", "local_start": "00:00:00"}
        hours = _HOURS.match(text)
        if hours is None or not hours[1] < hours[2] <= "24:00":
            raise NumberRefusedError("malformed_time", text, "tradingHour: local times like 09:30-13:00, or nothing")
        return row | {"day_kind": "early_close", "local_start": f"{hours[1]}:00", "local_end": f"{hours[2]}:00"}

    def _change(self, entry: object) -> Row:
        told = object_of(entry)
        old, new, day = text_of(told.get("oldSymbol")), text_of(told.get("newSymbol")), _effective(told)
        if old is None or old == new:
            raise NumberRefusedError("unchanged_symbol", f"{old} {new}", "another symbol, or none")
        names = [old] if new is None else [old, new]
        is_american = all(hints(name).get("exchange") == US for name in names)
        scope = US if is_american else "provider:finnhub"
        return {"scope": scope, "old_symbol": old, "new_symbol": new, "start_date": day, "delivered_at": self.delivered}


def _effective(told: Object) -> date:
    found = day_of(told.get("atDate"), "atDate")
    if found is None:
        raise NumberRefusedError("missing_date", told, "atDate")
    return found


def _who(told: Object) -> Row:
    symbol = text_of(told.get("symbol"))
    if symbol is None:
        raise NumberRefusedError("missing_symbol", told, "symbol")
    kind = text_of(told.get("type"))
    shared = hints(symbol) | {
        "symbol": symbol,
        "name": text_of(told.get("description")),
        "asset_class": None if kind is None else _CLASSES.get(kind, "other"),
    }
    mic, currency = text_of(told.get("mic")), text_of(told.get("currency"))
    return shared | ({"mic": mic} if mic else {}) | ({"currency": currency} if currency else {})


def _classes(told: Object, who: Row) -> Iterator[Row]:
    """Return the class of a listing; none where its type is not told."""
    kind = text_of(told.get("type"))
    if kind is not None:
        yield who | {"scheme": "finnhub", "level": "type", "label": kind}


def _identifier(who: Row, scheme: str, text: str) -> Row:
    return who | {"scheme": scheme, "identifier": identifier_of(scheme, text)}
