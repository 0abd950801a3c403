"""The content hash: blind to order, chunks and stamps of ours, and to nothing else."""

from __future__ import annotations

import hashlib
import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.content import content_hash
from lake.errors import InvalidValueError
from lake.tables import TABLES, rows
from lake.tables.normalized import TRADES

DAY = date(2026, 8, 1)
NOON = datetime(2026, 8, 1, 12, tzinfo=UTC)


def trade(number: int = 0, **changes: Any) -> dict[str, Any]:
    return {
        "instrument_id": 7,
        "provider": "binance",
        "feed": "spot",
        "symbol": "BTCUSDT",
        "session_date": DAY,
        "ts_event": NOON + timedelta(seconds=number),
        "ts_event_nanos": 0,
        "ts_recv": NOON,
        "sequence": number,
        "trade_id": None,
        "price": Decimal("1.5"),
        "size": Decimal(2),
        "side": "",
        "capture_id": "c",
        "message_seq": number,
        "ordinal": 0,
    } | changes


def table(trades: list[dict[str, Any]]) -> pa.Table:
    names = trade().keys()
    return rows(TRADES, {name: [one[name] for one in trades] for name in names})


def hash_of(*trades: dict[str, Any]) -> str:
    return content_hash(TRADES, table(list(trades)))


TRADES_LIST = st.lists(
    st.builds(
        trade,
        st.integers(0, 3),
        price=st.decimals(-10, 10, places=9),
        side=st.sampled_from([None, "", "buy", ";1=1:b", "ü"]),
        trade_id=st.sampled_from([None, "", "5", "12=1:5;"]),
    ),
    min_size=1,
    max_size=8,
)


@given(TRADES_LIST, st.randoms(use_true_random=False), st.integers(1, 4))
@settings(max_examples=15)
def test_order_and_chunks_change_nothing(trades: list[dict[str, Any]], chance: random.Random, chunk: int) -> None:
    expected = content_hash(TRADES, table(trades))
    chance.shuffle(trades)
    shuffled = table(trades)
    chunks = pa.concat_tables([shuffled.slice(at, chunk) for at in range(0, len(trades), chunk)])
    assert content_hash(TRADES, chunks) == expected
    assert content_hash(TRADES, chunks.select(chunks.column_names[::-1])) == expected


@given(TRADES_LIST, TRADES_LIST)
@settings(max_examples=15)
def test_equal_hashes_mean_equal_content(some: list[dict[str, Any]], others: list[dict[str, Any]]) -> None:
    def content(trades: list[dict[str, Any]]) -> list[str]:
        return sorted(str([one["sequence"], one["price"] + 0, one["side"], one["trade_id"]]) for one in trades)

    if content(some) == content(others):
        assert hash_of(*some) == hash_of(*others)
    else:
        assert hash_of(*some) != hash_of(*others)


@given(TRADES_LIST)
@settings(max_examples=8)
def test_a_doubled_row_shows_and_does_not_cancel(trades: list[dict[str, Any]]) -> None:
    seen = {hash_of(*trades, *trades[:1] * more) for more in range(4)}
    assert len(seen) == 4


def test_stamps_of_ours_do_not_count() -> None:
    other = trade(ts_recv=NOON + timedelta(hours=1), capture_id="other", message_seq=99, ordinal=3)
    assert hash_of(other) == hash_of(trade())


@pytest.mark.parametrize(
    "change",
    [
        {"price": Decimal("1.500000001")},
        {"price": Decimal("-1.5")},
        {"size": Decimal(20)},
        {"side": None},
        {"side": "buy"},
        {"trade_id": ""},
        {"trade_id": "buy"},
        {"mic": "XNAS"},
        {"ts_event": NOON + timedelta(microseconds=1)},
        {"session_date": DAY + timedelta(days=1)},
        {"symbol": "btcusdt"},
    ],
)
def test_any_business_value_counts(change: dict[str, Any]) -> None:
    names = [*trade(), "mic"]
    changed = trade() | change
    found = content_hash(TRADES, rows(TRADES, {name: [changed.get(name)] for name in names}))
    assert found != hash_of(trade())


def test_values_do_not_run_together() -> None:
    assert hash_of(trade(side="a", trade_id="b")) != hash_of(trade(side="ab", trade_id=""))
    assert hash_of(trade(side="ab")) != hash_of(trade(side="a", trade_id="b"))
    assert hash_of(trade(side="x;16=1:y")) != hash_of(trade(side="x"))


def test_representation_does_not_count() -> None:
    plain = table([trade()])
    wide = plain.set_column(12, "price", plain["price"].cast(pa.decimal128(38, 12)))
    wide = wide.set_column(2, "feed", wide["feed"].dictionary_encode())
    wide = wide.set_column(7, "ts_event", wide["ts_event"].cast(pa.timestamp("ns", tz="Europe/Vienna")))
    assert content_hash(TRADES, wide) == content_hash(TRADES, plain)


def by_hand(*texts: str) -> str:
    """The algorithm as told in the module's docstring, without DuckDB."""
    numbers = [int.from_bytes(hashlib.md5(text.encode(), usedforsecurity=False).digest(), "little") for text in texts]
    return f"{sum(numbers) % 2**128:032x}"


def test_the_algorithm_is_fixed() -> None:
    """Kept hashes must outlive libraries and tables: columns go by field id, and nulls leave no mark."""
    head = "1=1:7;2=7:binance;3=4:spot;4=7:BTCUSDT;7=10:2026-08-01;"
    one = head + "8=16:1785585600000000;9=1:0;11=1:0;13=3:1.5;14=1:2;15=0:;"
    other = head + "8=16:1785585605000000;9=1:0;11=1:5;12=3:\u00fcb;13=7:-100.25;14=6:0.0001;"
    trades = [trade(), trade(5, trade_id="\u00fcb", price=Decimal("-100.250"), size=Decimal("0.0001"), side=None)]
    assert hash_of(*trades) == by_hand(one, other)


def test_no_rows_are_zeros() -> None:
    assert content_hash(TRADES, TRADES.arrow_schema().empty_table()) == "0" * 32


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_can_be_hashed(name: str) -> None:
    definition = TABLES[name]
    values: dict[str, object] = {"string": "a", "binary": b"\0\xff", "int": 1, "long": 1, "double": -0.0, "boolean": True}
    values |= {"date": DAY, "timestamptz": NOON}
    made = rows(definition, {column.name: [values.get(column.type, Decimal(1))] for column in definition.columns})
    assert int(content_hash(definition, made), 16) > 0
    assert (
        content_hash(definition, pa.concat_tables([made, made])) == f"{2 * int(content_hash(definition, made), 16) % 2**128:032x}"
    )


def test_a_missing_column_is_refused() -> None:
    with pytest.raises(InvalidValueError, match="price"):
        content_hash(TRADES, table([trade()]).drop_columns(["price"]))
