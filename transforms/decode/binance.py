"""Binance spot and USDⓈ-M futures: trades, best bid and offer, depth updates; by REST depth, bars, trades, the newest quote.

Prices and sizes are JSON strings taken digit by digit. `T` (trade or transaction time) becomes ts_event, `E` where there is
no `T`; spot's bookTicker has neither, so its ts_event is null. `m` says that the buyer was the maker: then the aggressor
sold. `X` of futures (MARKET, INSURANCE_FUND, ADL, NA) is kept as the condition. A depth update gives one row a level,
numbered bids first; size 0 removes the level. The frequent frames go through the compiled kernel, the rest through msgspec;
without a compiler everything does.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa

from transforms.decode.binance_answers import quote_asset
from transforms.decode.binance_json import JsonFrames, LevelColumns, QuoteColumns, TradeColumns
from transforms.decode.binary import flat_payloads, ints
from transforms.decode.decoded import BARS, BOOK_EVENTS, QUOTES, TRADES, Decoded, columns_table, decoded, in_order, texts
from transforms.kernels import binance as kernel
from transforms.numbers import PRICE_SCALE, SIZE_SCALE, Int64s, decimals

IS_COMPILED = not str(kernel.__file__).endswith(".py")
_UTC_MICROS = pa.timestamp("us", tz="UTC")
_MICROS_PER_MILLI = 1_000


def decode(messages: pa.Table) -> Decoded:
    """Return what Binance's messages say: trades, quotes, book events, bars. Source: Binance's API pages."""
    return decode_frames(messages, kernel.read_frames if IS_COMPILED else None)


def decode_frames(messages: pa.Table, scan: Callable[[bytes, bytes], kernel.Frames] | None) -> Decoded:
    """Return the same as `decode`: with `scan` for the frequent frames, or (None) by the JSON parser alone."""
    parts: dict[str, list[pa.Table]] = {TRADES: [], QUOTES: [], BOOK_EVENTS: [], BARS: []}
    data, offsets = flat_payloads(messages)
    unread: Sequence[int] = range(messages.num_rows)
    if scan is not None:
        frames = scan(data, offsets.tobytes())
        parts[TRADES] += _trades_of(frames)
        parts[QUOTES] += _quotes_of(frames)
        parts[BOOK_EVENTS] += _levels_of(frames)
        unread = ints(frames.unread.getvalue()).tolist()
    rest = JsonFrames()
    if len(unread):
        requests, statuses = texts(messages, "request"), _statuses(messages)
        for message in unread:
            payload = data[offsets[message] : offsets[message + 1]]
            rest.read(message, payload, requests[message], statuses[message])
        parts[TRADES] += _trades(rest.trades)
        parts[QUOTES] += _quotes(rest.quotes)
        parts[BOOK_EVENTS] += _levels(rest.levels)
        parts[BARS].append(rest.bars.to_table())
    return decoded({name: in_order(name, tables) for name, tables in parts.items()}, rest.refused, messages.num_rows)


def _statuses(messages: pa.Table) -> Sequence[int | None]:
    if "status" not in messages.column_names:
        return [None] * messages.num_rows
    found: list[int | None] = messages["status"].to_pylist()
    return found


def _named(codes: Int64s, names: Sequence[str | None]) -> pa.Array:
    """Return names[codes] as text."""
    if len(names) == 1:
        return pa.repeat(pa.scalar(names[0], pa.string()), len(codes))
    return pa.array(names, pa.string()).take(pa.array(codes))


def _coded(texts_given: Sequence[str | None]) -> tuple[Int64s, list[str | None]]:
    places: dict[str | None, int] = {}
    codes = [places.setdefault(text, len(places)) for text in texts_given]
    return np.array(codes, np.int64), list(places)


def _stamps(ms: Int64s) -> pa.Array:
    told = ms >= 0
    return pa.array(ms * _MICROS_PER_MILLI, mask=None if told.all() else ~told).view(_UTC_MICROS)


def _nanos(ms: Int64s) -> pa.Array:
    told = ms >= 0
    return pa.array(np.zeros(len(ms), np.int32), mask=None if told.all() else ~told)


def _told(values: Int64s) -> pa.Array:
    told = values >= 0
    return pa.array(values, mask=None if told.all() else ~told)


def _of_symbol(codes: Int64s, symbols: Sequence[str]) -> dict[str, pa.Array]:
    return {
        "symbol": _named(codes, symbols),
        "currency": _named(codes, [quote_asset(symbol) for symbol in symbols]),
        "asset_class": _named(np.zeros(len(codes), np.int64), ["crypto"]),
    }


def _ordinals(length: int) -> pa.Array:
    return pa.array(np.zeros(length, np.int32))


def _prices(scaled: Int64s) -> pa.Array:
    return decimals(scaled, 18, PRICE_SCALE)


def _sizes(scaled: Int64s) -> pa.Array:
    return decimals(scaled, 18, SIZE_SCALE)


def _texts(names: Sequence[bytes]) -> list[str]:
    return [name.decode("ascii") for name in names]


def _trades_of(frames: kernel.Frames) -> list[pa.Table]:
    flags = ints(frames.trade_flags.getvalue())
    return _trade_table(
        message=ints(frames.trade_message.getvalue()),
        ms=ints(frames.trade_ms.getvalue()),
        trade_id=ints(frames.trade_id.getvalue()),
        price=ints(frames.trade_price.getvalue()),
        size=ints(frames.trade_size.getvalue()),
        symbol=(ints(frames.trade_symbol.getvalue()), _texts(frames.symbols.seen)),
        is_buyer_maker=flags & kernel.IS_BUYER_MAKER,
        conditions=((flags & kernel.IS_MARKET) // kernel.IS_MARKET, [None, "MARKET"]),
        ordinals=_ordinals(len(flags)),
    )


def _trades(found: TradeColumns) -> list[pa.Table]:
    codes, symbols = _coded(found.symbol)
    return _trade_table(
        message=np.array(found.message, np.int64),
        ms=np.array(found.ms, np.int64),
        trade_id=np.array(found.trade_id, np.int64),
        price=np.array(found.price, np.int64),
        size=np.array(found.size, np.int64),
        symbol=(codes, [str(symbol) for symbol in symbols]),
        is_buyer_maker=np.array(found.is_buyer_maker, np.int64),
        conditions=_coded(found.conditions),
        ordinals=pa.array(found.ordinal, pa.int32()),
    )


def _trade_table(
    *,
    message: Int64s,
    ms: Int64s,
    trade_id: Int64s,
    price: Int64s,
    size: Int64s,
    symbol: tuple[Int64s, list[str]],
    is_buyer_maker: Int64s,
    conditions: tuple[Int64s, Sequence[str | None]],
    ordinals: pa.Array,
) -> list[pa.Table]:
    if not len(message):
        return []
    ids = pa.array(trade_id)
    arrays = {
        **_of_symbol(*symbol),
        "ts_event": _stamps(ms),
        "ts_event_nanos": _nanos(ms),
        "sequence": ids,
        "trade_id": ids.cast(pa.string()),
        "price": _prices(price),
        "size": _sizes(size),
        "side": _named(is_buyer_maker, ["buy", "sell"]),
        "conditions": _named(*conditions),
        "message_index": pa.array(message),
        "ordinal": ordinals,
    }
    return [columns_table(TRADES, arrays)]


def _quotes_of(frames: kernel.Frames) -> list[pa.Table]:
    return _quote_table(
        message=ints(frames.quote_message.getvalue()),
        ms=ints(frames.quote_ms.getvalue()),
        sequence=ints(frames.quote_sequence.getvalue()),
        bid=(ints(frames.quote_bid_price.getvalue()), ints(frames.quote_bid_size.getvalue())),
        ask=(ints(frames.quote_ask_price.getvalue()), ints(frames.quote_ask_size.getvalue())),
        symbol=(ints(frames.quote_symbol.getvalue()), _texts(frames.symbols.seen)),
    )


def _quotes(found: QuoteColumns) -> list[pa.Table]:
    codes, symbols = _coded(found.symbol)
    return _quote_table(
        message=np.array(found.message, np.int64),
        ms=np.array(found.ms, np.int64),
        sequence=np.array(found.sequence, np.int64),
        bid=(np.array(found.bid_price, np.int64), np.array(found.bid_size, np.int64)),
        ask=(np.array(found.ask_price, np.int64), np.array(found.ask_size, np.int64)),
        symbol=(codes, [str(symbol) for symbol in symbols]),
    )


def _quote_table(
    *,
    message: Int64s,
    ms: Int64s,
    sequence: Int64s,
    bid: tuple[Int64s, Int64s],
    ask: tuple[Int64s, Int64s],
    symbol: tuple[Int64s, list[str]],
) -> list[pa.Table]:
    if not len(message):
        return []
    arrays = {
        **_of_symbol(*symbol),
        "ts_event": _stamps(ms),
        "ts_event_nanos": _nanos(ms),
        "sequence": _told(sequence),
        "bid_price": _prices(bid[0]),
        "bid_size": _sizes(bid[1]),
        "ask_price": _prices(ask[0]),
        "ask_size": _sizes(ask[1]),
        "message_index": pa.array(message),
        "ordinal": _ordinals(len(message)),
    }
    return [columns_table(QUOTES, arrays)]


def _levels_of(frames: kernel.Frames) -> list[pa.Table]:
    bids, asks = ints(frames.depth_bids.getvalue()), ints(frames.depth_asks.getvalue())
    counts = bids + asks
    starts = np.cumsum(counts) - counts
    update = np.repeat(np.arange(len(counts)), counts)
    index = np.arange(len(update)) - starts[update]

    def of_update(column: bytes) -> Int64s:
        return ints(column)[update]

    return _level_table(
        message=of_update(frames.depth_message.getvalue()),
        ms=of_update(frames.depth_ms.getvalue()),
        sequences=(
            of_update(frames.depth_first.getvalue()),
            of_update(frames.depth_last.getvalue()),
            of_update(frames.depth_previous.getvalue()),
        ),
        symbol=(of_update(frames.depth_symbol.getvalue()), _texts(frames.symbols.seen)),
        channel=(of_update(frames.depth_stream.getvalue()), _texts(frames.streams.seen)),
        index=index,
        is_snapshot=np.zeros(len(update), np.int64),
        is_ask=(index >= bids[update]).astype(np.int64),
        level=(ints(frames.level_price.getvalue()), ints(frames.level_size.getvalue())),
    )


def _levels(found: LevelColumns) -> list[pa.Table]:
    codes, symbols = _coded(found.symbol)
    channel_codes, channels = _coded(found.channel)
    return _level_table(
        message=np.array(found.message, np.int64),
        ms=np.array(found.ms, np.int64),
        sequences=(np.array(found.first, np.int64), np.array(found.last, np.int64), np.array(found.previous, np.int64)),
        symbol=(codes, [str(symbol) for symbol in symbols]),
        channel=(channel_codes, [str(channel) for channel in channels]),
        index=np.array(found.index, np.int64),
        is_snapshot=np.array(found.is_snapshot, np.int64),
        is_ask=np.array(found.is_ask, np.int64),
        level=(np.array(found.price, np.int64), np.array(found.size, np.int64)),
    )


def _level_table(
    *,
    message: Int64s,
    ms: Int64s,
    sequences: tuple[Int64s, Int64s, Int64s],
    symbol: tuple[Int64s, list[str]],
    channel: tuple[Int64s, list[str]],
    index: Int64s,
    is_snapshot: Int64s,
    is_ask: Int64s,
    level: tuple[Int64s, Int64s],
) -> list[pa.Table]:
    if not len(message):
        return []
    first, last, previous = sequences
    places = pa.array(index.astype(np.int32))
    arrays = {
        **_of_symbol(*symbol),
        "channel": _named(*channel),
        "ts_event": _stamps(ms),
        "ts_event_nanos": _nanos(ms),
        "first_sequence": _told(first),
        "sequence": pa.array(last),
        "previous_sequence": _told(previous),
        "event_index": places,
        "event": _named(is_snapshot, ["update", "snapshot"]),
        "side": _named(is_ask, ["buy", "sell"]),
        "price": _prices(level[0]),
        "size": _sizes(level[1]),
        "message_index": pa.array(message),
        "ordinal": places,
    }
    return [columns_table(BOOK_EVENTS, arrays)]
