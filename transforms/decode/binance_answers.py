"""Binance's REST lists: klines, and trades looked up by id. Aggregates of trades (aggTrades) are kept in raw only.

A kline is `[open time, open, high, low, close, volume, close time, …]`; its symbol and interval stand in the request. It is
over when the answer was asked for after its close time. A trade looked up is the trade of the stream: same id, same numbers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from transforms.decode.decoded import BARS, Refusals, Rows
from transforms.decode.json_digits import asked_at
from transforms.numbers import MOST_VOLUME_DIGITS, PRICE_SCALE, VOLUME_SCALE, NumberRefusedError, exact_decimal

INTERVALS = {
    **{each: each for each in ("1m", "3m", "5m", "15m", "30m", "1d", "3d")},
    **{f"{hours}h": f"{hours * 60}m" for hours in (1, 2, 4, 6, 8, 12)},
    "1w": "1wk",
    "1M": "1mo",
}
"""Binance's word of an interval -> ours."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS = 7_258_118_400_000
Row = dict[str, object]
QUOTE_ASSETS = (
    "FDUSD", "USDT", "USDC", "TUSD", "BUSD", "USDP", "BIDR", "IDRT", "BVND", "DAI", "BTC", "ETH", "BNB", "XRP", "TRX", "DOGE",
    "DOT", "SOL", "EUR", "GBP", "TRY", "BRL", "AUD", "RUB", "UAH", "NGN", "ZAR", "PLN", "RON", "ARS", "CZK", "JPY", "MXN", "COP",
    "IDR", "USD", "PAX", "VAI", "EURI", "AEUR", "USDS", "UST",
)  # fmt: skip
"""Assets that Binance's pairs are quoted in; the longest that ends a symbol is its currency."""


def quote_asset(symbol: str) -> str | None:
    """Return the asset that a pair such as BTCUSDT, or a future such as BTCUSDT_240927, is quoted in; None when unknown."""
    pair = symbol.partition("_")[0]
    ends = [asset for asset in QUOTE_ASSETS if pair.endswith(asset) and len(pair) > len(asset)]
    return max(ends, key=len, default=None)


def path_kind(path: str) -> str:
    """Return the last word of a request's path: klines, historicalTrades, trades, aggTrades."""
    return path.rstrip("/").rpartition("/")[2]


def read_klines(
    message: int,
    entries: Sequence[object],
    head: tuple[str | None, str | None],
    request: str | None,
    into: tuple[Rows, Refusals],
) -> None:
    """Append the bars of a list, or refuse them one by one; each takes one ordinal.

    head   symbol and interval of the request, None where it tells none
    """
    rows, refused = into
    symbol, word = head
    interval = INTERVALS.get(word or "")
    if symbol is None or interval is None:
        raise NumberRefusedError("missing_symbol", f"{symbol} {word}", "a request of klines with symbol and interval")
    until = asked_at(request)
    for ordinal, entry in enumerate(entries):
        try:
            row = _kline(entry, interval, until)
        except NumberRefusedError as error:
            refused.add(message, ordinal, BARS, error.rule, error.value, error.expected)
            continue
        rows.add(message, ordinal, row | {"symbol": symbol, "currency": quote_asset(symbol), "asset_class": "crypto"})


def _kline(entry: object, interval: str, until: datetime | None) -> Row:
    if not isinstance(entry, list) or len(entry) < 9:
        raise NumberRefusedError("malformed", entry, "[open time, open, high, low, close, volume, close time, …]")
    opened, closed = _instant(entry[0]), _instant(entry[6])
    prices = dict(zip(("open", "high", "low", "close"), (_number(each, PRICE_SCALE) for each in entry[1:5]), strict=True))
    count = entry[8]
    row: Row = {
        **prices,
        "interval": interval,
        "ts_open": opened,
        "basis": "as_traded",
        "price_type": "trade",
        "is_final": until is not None and closed < until,
        "volume": _number(entry[5], VOLUME_SCALE, MOST_VOLUME_DIGITS),
        "trade_count": count if type(count) is int and 0 <= count < 1 << 62 else None,
    }
    return row if interval.endswith("m") else row | {"session_date": opened.date()}


def _number(value: object, scale: int, digits: int = 18) -> Decimal:
    if not isinstance(value, str):
        raise NumberRefusedError("malformed_number", value, "a number in quotes")
    return exact_decimal(value, scale, digits)


def _instant(value: object) -> datetime:
    if type(value) is not int or not 0 <= value <= _LAST_MS:
        raise NumberRefusedError("timestamp", value, "milliseconds up to the year 2199")
    return _EPOCH + timedelta(milliseconds=value)


def trade_object(entry: object, symbol: str | None) -> Mapping[str, object]:
    """Return a trade in the words of the stream: as it is, or (with the request's symbol) one that was looked up by its id.

    Raises NumberRefusedError.
    """
    if not isinstance(entry, dict):
        raise NumberRefusedError("malformed", entry, "a trade")
    if symbol is None:
        return entry
    named = {"t": "id", "p": "price", "q": "qty", "T": "time", "m": "isBuyerMaker"}
    return {"s": symbol} | {ours: entry[theirs] for ours, theirs in named.items() if theirs in entry}
