"""The same trades for every benchmark of the lake: deterministic, shaped like a US equity feed, in the full schema.

5,000 symbols whose activity follows a Zipf-Mandelbrot law (the busiest has 2 % of the trades), five sessions with busy
opens and closes, prices walking on a one-cent grid, sixteen venues, feed-wide sequence numbers, trade ids that count a
symbol's trades at a venue (as the US consolidated feeds number them), ten trades a message,
receive time = event time + a few hundred microseconds. 20 million rows at scale 1. `busy_feed` is one symbol of a crypto
venue in the same schema. Nothing is taken from anybody's data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from datetime import date, timedelta

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from lake.tables import table_named
from lake.values import MessageRange

FULL_ROWS = 20_000_000
SESSIONS = 5
SYMBOLS = 5_000
FIRST_SESSION = date(2026, 3, 2)
FEED = "sip"
PROVIDER = "bench"
_OPEN_US = (14 * 3600 + 30 * 60) * 1_000_000
"""09:30 in New York, as UTC microseconds of the day (winter time)."""
_LENGTH_US = int(6.5 * 3600 * 1_000_000)
_MICS = ["XNAS", "XNYS", "ARCX", "BATS", "BATY", "EDGA", "EDGX", "IEXG", "MEMX", "XBOS", "XPHL", "XCHI", "EPRL", "LTSE"]
_MICS += ["FINN", "FINY"]
_CONDITIONS = ("", "@", "@I", "@F", "@FI", "@T", "@TI", "@4")
_EPOCH = date(1970, 1, 1)


def session_date(number: int) -> date:
    """Return the date of session 0..4."""
    return FIRST_SESSION + timedelta(days=number)


def capture_id(number: int) -> str:
    """Return the capture that session 0..4 came in."""
    return f"bench-sip-{session_date(number):%Y%m%d}"


def symbols() -> list[str]:
    """Return the tickers, busiest first."""
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    return [letters[n % 26] + letters[n // 26 % 26] + letters[n // 676 % 26] + ("" if n < 2_000 else "X") for n in range(SYMBOLS)]


def instrument_ids() -> np.ndarray:
    """Return the ids of `symbols()`: hashes, as ids of the lake are."""
    digests = [hashlib.sha256(f"bench:{name}".encode()).digest()[:8] for name in symbols()]
    return np.array([int.from_bytes(one, "big") >> 1 for one in digests], dtype=np.int64)


def activity() -> np.ndarray:
    """Return each symbol's share of the trades."""
    weight = 1.0 / (np.arange(SYMBOLS) + 12.0) ** 1.05
    return weight / weight.sum()


def sessions(scale: float) -> Iterator[tuple[int, pa.Table]]:
    """Yield (number, trades in order of arrival) of each session; `scale` 1 is 4 million a session."""
    for number in range(SESSIONS):
        yield number, session(number, int(FULL_ROWS * scale / SESSIONS))


def session(number: int, count: int) -> pa.Table:
    """Return `count` trades of one session in order of arrival, in the schema of normalized.trades."""
    chance = np.random.default_rng([2026, number])
    code = chance.choice(SYMBOLS, count, p=activity())
    ts_ns = _stamps_ns(chance, count)
    ts_us = ts_ns // 1_000 + (session_date(number) - _EPOCH).days * 86_400_000_000
    venue = chance.choice(len(_MICS), count, p=_shares(len(_MICS)))
    stays = chance.random(count) < 0.35
    stays[0] = False
    venue = venue[np.maximum.accumulate(np.where(stays, 0, np.arange(count)))]
    size = np.where(chance.random(count) < 0.55, chance.integers(1, 100, count), 100 * (1 + chance.geometric(0.6, count)))
    latency = chance.gamma(3.0, 60.0, count).astype(np.int64) + 150
    return _table(
        instrument_id=instrument_ids()[code],
        symbol=_texts(symbols(), code),
        mic=_texts(_MICS, venue),
        currency="USD",
        provider=PROVIDER,
        feed=FEED,
        session_date=session_date(number),
        ts_us=ts_us,
        nanos=(ts_ns % 1_000).astype(np.int32),
        recv_us=np.maximum.accumulate(ts_us + latency),
        sequence=np.arange(1, count + 1, dtype=np.int64) + np.cumsum(chance.random(count) < 0.2),
        trade_id=_counters(code * len(_MICS) + venue) + 1,
        price_e9=_walk(chance, code) * 10_000_000,
        size_e8=size * 100_000_000,
        side=None,
        conditions=_texts(_CONDITIONS, chance.choice(len(_CONDITIONS), count, p=_shares(len(_CONDITIONS)))),
        capture=capture_id(number),
        per_message=10,
    )


def busy_feed(count: int) -> pa.Table:
    """Return `count` trades of one symbol of a crypto venue.

    Its shape is that of the 9,757 trades in the packaged Binance recording: a third of them begin an order and the others
    share its millisecond and frame, 59 % repeat the price, a sixth are of one size, ids are numbers without a gap.
    """
    chance = np.random.default_rng([2026, 77])
    starts = chance.random(count) < 0.33
    starts[0] = True
    order = np.cumsum(starts) - 1
    orders = int(order[-1]) + 1
    gap_ms = chance.exponential(min(107.0, 86_000_000 / orders), orders).astype(np.int64)
    ts_ms = (session_date(0) - _EPOCH).days * 86_400_000 + np.cumsum(gap_ms)
    received = ts_ms * 1_000 + chance.gamma(9.0, 700.0, orders).astype(np.int64)
    place = np.arange(count, dtype=np.int64) - np.flatnonzero(starts)[order]
    moves = chance.random(count) < 0.41
    step = (
        np.where(moves, chance.lognormal(2.0, 1.7, count).astype(np.int64) + 1, 0)
        * np.where(chance.random(orders) < 0.5, 1, -1)[order]
    )
    size = np.maximum(chance.lognormal(4.6, 2.9, count).astype(np.int64), 1)
    size[chance.random(count) < 0.17] = 9
    identity = np.arange(count, dtype=np.int64) + 3_700_000_000
    return _table(
        instrument_id=np.full(count, 4_611_686_018_427_387_904, dtype=np.int64),
        symbol="BTCUSDT",
        mic=None,
        currency="USDT",
        provider=PROVIDER,
        feed="spot",
        session_date=session_date(0),
        ts_us=ts_ms[order] * 1_000,
        nanos=np.zeros(count, dtype=np.int32),
        recv_us=np.maximum.accumulate(received[order] + place * 6 // 10),
        sequence=identity,
        trade_id=identity,
        price_e9=(6_000_000 + np.cumsum(step)) * 10_000_000,
        size_e8=size * 1_000,
        side=_texts(("buy", "sell"), (chance.random(orders) < 0.5)[order].astype(np.int64)),
        conditions=None,
        capture="bench-spot-20260302",
        per_message=1,
    )


def ranges(rows: pa.Table) -> tuple[MessageRange, ...]:
    """Return the message range of rows that are of one capture and in order of arrival."""
    sequence = rows["message_seq"]
    return (MessageRange(rows["capture_id"][0].as_py(), sequence[0].as_py(), sequence[-1].as_py()),)


def _stamps_ns(chance: np.random.Generator, count: int) -> np.ndarray:
    """Return ordered nanoseconds of the day: a U-shaped session, a third of the trades in bursts."""
    base = chance.beta(0.6, 0.7, count)
    burst = chance.random(count) < 0.35
    burst[0] = False
    base = np.sort(base)
    at = (_OPEN_US + base * _LENGTH_US) * 1_000
    at[burst] = at[np.maximum.accumulate(np.where(burst, 0, np.arange(count)))][burst] + chance.exponential(
        40_000, int(burst.sum())
    )
    return np.sort(at).astype(np.int64)


def _walk(chance: np.random.Generator, code: np.ndarray) -> np.ndarray:
    """Return each trade's price in cents: one walk a symbol."""
    start = chance.lognormal(8.3, 0.9, SYMBOLS).astype(np.int64) + 500
    order = np.argsort(code, kind="stable")
    step = chance.choice([-2, -1, 0, 0, 0, 0, 1, 2], len(code))
    along = np.cumsum(step)
    first = np.flatnonzero(np.diff(code[order], prepend=-1))
    origin = np.repeat(along[first], np.diff(np.append(first, len(code))))
    price = np.empty(len(code), dtype=np.int64)
    price[order] = np.maximum(start[code[order]] + along - origin, 1)
    return price


def _counters(kind: np.ndarray) -> np.ndarray:
    """Return, for each row, how many rows of its kind came before."""
    order = np.argsort(kind, kind="stable")
    first = np.flatnonzero(np.diff(kind[order], prepend=-1))
    lengths = np.diff(np.append(first, len(kind)))
    found = np.empty(len(kind), dtype=np.int64)
    found[order] = np.arange(len(kind)) - np.repeat(first, lengths)
    return found


def _shares(count: int) -> np.ndarray:
    weight = 1.0 / np.arange(1, count + 1)
    return weight / weight.sum()


def _texts(names: list[str] | tuple[str, ...], code: np.ndarray) -> pa.Array:
    return pa.array(names, pa.string()).take(pa.array(code))


def _decimals(values: np.ndarray, scale: int) -> pa.Array:
    """Return integers, read as units of 10^-scale, as decimal(18, scale); exact, without a multiplication."""
    wide = np.zeros((len(values), 2), dtype=np.int64)
    wide[:, 0], wide[:, 1] = values, values >> 63
    return pa.Array.from_buffers(pa.decimal128(18, scale), len(values), [None, pa.py_buffer(wide)])


def _table(
    *,
    ts_us: np.ndarray,
    nanos: np.ndarray,
    recv_us: np.ndarray,
    trade_id: np.ndarray,
    price_e9: np.ndarray,
    size_e8: np.ndarray,
    capture: str,
    per_message: int,
    **columns: object,
) -> pa.Table:
    table = table_named("normalized.trades")
    count = len(ts_us)
    place = np.arange(count, dtype=np.int64)
    instant = pa.timestamp("us", tz="UTC")
    given = columns | {
        "venue_session": None,
        "ts_event": pa.array(ts_us).cast(instant),
        "ts_event_nanos": pa.array(nanos),
        "ts_recv": pa.array(recv_us).cast(instant),
        "trade_id": pc.cast(pa.array(trade_id), pa.string()),
        "price": _decimals(price_e9, 9),
        "size": _decimals(size_e8.astype(np.int64), 8),
        "capture_id": capture,
        "message_seq": place // per_message,
        "ordinal": (place % per_message).astype(np.int32),
    }
    arrays = []
    for column in table.columns:
        value = given[column.name]
        if value is None or isinstance(value, (str, date)):
            arrays.append(pa.repeat(pa.scalar(value, column.arrow_type), count))
        else:
            arrays.append(value if isinstance(value, pa.Array) else pa.array(value, column.arrow_type))
    return pa.Table.from_arrays(arrays, schema=table.arrow_schema())
