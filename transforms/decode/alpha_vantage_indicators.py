"""Alpha Vantage's derived series and lists: technical indicators, sectors, ratings, movers, economic series and commodities.

An indicator's value is a measure of its symbol, named with its settings (`SMA(15min,10,close)`), at the stamp it tells; a stamp
without a time is the midnight after that day. A sector's performance, an economic series and a commodity are levels: the
sector's or the series' own name is their symbol. A mover's numbers are of the time of the list.
Source: recorded answers of alpha_vantage and alphavantage-java; movers and economic series by the documentation.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from transforms.decode.alpha_vantage_series import META, answer_of, named, stamp_of
from transforms.decode.decoded import ALTERNATIVE, INDEX_LEVELS, Decoded
from transforms.decode.delivery import zone_named
from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import Digits, rounded, text_of
from transforms.decode.measures import NUMBER_DIGITS, NUMBER_SCALE, lines, text_value_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.decode.spans import NEW_YORK
from transforms.numbers import NumberRefusedError

INDICATOR_TABLES = (INDEX_LEVELS, ALTERNATIVE)
_INDICATOR = "Technical Analysis: "
_RATING = "Crypto Rating (FCAS)"
_LISTS = ("top_gainers", "top_losers", "most_actively_traded")
_PERCENT = re.compile(r"(-?\d{1,10}(?:\.\d{1,10})?)%\Z")
_CLOCK = re.compile(r"(\d\d:\d\d) (AM|PM) ET (\d\d/\d\d/\d{4})\Z")
_ZONED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (\S+)\Z")
_NO_VALUE = (".", "", "None")


def decode_indicators(messages: pa.Table) -> Decoded:
    """Return levels of sectors and economic series, measures of indicators, ratings and movers."""
    reader = _Reader(INDICATOR_TABLES)
    return read_messages(reader, messages, reader.answer)


class _Reader(Reader):
    """Reads answers of the four kinds."""

    def answer(self, payload: bytes) -> None:
        """Append what a payload says. Raises NumberRefusedError when it is none of them."""
        found = answer_of(payload)
        if found is None:
            return
        told = object_of(found)
        technical = next((name for name in told if name.startswith(_INDICATOR)), None)
        if technical is not None:
            self._indicator(told, technical)
        elif any(name.startswith("Rank ") for name in told):
            self._sectors(told)
        elif isinstance(told.get(_RATING), dict):
            self.add_all(ALTERNATIVE, _rating, named(object_of(told[_RATING])), self.delivered)
        elif any(name in told for name in _LISTS):
            self._movers(told)
        elif isinstance(told.get("data"), list) and "name" in told:
            self._economic(told)
        else:
            raise NumberRefusedError("unsupported_answer", sorted(told)[:6], "an indicator, sectors, a rating, movers, a series")

    def _indicator(self, told: Object, name: str) -> None:
        meta, entries = named(object_of(told.get(META))), object_of(told[name])
        symbol, zone_name = text_of(meta.get("Symbol")), str(meta.get("Time Zone")).removesuffix(" Time")
        zone = zone_named(zone_name)
        if symbol is None or zone is None:
            raise NumberRefusedError("missing_symbol", meta, "Symbol and Time Zone")
        settings = [str(meta[key]) for key in ("Interval", "Time Period", "Series Type") if key in meta]
        who = hints(symbol) | {"symbol": symbol, "exchange_zone": zone_name, "delivered_at": self.delivered}
        for stamp, values in entries.items():
            self.add_all(ALTERNATIVE, _values, who, stamp, values, zone, ",".join(settings))

    def _sectors(self, told: Object) -> None:
        at = _refreshed(object_of(told.get(META)).get("Last Refreshed"))
        for rank, sectors in told.items():
            if rank != META:
                measure = rank.partition(": ")[2] or rank
                for sector, value in object_of(sectors).items():
                    self.add(INDEX_LEVELS, _sector, sector, measure, value, at, self.delivered)

    def _movers(self, told: Object) -> None:
        at = _refreshed(told.get("last_updated"))
        for name in _LISTS:
            entries = told.get(name)
            for entry in entries if isinstance(entries, list) else []:
                self.add_all(ALTERNATIVE, _mover, name, entry, at, self.delivered)

    def _economic(self, told: Object) -> None:
        entries = told["data"]
        for entry in entries if isinstance(entries, list) else []:
            if isinstance(entry, dict) and entry.get("value") in _NO_VALUE:
                self.skipped += 1  # a day without an observation
            else:
                self.add(INDEX_LEVELS, _observation, told, entry, self.delivered)


def _values(who: Row, stamp: str, values: object, zone: ZoneInfo, settings: str) -> Iterator[Row]:
    at = stamp_of(stamp, zone)
    after = at + timedelta(days=1) if len(stamp) == 10 else at
    told = object_of(values)
    shared = who | {"ts_event": after.astimezone(UTC), "session_date": at.date()}
    for row in lines(shared, "measure", told, told, text_value_of):
        yield row | {"measure": f"{row['measure']}({settings})"}


def _sector(sector: str, measure: str, value: object, at: datetime, delivered: datetime | None) -> Row:
    found = _PERCENT.match(value) if isinstance(value, str) else None
    if found is None:
        raise NumberRefusedError("malformed_number", value, "a percentage like 1.38%")
    return {
        "symbol": sector,
        "asset_class": "index",
        "exchange_zone": "America/New_York",
        "measure": measure,
        "value": rounded(Digits(found[1]), NUMBER_SCALE, NUMBER_DIGITS),
        "unit": "percent",
        "ts_event": at,
        "delivered_at": delivered,
    }


def _rating(told: Object, delivered: datetime | None) -> Iterator[Row]:
    symbol, zone = text_of(told.get("symbol")), zone_named(told.get("timezone"))
    if symbol is None or zone is None:
        raise NumberRefusedError("missing_symbol", told, "symbol and timezone")
    at = stamp_of(str(told.get("last refreshed")), zone).astimezone(UTC)
    shared = {"symbol": symbol, "asset_class": "crypto", "ts_event": at, "delivered_at": delivered}
    return lines(shared, "measure", told, (name for name in told if "fcas" in name or name.endswith("score")), text_value_of)


def _mover(ranked: str, entry: object, at: datetime, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    symbol = text_of(told.get("ticker"))
    if symbol is None:
        raise NumberRefusedError("missing_symbol", told, "ticker")
    shared = {"symbol": symbol, "exchange": "US", "ts_event": at, "delivered_at": delivered}
    for name, value in told.items():
        percent = _PERCENT.match(value) if isinstance(value, str) else None
        found = {} if name == "ticker" else text_value_of(percent[1] if percent is not None else value)
        if found:
            yield shared | {"measure": f"{ranked}.{name}", "unit": None if percent is None else "percent"} | found


def _observation(told: Object, entry: object, delivered: datetime | None) -> Row:
    name, each = text_of(told.get("name")), object_of(entry)
    if name is None:
        raise NumberRefusedError("missing_symbol", told.get("name"), "name")
    at = stamp_of(str(each.get("date")), NEW_YORK)
    found = text_value_of(each.get("value"))
    if "value" not in found:
        raise NumberRefusedError("malformed_number", each.get("value"), "a number")
    return found | {
        "symbol": name,
        "asset_class": "index",
        "exchange_zone": "America/New_York",
        "measure": f"level,{text_of(told.get('interval')) or 'unknown'}",
        "unit": text_of(told.get("unit")),
        "session_date": at.date(),
        "ts_event": (at + timedelta(days=1)).astimezone(UTC),
        "delivered_at": delivered,
    }


def _refreshed(text: object) -> datetime:
    """Return the instant of `2022-03-21 07:03:51 US/Eastern` or `02:08 PM ET 12/20/2017`. Raises NumberRefusedError."""
    told = text if isinstance(text, str) else ""
    zoned, clock = _ZONED.match(told), _CLOCK.match(told)
    zone = zone_named(zoned[2]) if zoned is not None else None
    if zoned is not None and zone is not None:
        return stamp_of(zoned[1], zone).astimezone(UTC)
    try:
        if clock is not None:
            found = datetime.strptime(f"{clock[3]} {clock[1]} {clock[2]}", "%m/%d/%Y %I:%M %p").replace(tzinfo=NEW_YORK)
            return stamp_of(f"{found:%Y-%m-%d %H:%M}", NEW_YORK).astimezone(UTC)
    except ValueError as error:
        raise NumberRefusedError("timestamp", text, "a time with its zone") from error
    raise NumberRefusedError("timestamp", text, "a time with its zone")
