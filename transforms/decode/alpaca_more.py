"""Alpaca's news (REST and stream), screener and option contracts; lists of assets are kept in raw only.

An article stands once for each symbol it names; its images and body stay in raw. The screener's numbers are of `last_updated`.
A contract's open interest is of its `open_interest_date`, known from the midnight after it; strike, style, size and closing
price stay in raw until the reference tables hold them. Source: alpaca-py's bodies, PROVIDERS.md section 6.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

import pyarrow as pa

from transforms.decode.alpaca_events import frame
from transforms.decode.decoded import ALTERNATIVE, NEWS, OPTION_OPEN_INTEREST, Decoded
from transforms.decode.json_digits import Digits, instant, rounded, text_of
from transforms.decode.readers import Reader, Row, object_of, read_messages, read_raw_only
from transforms.decode.spans import NEW_YORK, count_of, day_of, midnight
from transforms.numbers import NumberRefusedError

_Entry = tuple[object, Callable[[object, datetime | None], Iterable[Row]]]

_CONTROL = frozenset({"success", "subscription", "error"})
_NUMBER_SCALE, _NUMBER_DIGITS = 12, 38


def decode_news(messages: pa.Table) -> Decoded:
    """Return articles of /v1beta1/news and frames of the news stream."""
    return _decode(messages, NEWS, _articles)


def decode_screener(messages: pa.Table) -> Decoded:
    """Return numbers of the most active stocks and the market's movers."""
    return _decode(messages, ALTERNATIVE, _screened)


def decode_contracts(messages: pa.Table) -> Decoded:
    """Return the open interest of option contracts."""
    return _decode(messages, OPTION_OPEN_INTEREST, _contracts)


def decode_reference(messages: pa.Table) -> Decoded:
    """Return no rows: lists of assets are kept in raw only, each named in its refusal."""
    return read_raw_only(messages, _about)


def _about(payload: bytes) -> object:
    found = _answer(payload)
    told = found[0] if isinstance(found, list) and found else found
    return sorted(told)[:6] if isinstance(told, dict) else told


def _decode(messages: pa.Table, table: str, entries_of: Callable[[object], list[_Entry]]) -> Decoded:
    reader = Reader((table,))

    def answer(payload: bytes) -> None:
        found = _answer(payload)
        if found is not None:
            for entry, read in entries_of(found):
                reader.add_all(table, read, entry, reader.delivered)

    return read_messages(reader, messages, answer)


def _answer(payload: bytes) -> object:
    """Return what a payload holds; None where it is an error or says nothing."""
    body = payload.lstrip()
    if not body or body.startswith((b"<", b"Too Many Requests")):
        return None
    found = frame(payload)
    return None if isinstance(found, dict) and isinstance(found.get("message"), str) else found


def _articles(found: object) -> list[_Entry]:
    if isinstance(found, dict) and isinstance(found.get("news"), list):
        return [(each, _article) for each in found["news"]]
    if isinstance(found, list) and all(isinstance(each, dict) and isinstance(each.get("T"), str) for each in found):
        return [(each, _article) for each in found if each["T"] not in _CONTROL]
    raise NumberRefusedError("unsupported_answer", found, "news: a list, or frames of the stream")


def _article(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    headline, number = text_of(told.get("headline")), told.get("id")
    if headline is None or isinstance(number, bool) or not isinstance(number, int | str):
        raise NumberRefusedError("malformed", told, "an article with id and headline")
    created, _ = instant(told.get("created_at"))
    updated = None if told.get("updated_at") is None else instant(told["updated_at"])[0]
    article: Row = {
        "news_id": str(number),
        "headline": headline,
        "ts_event": created,
        "ts_updated": updated,
        "known_at": max(created, updated or created),
        "delivered_at": delivered,
    }
    article |= {name: text_of(told.get(name)) for name in ("summary", "author", "source", "url")}
    symbols = told.get("symbols")
    names = [name for name in symbols if text_of(name)] if isinstance(symbols, list) else []
    for name in dict.fromkeys(names) if names else [None]:
        yield article | ({} if name is None else _hints(name))


def _hints(symbol: str) -> Row:
    """A pair like BTC/USD or BTCUSD is told like a stock: only the stroke names a pair."""
    return {"symbol": symbol, "asset_class": "crypto"} if "/" in symbol else {"symbol": symbol, "exchange": "US"}


def _screened(found: object) -> list[_Entry]:
    if not isinstance(found, dict) or "last_updated" not in found:
        raise NumberRefusedError("unsupported_answer", found, "most_actives, gainers or losers, and last_updated")
    at, _ = instant(found["last_updated"])
    entries: list[_Entry] = []
    for name in ("most_actives", "gainers", "losers"):
        told = found.get(name)
        entries += [((name, at, each), _ranked) for each in told] if isinstance(told, list) else []
    return entries


def _ranked(entry: object, delivered: datetime | None) -> Iterator[Row]:
    name, at, told = entry if isinstance(entry, tuple) else ("", None, entry)
    each = object_of(told)
    symbol = text_of(each.get("symbol"))
    if symbol is None:
        raise NumberRefusedError("missing_symbol", each, "symbol")
    for item, value in each.items():
        if isinstance(value, int | Digits) and not isinstance(value, bool):
            row = {"ts_event": at, "delivered_at": delivered, "measure": f"{name}.{item}"}
            yield _hints(symbol) | row | {"value": rounded(value, _NUMBER_SCALE, _NUMBER_DIGITS)}


def _contracts(found: object) -> list[_Entry]:
    told = found.get("option_contracts") if isinstance(found, dict) else None
    if isinstance(told, list):
        return [(each, _contract) for each in told]
    if isinstance(found, dict) and "underlying_symbol" in found:
        return [(found, _contract)]
    raise NumberRefusedError("unsupported_answer", found, "option_contracts, or one contract")


def _contract(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    symbol, day = text_of(told.get("symbol")), day_of(told.get("open_interest_date"), "open_interest_date")
    if symbol is None:
        raise NumberRefusedError("missing_symbol", told, "symbol")
    if day is None or told.get("open_interest") is None:
        raise NumberRefusedError("raw_only", told, "open_interest and its date: the contract itself is kept in raw only")
    count = told["open_interest"]
    if isinstance(count, str) and count.isascii() and count.isdigit() and len(count) < 18:
        count = int(count)
    yield {
        "symbol": symbol,
        "asset_class": "option",
        "currency": "USD",
        "underlying": text_of(told.get("underlying_symbol")),
        "session_date": day,
        "ts_event": midnight(day + timedelta(days=1), NEW_YORK).astimezone(UTC),
        "delivered_at": delivered,
        "open_interest": count_of(count),
    }
