"""Alpha Vantage: time series of stocks, FX and digital currencies, quotes, and every refusal that comes with HTTP 200.

Keys are matched on the name after the dot, never on the number (`volume` is 5 or 6). Numbers are texts, digit by digit.
Stamps are local to the zone of the metadata. Refusals (`Note`, `Information`, `Error Message`, the artificial sample of a
premium endpoint) are told by the absence of data, in CSV answers too, and are control. Daily prices are as traded; intraday
stock prices are adjusted for splits and dividends unless the request says adjusted=false. Source: PROVIDERS.md section 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction

import pyarrow as pa

from lake.values import Basis
from transforms.decode.alpha_vantage_series import (
    Series,
    csv_series,
    is_csv,
    is_refusal,
    json_series,
    named,
    pair_class,
    stamp_of,
)
from transforms.decode.decoded import (
    BARS,
    CORPORATE_ACTIONS,
    QUOTES,
    Decoded,
    Refusals,
    Rows,
    decoded,
    payloads,
    texts,
)
from transforms.decode.delivery import delivered_at, zone_named
from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import asked, asked_at, document, text_of
from transforms.numbers import (
    MOST_VOLUME_DIGITS,
    PRICE_SCALE,
    VOLUME_SCALE,
    NumberRefusedError,
    exact_decimal,
    lowest_terms,
)

_PRICES = ("open", "high", "low", "close")
_SMALL = 20
"""Split ratios have a side up to this; a coefficient is the nearest such ratio within its last digit."""
_LABELS_TURNED = 2022
"""Until about then an intraday stamp named the end of its bar, since then the start; only for answers that do not show it."""


def decode_stocks(messages: pa.Table) -> Decoded:
    """Return bars, dividends and splits of stocks."""
    return _decode(messages, (BARS, CORPORATE_ACTIONS), frozenset({"stock"}))


def decode_currencies(messages: pa.Table) -> Decoded:
    """Return bars and quotes of currency pairs, digital currencies included."""
    return _decode(messages, (BARS, QUOTES), frozenset({"fx", "crypto"}))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What is known about one answer beside its body."""

    message: int
    params: Mapping[str, str]
    delivered: datetime | None
    asked: datetime | None


def _decode(messages: pa.Table, tables: tuple[str, ...], classes: frozenset[str]) -> Decoded:
    rows, refused, skipped = {name: Rows(name) for name in tables}, Refusals(), 0
    requests, headers = texts(messages, "request"), texts(messages, "headers")
    for index, payload in enumerate(payloads(messages)):
        request = requests[index]
        answer = _Answer(index, asked(request)[1], delivered_at(headers[index], request), asked_at(request))
        body = payload.strip()
        if not body or body.startswith(b"<"):
            continue
        try:
            found = csv_series(payload, answer.params) if is_csv(body) else document(body)
            if not isinstance(found, Series):
                if is_refusal(found):
                    continue
                if _read_quote(answer, found, rows):
                    continue
                found = json_series(found)
            if found.asset_class not in classes:
                raise NumberRefusedError("unsupported_answer", found.asset_class, f"an answer about {', '.join(sorted(classes))}")
            _read_series(answer, found, rows, refused)
        except NumberRefusedError as error:
            refused.add_message(index, error.rule, error.value, error.expected)
    return decoded({name: each.to_table() for name, each in rows.items()}, refused, messages.num_rows, skipped)


def _read_series(answer: _Answer, series: Series, rows: dict[str, Rows], refused: Refusals) -> None:
    """Append the bars of a series, newest first as they came, then the actions of its adjusted days."""
    until = answer.delivered or answer.asked or series.refreshed
    is_end = series.interval.endswith("m") and series.asset_class == "stock" and _labels_end(series)
    ordinal = len(series.rows)
    for index, (stamp, values) in enumerate(series.rows):
        try:
            opened, ended = _span(series, stamp, is_end)
            row = _bar(answer, series, values, opened) | {"is_final": until is not None and ended <= until}
            rows[BARS].add(answer.message, index, row)
        except NumberRefusedError as error:
            refused.add(answer.message, index, BARS, error.rule, error.value, error.expected)
        for read in (_dividend, _split) if CORPORATE_ACTIONS in rows else ():
            try:
                action = read(answer, series, stamp, values)
                if action is not None:
                    rows[CORPORATE_ACTIONS].add(answer.message, ordinal, action)
            except NumberRefusedError as error:
                refused.add(answer.message, ordinal, CORPORATE_ACTIONS, error.rule, error.value, error.expected)
            ordinal += 1


def _hints(series: Series) -> dict[str, object]:
    if series.asset_class == "stock":
        told = hints(series.symbol)
    else:
        told = {"asset_class": series.asset_class, "currency": series.symbol.partition("/")[2] or None}
    return told | {"symbol": series.symbol, "exchange_zone": series.zone_name}


def _bar(answer: _Answer, series: Series, values: Mapping[str, object], opened: datetime) -> dict[str, object]:
    missing = [name for name in _PRICES if values.get(name) in (None, "")]
    if missing:
        raise NumberRefusedError("incomplete_bar", sorted(values), f"{', '.join(missing)}: a price")
    is_intraday, is_stock = series.interval.endswith("m"), series.asset_class == "stock"
    is_adjusted = is_intraday and is_stock and answer.params.get("adjusted", "true").lower() != "false"
    volume, adjusted = values.get("volume"), values.get("adjusted close")
    return {
        **_hints(series),
        **{name: _number(values[name]) for name in _PRICES},
        "session_date": None if is_intraday else opened.date(),
        "interval": series.interval,
        "ts_open": opened,
        "volume": None if volume is None else exact_decimal(_text(volume), VOLUME_SCALE, MOST_VOLUME_DIGITS),
        "provider_adjusted_close": None if adjusted is None else _number(adjusted),
        "basis": (Basis.FULLY_ADJUSTED if is_adjusted else Basis.AS_TRADED).value,
        "price_type": "mid" if series.asset_class == "fx" else "trade",
        "delivered_at": answer.delivered,
    }


def _span(series: Series, stamp: str, is_end: bool) -> tuple[datetime, datetime]:
    """Return the start and end of the bar that `stamp` labels; weeks and months are labelled with their last day."""
    told = stamp_of(stamp, series.zone)
    if series.interval.endswith("m"):
        length = timedelta(minutes=int(series.interval[:-1]))
        start = told.astimezone(UTC) - (length if is_end else timedelta())
        return start.astimezone(series.zone), start + length
    day = told.date()
    if series.interval == "1d":
        return _midnight(day, series), _midnight(day + timedelta(days=1), series)
    if series.interval == "1wk":
        monday = day - timedelta(days=day.weekday())
        return _midnight(monday, series), _midnight(monday + timedelta(days=7), series)
    following = date(day.year + day.month // 12, day.month % 12 + 1, 1)
    return _midnight(day.replace(day=1), series), _midnight(following, series)


def _midnight(day: date, series: Series) -> datetime:
    return datetime.combine(day, datetime.min.time(), series.zone)


def _labels_end(series: Series) -> bool:
    """Whether intraday stamps name the end of their bars: the hours traded are 04:00 to 20:00, and only one edge is labelled."""
    hours = {stamp[11:] for stamp, _ in series.rows}
    if "20:00:00" in hours or "04:00:00" in hours:
        return "20:00:00" in hours
    newest = max((stamp[:4] for stamp, _ in series.rows), default="")
    return newest < str(_LABELS_TURNED)


def _action(answer: _Answer, series: Series, stamp: str, kind: str) -> dict[str, object]:
    if series.interval != "1d":
        raise NumberRefusedError("no_ex_date", f"{series.symbol} {stamp} {series.interval}", "a day, not a week or month")
    ex_date = stamp_of(stamp, series.zone).date()
    return {
        **_hints(series),
        "action_key": f"{series.symbol}:{kind}:{ex_date}",
        "ex_date": ex_date,
        "status": "confirmed",
        "delivered_at": answer.delivered,
    }


def _dividend(answer: _Answer, series: Series, stamp: str, values: Mapping[str, object]) -> dict[str, object] | None:
    told = values.get("dividend amount")
    amount = None if told in (None, "") else _number(told)
    if not amount:
        return None
    known = {"kind": "cash_dividend", "amount": amount, "share_basis": "as_paid"}
    return _action(answer, series, stamp, "dividend") | known


def _split(answer: _Answer, series: Series, stamp: str, values: Mapping[str, object]) -> dict[str, object] | None:
    told = values.get("split coefficient")
    if told in (None, "") or _number(told) == 1:
        return None
    new, old = split_ratio(_text(told))
    return _action(answer, series, stamp, "split") | {"kind": "split", "ratio_new": new, "ratio_old": old}


def split_ratio(text: str) -> tuple[int, int]:
    """Return (new, old) of a split coefficient: 0.3333 is 1:3, 1.5000 3:2, 1.0050 201:200.

    The ratio with a side of at most 20 and the least sum that rounds to the digits given; the digits themselves where there is
    none. Raises NumberRefusedError for what is no positive number.
    """
    exact = exact_decimal(text, PRICE_SCALE)
    whole = lowest_terms(exact, 1)
    if min(whole) <= _SMALL:
        return whole
    half = Fraction(1, 2 * 10 ** len(text.partition(".")[2]))
    value = Fraction(exact)
    tried = [(side, round(side / value)) for side in range(1, _SMALL + 1)]
    tried += [(round(side * value), side) for side in range(1, _SMALL + 1)]
    near = [(new, old) for new, old in tried if new > 0 and old > 0 and abs(Fraction(new, old) - value) <= half]
    return min(near, key=sum, default=whole)


def _read_quote(answer: _Answer, found: object, rows: dict[str, Rows]) -> bool:
    """Append the row of a GLOBAL_QUOTE or CURRENCY_EXCHANGE_RATE answer; False when it is neither, or not this feed's."""
    if not isinstance(found, dict):
        return False
    quote, rate = found.get("Global Quote"), found.get("Realtime Currency Exchange Rate")
    if isinstance(quote, dict) and CORPORATE_ACTIONS in rows:
        if quote:
            rows[BARS].add(answer.message, 0, _day_so_far(answer, named(quote)))
        return True
    if isinstance(rate, dict) and QUOTES in rows:
        rows[QUOTES].add(answer.message, 0, _rate(named(rate)))
        return True
    return False


def _day_so_far(answer: _Answer, told: Mapping[str, object]) -> dict[str, object]:
    """GLOBAL_QUOTE: the latest trading day, its last price as close; whether the day is over is not told."""
    symbol = text_of(told.get("symbol"))
    if symbol is None:
        raise NumberRefusedError("missing_symbol", told, "symbol")
    zone = zone_named("America/New_York")
    if zone is None or "exchange" not in hints(symbol):
        raise NumberRefusedError("unknown_zone", symbol, "a US symbol: a quote does not tell its time zone")
    stamp = str(told.get("latest trading day"))
    series = Series(symbol, "stock", "1d", zone, "America/New_York", None, ())
    values = {**told, "close": told.get("price")}
    return _bar(answer, series, values, _midnight(stamp_of(stamp, zone).date(), series)) | {"is_final": False}


def _rate(told: Mapping[str, object]) -> dict[str, object]:
    base, quote = text_of(told.get("From_Currency Code")), text_of(told.get("To_Currency Code"))
    zone_name = told.get("Time Zone")
    zone = zone_named(zone_name)
    if base is None or quote is None or zone is None:
        raise NumberRefusedError("malformed", told, "two currency codes and a time zone")
    prices = {side: told.get(f"{word} Price") for side, word in (("bid_price", "Bid"), ("ask_price", "Ask"))}
    sides = {side: _number(price) for side, price in prices.items() if price not in (None, "", "-")}
    if not sides:
        raise NumberRefusedError("no_quote", f"{base}/{quote} {told.get('Exchange Rate')}", "a bid or an ask beside the rate")
    return sides | {
        "symbol": f"{base}/{quote}",
        "asset_class": pair_class(base, quote),
        "currency": quote,
        "ts_event": stamp_of(str(told.get("Last Refreshed")), zone).astimezone(UTC),
        "ts_event_nanos": 0,
    }


def _number(value: object) -> object:
    return exact_decimal(_text(value), PRICE_SCALE)


def _text(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int) or (isinstance(value, int) and abs(value) >= 10**40):
        raise NumberRefusedError("malformed_number", value, "digits")
    return str(value)
