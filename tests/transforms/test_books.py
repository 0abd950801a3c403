"""Books: against a book kept naively, against an exchange that matches orders itself, and at any instant."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.itch import itch_messages
from ingest.containers.source import Source, Told
from lake.tables import rows, table_named
from tests.transforms.decode.cases import SAMPLES, messages
from tests.transforms.decode.dbn_files import file_messages
from transforms.books import begins, best_quotes, depth, executions, top, until
from transforms.decode import dbn
from transforms.decode.decoded import BOOK_EVENTS
from transforms.decode.nasdaq_itch import decode

TABLE = table_named("normalized.book_events")
OPEN = datetime(2024, 1, 3, 14, 30, tzinfo=UTC)
VENDOR = SAMPLES / "databento" / "XNAS.ITCH"
RITCH = SAMPLES / "nasdaq" / "itch" / "ex20101224.TEST_ITCH_50.gz"


def events(*told: dict[str, object]) -> pa.Table:
    """Return book events a millisecond apart, numbered in their order."""
    columns: dict[str, list[object]] = {name: [] for name in TABLE.column_names}
    for number, one in enumerate(told):
        at = OPEN + timedelta(milliseconds=number)
        known = {
            "instrument_id": 7, "provider": "p", "feed": "f", "channel": "c", "venue_session": "s", "symbol": "A",
            "sequence": number, "session_date": date(2024, 1, 3), "ts_event": at, "ts_event_nanos": 0, "ts_recv": at,
            "event_index": 0, "event": "update", "capture_id": "x", "message_seq": 0, "ordinal": number,
        }  # fmt: skip
        for name, values in columns.items():
            value = {**known, **one}.get(name)
            values.append(Decimal(value) if name in ("price", "size") and value is not None else value)
    return rows(TABLE, columns)


def level(side: str, price: object, size: object, **more: object) -> dict[str, object]:
    return {"side": side, "price": price, "size": size, **more}


def order(action: str, order_id: object, side: str | None = None, price: object = None, size: object = None, **more: object):
    return {"action": action, "order_id": str(order_id), "side": side, "price": price, "size": size, **more}


def shown(table: pa.Table, *names: str) -> list[tuple[object, ...]]:
    columns = [[float(value) if isinstance(value, Decimal) else value for value in table[name].to_pylist()] for name in names]
    return list(zip(*columns, strict=True))


def levels(table: pa.Table) -> list[tuple[object, ...]]:
    return shown(depth(table), "side", "price", "size", "orders")


BEST = ("bid_price", "bid_size", "ask_price", "ask_size")


def test_levels_stand_until_they_are_told_otherwise():
    told = events(
        level("buy", 10, 5), level("sell", 11, 7, is_complete=False), level("buy", "10.5", 2, is_complete=True),
        level("buy", 10, 6), level("buy", "10.5", 0), level("sell", 11, 0),
    )  # fmt: skip
    assert shown(best_quotes(told), "sequence", *BEST) == [
        (0, 10.0, 5.0, None, None), (2, 10.5, 2.0, 11.0, 7.0), (4, 10.0, 6.0, 11.0, 7.0), (5, 10.0, 6.0, None, None)
    ]  # fmt: skip
    assert levels(told) == [("buy", 10.0, 6.0, None)]
    assert levels(told.slice(0, 4)) == [("buy", 10.5, 2.0, None), ("buy", 10.0, 6.0, None), ("sell", 11.0, 7.0, None)]


def test_a_snapshot_replaces_the_book():
    told = events(
        level("buy", 10, 5), level("sell", 12, 1),
        *(level("buy", 9, size, event="snapshot", sequence=50, event_index=n) for n, size in enumerate((3, 4))),
        level("sell", 11, 2, event="snapshot", sequence=50, event_index=2), level("sell", 11, 3, event="snapshot", sequence=60),
    )  # fmt: skip
    assert levels(told.slice(0, 5)) == [("buy", 9.0, 4.0, None), ("sell", 11.0, 2.0, None)]
    assert levels(told) == [("sell", 11.0, 3.0, None)]
    assert best_quotes(told)["sequence"].to_pylist() == [0, 1, 50, 50, 50, 60]


def test_what_becomes_of_an_order():
    told = events(
        order("add", 1, "buy", 10, 100), order("add", 2, "buy", 10, 50), order("add", 3, "sell", 11, 80),
        order("execute", 1, size=30), order("cancel", 1, size=20), order("replace", 1, None, "10.1", 40, new_order_id="4"),
        order("modify", 3, "sell", "11.2", 60), order("fill", 3, size=10), order("cancel", 3, "sell", "11.2", 10),
        order("delete", 2), order("execute", 9, size=1),
    )  # fmt: skip
    assert levels(told) == [("buy", 10.1, 40.0, 1), ("sell", 11.2, 50.0, 1)]
    assert levels(told.slice(0, 5)) == [("buy", 10.0, 100.0, 2), ("sell", 11.0, 80.0, 1)]
    assert shown(executions(told), "order_id", "side", "price", "best_price", "is_known", "is_at_top") == [
        ("1", "buy", 10.0, 10.0, True, True), ("3", "sell", 11.2, 11.2, True, True), ("9", None, None, None, False, None)
    ]  # fmt: skip
    cleared = events(order("add", 1, "buy", 10, 100), {"action": "clear"}, order("delete", 1), order("add", 2, "sell", 9, 1))
    assert levels(cleared) == [("sell", 9.0, 1.0, 1)]


def test_an_execution_told_before_its_order_is_taken_off_it_and_known():
    told = events(
        order("execute", 1, size=30), order("execute", 1, size=20), order("add", 1, "sell", 10, 80), order("execute", 1, size=5)
    )  # fmt: skip
    assert levels(told) == [("sell", 10.0, 25.0, 1)]
    assert shown(executions(told), "price", "best_price", "is_known", "is_early", "is_at_top") == [
        (10.0, None, True, True, None), (10.0, None, True, True, None), (10.0, 10.0, True, False, True)
    ]  # fmt: skip


def test_books_are_apart_and_their_events_in_any_order():
    told = [
        order("add", 1, "buy", 10, 1),
        order("add", 1, "buy", 20, 2, symbol="B"),
        order("add", 1, "buy", 30, 3, venue_session="t"),
    ]
    every = events(*told, order("delete", 1, symbol="B", sequence=0))
    shuffled = every.take(pa.array([3, 1, 0, 2]))
    assert shown(depth(shuffled), "symbol", "venue_session", "price") == [("A", "s", 10.0), ("B", "s", 20.0), ("A", "t", 30.0)]
    assert begins(depth(shuffled)).to_pylist() == [True, True, True]
    assert (
        best_quotes(every.slice(0, 0)).num_rows
        == executions(every.slice(0, 0)).num_rows
        == depth(every.slice(0, 0)).num_rows
        == 0
    )


def test_the_book_at_an_instant_has_what_had_happened():
    told = events(*(level("buy", 10 + n, 1) for n in range(5)))
    at_ns = int(OPEN.timestamp()) * 10**9 + 2_000_000
    assert levels(until(told, at_ns))[0] == ("buy", 12.0, 1.0, None)
    assert until(told, at_ns - 1).num_rows == 2
    deep = depth(told)
    assert shown(top(deep, 2), "price") == [(14.0,), (13.0,)] and top(deep, 9).equals(deep)


def naive(told: list[dict[str, object]]):
    """Keep a book as a dictionary of orders; return its levels and the price of each execution."""
    standing: dict[str, list[object]] = {}
    hits = []
    for one in told:
        key = one["order_id"]
        if one["action"] == "add":
            standing[key] = [one["side"], one["price"], one["size"]]
        elif key in standing:
            if one["action"] == "execute":
                hits.append(standing[key][1])
            if one["action"] == "replace":
                side = standing.pop(key)[0]
                standing[one["new_order_id"]] = [side, one["price"], one["size"]]
                continue
            left = 0 if one["action"] == "delete" else standing[key][2] - one["size"]
            standing[key][2] = left
            if left <= 0:
                del standing[key]
    found: dict[tuple[str, int], list[int]] = {}
    for side, price, size in standing.values():
        units = found.setdefault((side, price), [0, 0])
        units[0] += size
        units[1] += 1
    ordered = sorted(found.items(), key=lambda item: (item[0][0], -item[0][1] if item[0][0] == "buy" else item[0][1]))
    return [(side, float(price), float(size), count) for (side, price), (size, count) in ordered], hits


@given(st.lists(st.tuples(st.sampled_from("aaxcdr"), st.integers(0, 9), st.integers(1, 8), st.integers(1, 5)), max_size=60))
def test_any_stream_of_orders_gives_the_book_kept_naively(steps):
    told: list[dict[str, object]] = []
    known: list[str] = []
    for number, (kind, pick, price, size) in enumerate(steps):
        if kind == "a" or not known:
            known.append(str(number))
            told.append(order("add", number, "buy" if price < 5 else "sell", price, size))
        elif kind == "r":
            told.append(order("replace", known[pick % len(known)], None, price, size, new_order_id=f"n{number}"))
            known.append(f"n{number}")
        else:
            action = {"x": "execute", "c": "cancel", "d": "delete"}[kind]
            told.append(order(action, known[pick % len(known)], size=None if kind == "d" else size))
    expected, hits = naive(told)
    table = events(*told)
    assert levels(table) == expected
    found = executions(table)
    assert [price for (price,) in shown(found.filter(pc.and_(found["is_known"], pc.invert(found["is_early"]))), "price")] == hits
    last = best_quotes(table)
    bids, asks = ([one for one in expected if one[0] == side] for side in ("buy", "sell"))
    if last.num_rows:
        best = shown(last.slice(last.num_rows - 1), *BEST)[0]
        assert best == (*(bids[0][1:3] if bids else (None, None)), *(asks[0][1:3] if asks else (None, None)))


def matched(seed: int, count: int) -> list[dict[str, object]]:
    """Return the events of an exchange that matches orders itself by price and time."""
    rng = random.Random(seed)
    sides: dict[str, list[list[int]]] = {"buy": [], "sell": []}
    told = []
    for number in range(count):
        side = rng.choice(["buy", "sell"])
        against, price, size = "sell" if side == "buy" else "buy", rng.randint(90, 110), rng.randint(1, 9)
        resting = sides[against]
        resting.sort(key=lambda one: (one[1] if against == "sell" else -one[1], one[0]))
        while size and resting and (resting[0][1] <= price if side == "buy" else resting[0][1] >= price):
            taken = min(size, resting[0][2])
            told.append(order("execute", resting[0][0], size=taken))
            size, resting[0][2] = size - taken, resting[0][2] - taken
            if not resting[0][2]:
                resting.pop(0)
        if size:
            sides[side].append([number, price, size])
            told.append(order("add", number, side, price, size))
        if sides[side] and rng.random() < 0.2:
            gone = sides[side].pop(rng.randrange(len(sides[side])))
            told.append(order("delete", gone[0]))
    return told


@pytest.mark.parametrize("seed", range(3))
def test_every_execution_of_an_exchange_hits_an_order_at_the_best_price_and_no_book_is_crossed(seed):
    table = events(*matched(seed, 600))
    found = executions(table)
    assert found.num_rows > 100
    assert pc.all(found["is_known"]).as_py() and pc.all(found["is_at_top"]).as_py()
    quotes = best_quotes(table)
    assert not pc.any(pc.greater_equal(quotes["bid_price"], quotes["ask_price"])).as_py()


def placed(decoded: pa.Table) -> pa.Table:
    """Return decoded events of one market with what normalization would know."""
    fixed = {"provider": "p", "feed": "f", "instrument_id": 1, "capture_id": "c", "message_seq": 0, "session_date": None}
    for name, value in fixed.items():
        decoded = decoded.append_column(name, pa.array([value] * decoded.num_rows, TABLE.column(name).arrow_type))
    return decoded.append_column("ts_recv", decoded["ts_event"])


def test_every_execution_of_ritchs_file_hits_an_order():
    pieces = list(itch_messages(Source(RITCH), Told(RITCH.name)))
    requests = [orjson.loads(orjson.dumps(piece.request)) for piece in pieces]
    told = decode(messages([piece.payload for piece in pieces], requests)).tables[BOOK_EVENTS]
    told = placed(told)
    found = executions(told)
    assert (found.num_rows, pc.sum(found["is_known"]).as_py(), pc.sum(found["is_early"]).as_py()) == (198, 198, 18)
    for symbol in ("ALC", "BOB", "CHAR"):
        mine = told.filter(pc.equal(told["symbol"], symbol))
        plain = mine.to_pylist()
        added = {row["order_id"]: row["sequence"] for row in plain if row["action"] == "add"}
        late = {row["sequence"]: added.get(row["order_id"], 0) for row in plain if row["action"] == "execute"}
        plain.sort(key=lambda row: max(row["sequence"], late.get(row["sequence"], 0) + 0.5))
        assert levels(mine) == naive(plain)[0]


def test_the_book_of_orders_is_the_vendors_book_of_levels():
    told = {name: dbn.decode(file_messages(VENDOR / f"test_data.{name}.dbn.zst")).tables for name in ("mbo", "mbp-10", "mbp-1")}
    orders, given = placed(told["mbo"][BOOK_EVENTS]), placed(told["mbp-10"][BOOK_EVENTS])
    instants = sorted(set(orders["ts_event"].to_pylist()) & set(given["ts_event"].to_pylist()))
    assert len(instants) == 4
    for at in instants:
        mine, theirs = (shown(depth(upto(table, at)), "side", "price", "size") for table in (orders, given))
        assert mine == theirs and mine
    quoted = {row[0]: row[1:] for row in shown(told["mbp-1"]["normalized.quotes"], "ts_event", *BEST)}
    best = {row[0]: row[1:] for row in shown(best_quotes(orders), "ts_event", *BEST)}
    assert len(quoted.keys() & best.keys()) == 3
    for at in quoted.keys() & best.keys():
        assert best[at] == tuple(value or None for value in quoted[at]), "an empty side has size 0 in a quote, none in a book"


def upto(table: pa.Table, at: datetime) -> pa.Table:
    return table.filter(pc.less_equal(table["ts_event"], pa.scalar(at, table.schema.field("ts_event").type)))
