"""Yahoo's v8 chart answers: bars, and the dividends and splits beside them.

Prices are float images (`transforms.numbers.restored`), split-adjusted as of delivery; so are dividend amounts. What Yahoo
writes and what we make of it (PROVIDERS.md section 5):

- A daily row is stamped with its session's open; its date is that instant in `exchangeTimezoneName`, never in UTC.
- The last daily row may be *live*, stamped with the last trade. It is the newest version of its session's bar: its ts_open
  is the session's open, as an earlier row of that date or `currentTradingPeriod` tells; an earlier row of that date is refused
  as superseded_row. In other intervals such a row is a last price off the grid of bars, no bar: refused as live_row.
- `is_final` says whether the interval had ended at delivery (the Date header, `received_at` of the request, else the last
  trade that the answer knows).
- A row whose prices are all null holds no fact; one with some of them null is refused.
- An error body, an outage page, an empty answer are control: recorded as received, they say nothing about the market.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import TypeGuard
from zoneinfo import ZoneInfo

import msgspec
import pyarrow as pa

from lake.instants import EPOCH
from lake.values import Basis
from transforms.decode.decoded import BARS, CORPORATE_ACTIONS, Decoded, Refusals, Rows, decoded, payloads, texts
from transforms.decode.delivery import delivered_at, zone_named
from transforms.decode.yahoo_values import PRICE_TYPES, is_no_answer
from transforms.instruments import yahoo_asset_class
from transforms.numbers import (
    MOST_VOLUME_DIGITS,
    PRICE_SCALE,
    VOLUME_SCALE,
    NumberRefusedError,
    lowest_terms,
    restored,
)

_INTERVALS = {"1h": "60m"}
_MINUTES = {"1m": 1, "2m": 2, "5m": 5, "15m": 15, "30m": 30, "60m": 60, "90m": 90}
_DAYS = {"1d": 1, "5d": 5, "1wk": 7}
_MONTHS = {"1mo": 1, "3mo": 3}
_PRICES = ("open", "high", "low", "close")
_NEVER_SPLIT = {"index", "fx", "crypto", "future"}
_FIRST_S, _LAST_S = -2_208_988_800, 7_258_118_399
"""Stamps from 1900 to 2199: what is outside is no market's."""
_WHOLE_DAY_S = 23 * 3600
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class _Chart:
    """One answer: its meta, read once."""

    message: int
    symbol: str
    interval: str
    zone: ZoneInfo
    zone_name: str
    asset_class: str
    hints: Mapping[str, object]
    last_trade: int | None
    regular: tuple[int, int] | None
    """Start and end of the session that was current at delivery."""
    delivered: datetime | None

    def local_date(self, stamp: int) -> date:
        return (EPOCH + timedelta(seconds=stamp)).astimezone(self.zone).date()

    @property
    def known_until(self) -> datetime | None:
        """An instant up to which the answer surely knows the market."""
        if self.delivered is not None or self.last_trade is None:
            return self.delivered
        return EPOCH + timedelta(seconds=self.last_trade)


def decode(messages: pa.Table) -> Decoded:
    """Return what Yahoo's chart answers say: bars and corporate actions."""
    bars, actions, refused, skipped = Rows(BARS), Rows(CORPORATE_ACTIONS), Refusals(), 0
    requests, headers = texts(messages, "request"), texts(messages, "headers")
    statuses = messages["status"].to_pylist() if "status" in messages.column_names else [None] * messages.num_rows
    for message, payload in enumerate(payloads(messages)):
        if statuses[message] not in (None, 200) or is_no_answer(payload):
            continue
        try:
            result = _result(payload)
            if result is None:
                continue
            chart = _chart(message, result, delivered_at(headers[message], requests[message]))
            stamps = _list(result.get("timestamp", []), "timestamp")
            skipped += _read_bars(chart, stamps, result, bars, refused)
            _read_events(chart, len(stamps), result.get("events"), actions, refused)
        except NumberRefusedError as error:
            refused.add_message(message, error.rule, error.value, error.expected)
    return decoded({BARS: bars.to_table(), CORPORATE_ACTIONS: actions.to_table()}, refused, messages.num_rows, skipped)


def _result(payload: bytes) -> dict[str, object] | None:
    """Return chart.result[0], or None for an error body."""
    try:
        document = _decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, ValueError) as error:
        raise NumberRefusedError("malformed", payload[-200:], f"JSON ({error})") from error
    if isinstance(document, dict):
        for name in ("chart", "finance"):
            part = document.get(name)
            if isinstance(part, dict) and isinstance(part.get("error"), dict):
                return None
        part = document.get("chart")
        results = part.get("result") if isinstance(part, dict) else None
        if isinstance(results, list) and len(results) == 1 and isinstance(results[0], dict):
            return results[0]
    raise NumberRefusedError("malformed", payload[:200], "chart.result with one result, or an error")


def _chart(message: int, result: dict[str, object], delivered: datetime | None) -> _Chart:
    meta = _object(result.get("meta"), "meta")
    symbol, zone_name, granularity = (meta.get(key) for key in ("symbol", "exchangeTimezoneName", "dataGranularity"))
    if not isinstance(symbol, str) or not symbol:
        raise NumberRefusedError("missing_symbol", symbol, "meta.symbol")
    zone = zone_named(zone_name)
    if zone is None:
        raise NumberRefusedError("unknown_zone", zone_name, "meta.exchangeTimezoneName: an IANA time zone")
    interval = _INTERVALS.get(str(granularity), str(granularity))
    if interval not in _MINUTES and interval not in _DAYS and interval not in _MONTHS:
        raise NumberRefusedError("unknown_interval", granularity, ", ".join([*_MINUTES, *_DAYS, *_MONTHS]))
    asset_class = yahoo_asset_class(_text(meta.get("instrumentType")))
    hints = {
        "currency": _text(meta.get("currency")),
        "exchange": _text(meta.get("exchangeName")),
        "exchange_zone": str(zone_name),
        "asset_class": asset_class,
        "name": _text(meta.get("longName")) or _text(meta.get("shortName")),
    }
    last_trade = meta.get("regularMarketTime")
    period = meta.get("currentTradingPeriod")
    regular = period.get("regular") if isinstance(period, dict) else None
    start, end = (regular.get("start"), regular.get("end")) if isinstance(regular, dict) else (None, None)
    return _Chart(
        message=message,
        symbol=symbol,
        interval=interval,
        zone=zone,
        zone_name=str(zone_name),
        asset_class=asset_class,
        hints=hints,
        last_trade=last_trade if _is_stamp(last_trade) else None,
        regular=(start, end) if _is_stamp(start) and _is_stamp(end) else None,
        delivered=delivered,
    )


def _read_bars(chart: _Chart, stamps: list[object], result: Mapping[str, object], into: Rows, refused: Refusals) -> int:
    """Append the bars of an answer; return how many rows hold no fact."""
    if not stamps:
        return 0
    indicators = _object(result.get("indicators"), "indicators")
    quotes = _list(indicators.get("quote"), "indicators.quote")
    quote = _object(quotes[0] if quotes else None, "indicators.quote[0]")
    columns = {key: _column(quote, key, len(stamps)) for key in (*_PRICES, "volume")}
    adjusted = indicators.get("adjclose")
    closes = adjusted[0] if isinstance(adjusted, list) and adjusted else None
    columns["adjclose"] = _column(closes if isinstance(closes, dict) else {}, "adjclose", len(stamps))
    opens = _opens(chart, stamps)
    newest = {opened: index for index, opened in enumerate(opens)}
    skipped = 0
    for index, (stamp, opened) in enumerate(zip(stamps, opens, strict=True)):
        if all(columns[key][index] is None for key in _PRICES):
            skipped += 1
            continue
        try:
            if opened is None:
                raise NumberRefusedError("timestamp", stamp, "seconds from 1900 to 2199")
            if _is_off_grid(chart, stamp, stamps[index - 1] if index else None):
                raise NumberRefusedError("live_row", stamp, "the start of a bar; this is the last price beside the bars")
            if newest[opened] != index:
                raise NumberRefusedError(
                    "superseded_row", stamp, "one row a bar; a later row of this answer is its newest version"
                )
            into.add(chart.message, index, _bar(chart, opened, {key: column[index] for key, column in columns.items()}))
        except NumberRefusedError as error:
            refused.add(chart.message, index, BARS, error.rule, error.value, error.expected)
    return skipped


def _bar(chart: _Chart, opened: int, values: Mapping[str, object]) -> dict[str, object]:
    missing = [key for key in _PRICES if values[key] is None]
    if missing:
        raise NumberRefusedError("incomplete_bar", None, f"{', '.join(missing)}: a price, as the others have")
    prices: dict[str, object] = {key: restored(values[key], PRICE_SCALE) for key in _PRICES}
    until = chart.known_until
    return {
        **chart.hints,
        **prices,
        "symbol": chart.symbol,
        "session_date": chart.local_date(opened),
        "interval": chart.interval,
        "ts_open": EPOCH + timedelta(seconds=opened),
        "volume": _volume(values["volume"]),
        "provider_adjusted_close": None if values["adjclose"] is None else restored(values["adjclose"], PRICE_SCALE),
        "basis": Basis.AS_TRADED.value if chart.asset_class in _NEVER_SPLIT else Basis.SPLIT_ADJUSTED.value,
        "price_type": PRICE_TYPES.get(chart.asset_class, "trade"),
        "is_final": until is not None and _bar_end(chart, opened) <= until,
        "delivered_at": chart.delivered,
    }


def _volume(value: object) -> Decimal | None:
    return None if value is None else restored(value, VOLUME_SCALE, MOST_VOLUME_DIGITS)


def _opens(chart: _Chart, stamps: Sequence[object]) -> list[int | None]:
    """Return the start of each row's bar: its stamp, but for a live daily row the open of its session."""
    opens: list[int | None] = [stamp if _is_stamp(stamp) else None for stamp in stamps]
    last = opens[-1]
    if chart.interval != "1d" or last is None or last != chart.last_trade:
        return opens
    day = chart.local_date(last)
    before = next((opened for opened in reversed(opens[:-1]) if opened is not None), None)
    if before is not None and chart.local_date(before) == day:
        opens[-1] = before
    elif chart.regular is not None and chart.local_date(chart.regular[0]) == day:
        opens[-1] = chart.regular[0]
    return opens


def _is_off_grid(chart: _Chart, stamp: object, before: object) -> bool:
    """Whether a row of an interval other than a day is the last price, not a bar."""
    if chart.interval == "1d" or not _is_stamp(stamp) or stamp != chart.last_trade:
        return False
    if chart.interval not in _MINUTES:
        return (EPOCH + timedelta(seconds=stamp)).astimezone(chart.zone).time() != datetime.min.time()
    if stamp % 60 or not _is_stamp(before) or chart.local_date(before) != chart.local_date(stamp):
        return stamp % 60 != 0
    return (stamp - before) % (_MINUTES[chart.interval] * 60) != 0


def _bar_end(chart: _Chart, opened: int) -> datetime:
    """Return when the bar's interval ends: the session's close where the answer tells it, else the exchange's midnight."""
    start = EPOCH + timedelta(seconds=opened)
    if chart.interval in _MINUTES:
        return start + timedelta(minutes=_MINUTES[chart.interval])
    day = chart.local_date(opened)
    regular = chart.regular if chart.interval == "1d" else None
    if regular is not None and chart.local_date(regular[0]) == day and regular[1] - regular[0] < _WHOLE_DAY_S:
        return EPOCH + timedelta(seconds=regular[1])
    if chart.interval in _DAYS:
        ended = day + timedelta(days=_DAYS[chart.interval])
    else:
        months = day.year * 12 + day.month - 1 + _MONTHS[chart.interval]
        ended = date(months // 12, months % 12 + 1, 1)
    return datetime.combine(ended, datetime.min.time(), chart.zone)


def _read_events(chart: _Chart, first_ordinal: int, events: object, into: Rows, refused: Refusals) -> None:
    """Append dividends and splits; anything else in `events` is refused as unsupported_action."""
    if events is None:
        return
    ordinal = first_ordinal
    keys: Counter[str] = Counter()
    for kind, found in _object(events, "events").items():
        entries = found.values() if isinstance(found, dict) else found if isinstance(found, list) else [found]
        for entry in entries:
            try:
                action = _action(chart, kind, entry)
                key = str(action["action_key"])
                keys[key] += 1
                if keys[key] > 1:
                    action["action_key"] = f"{key}:{keys[key]}"
                into.add(chart.message, ordinal, action)
            except NumberRefusedError as error:
                refused.add(chart.message, ordinal, CORPORATE_ACTIONS, error.rule, error.value, error.expected)
            ordinal += 1


def _action(chart: _Chart, kind: str, entry: object) -> dict[str, object]:
    if kind not in ("dividends", "splits"):
        raise NumberRefusedError("unsupported_action", f"{kind}: {entry}", "dividends or splits")
    told = _object(entry, kind)
    stamp = told.get("date")
    if not _is_stamp(stamp):
        raise NumberRefusedError("timestamp", stamp, "date: seconds from 1900 to 2199")
    ex_date = chart.local_date(stamp)
    action: dict[str, object] = {
        **chart.hints,
        "symbol": chart.symbol,
        "ex_date": ex_date,
        "status": "confirmed",
        "delivered_at": chart.delivered,
    }
    if kind == "dividends":
        return action | {
            "action_key": f"{chart.symbol}:dividend:{ex_date}",
            "kind": "cash_dividend",
            "amount": restored(told.get("amount"), PRICE_SCALE),
            "currency": _text(told.get("currency")) or chart.hints["currency"],
            "share_basis": Basis.SPLIT_ADJUSTED.value,
        }
    new, old = lowest_terms(restored(told.get("numerator"), PRICE_SCALE), restored(told.get("denominator"), PRICE_SCALE))
    return action | {"action_key": f"{chart.symbol}:split:{ex_date}", "kind": "split", "ratio_new": new, "ratio_old": old}


def _is_stamp(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and _FIRST_S <= value <= _LAST_S


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _object(value: object, name: str) -> dict[str, object]:
    if not isinstance(value, dict):
        raise NumberRefusedError("malformed", value, f"{name}: an object")
    return value


def _list(value: object, name: str) -> list[object]:
    if not isinstance(value, list):
        raise NumberRefusedError("malformed", value, f"{name}: a list")
    return value


def _column(quote: Mapping[str, object], key: str, length: int) -> list[object]:
    """Return one column of numbers, all null where the answer has none; raises when its length is another."""
    values = quote.get(key)
    if values is None:
        return [None] * length
    if not isinstance(values, list) or len(values) != length:
        raise NumberRefusedError("malformed", f"{key}: {values!r}", f"{length} values, as there are timestamps")
    return values
