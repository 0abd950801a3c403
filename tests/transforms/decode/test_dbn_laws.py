"""What one schema of Databento says must agree with what another says of the same market."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from tests.transforms.decode.dbn_files import FOLDER, bytes_messages, file_messages, header, record
from transforms.books import best_quotes
from transforms.decode import dbn
from transforms.decode.dbn_layout import LAYOUTS, MBO, UNDEF_PRICE
from transforms.decode.decoded import BARS, BOOK_EVENTS, QUOTES, TRADES
from transforms.time_bars import time_bars


def rows(dataset, schema, table):
    return dbn.decode(file_messages(FOLDER / dataset / f"test_data.{schema}.dbn.zst")).tables[table]


def bars_of_trades(trades, names, every):
    """Bars by our kernel, each trade's instrument being the name that a bar of its venue has."""
    numbers = {name: number for number, name in enumerate(dict.fromkeys(names))}
    ids = pa.array([numbers[name] for name in names], pa.int64())
    columns = {name: trades[name] for name in ("ts_event", "ts_event_nanos", "sequence", "price", "size")}
    found = time_bars(pa.table({"instrument_id": ids, **columns}), every).to_pylist()
    return {(list(numbers)[bar["instrument_id"]], bar["ts_open"]): bar for bar in found}


@pytest.mark.parametrize(("dataset", "whole"), [("XNAS.ITCH", 4), ("EQUS.MINI", 2), ("OPRA.PILLAR", 3)])
def test_bars_of_trades_are_the_vendors_bars(dataset, whole):
    trades, theirs = rows(dataset, "trades", TRADES), rows(dataset, "ohlcv-1s", BARS).to_pylist()
    has_venues = dataset == "OPRA.PILLAR"
    pairs = zip(trades["symbol"].to_pylist(), trades["mic"].to_pylist(), strict=True)
    ours = bars_of_trades(trades, [f"{symbol}:{mic}" if has_venues else symbol for symbol, mic in pairs], timedelta(seconds=1))
    assert len(ours) == whole
    bars = {(bar["symbol"], bar["ts_open"]): bar for bar in theirs}
    for key, bar in ours.items():
        assert [bar[name] for name in ("open", "high", "low", "close", "volume")] == [
            bars[key][name] for name in ("open", "high", "low", "close", "volume")
        ]


def tops(events):
    """Best bid and offer by our book after each event that changed them, by time."""
    count = events.num_rows
    more = {name: [name] * count for name in ("provider", "feed", "capture_id")}
    more |= {name: pa.array([0] * count, pa.int64()) for name in ("instrument_id", "message_seq")}
    more |= {"session_date": pa.nulls(count, pa.date32()), "ts_recv": events["ts_event"]}
    for name, values in more.items():
        events = events.append_column(name, pa.array(values) if isinstance(values, list) else values)
    return by_time(best_quotes(events))


def by_time(quotes):
    sides = ("bid_price", "bid_size", "ask_price", "ask_size")
    found = {(row["ts_event"], row["ts_event_nanos"]): tuple(row[name] for name in sides) for row in quotes.to_pylist()}
    return {at: tuple(None if value == 0 else value for value in top) for at, top in found.items()}


def test_the_book_of_orders_has_the_vendors_best_bid_and_offer():
    ours, theirs = tops(rows("XNAS.ITCH", "mbo", BOOK_EVENTS)), by_time(rows("XNAS.ITCH", "mbp-1", QUOTES))
    both = [at for at in theirs if at in ours]
    assert len(both) == 3  # the fourth order stands deeper, which mbp-1 leaves out
    assert [ours[at] for at in both] == [theirs[at] for at in both]


@pytest.mark.parametrize(("dataset", "schema"), [("XNAS.ITCH", "mbp-10"), ("versions", "mbp-10.v1"), ("versions", "mbp-10.v3")])
def test_the_book_of_ten_levels_has_the_best_bid_and_offer_of_its_records(dataset, schema):
    ours, theirs = tops(rows(dataset, schema, BOOK_EVENTS)), by_time(rows(dataset, schema, QUOTES))
    assert ours
    assert {at: theirs[at] for at in ours} == ours


def test_ten_levels_begin_with_the_best_bid_and_offer():
    levels, quotes = rows("versions", "mbp-10.v3", BOOK_EVENTS).to_pylist(), rows("versions", "mbp-10.v3", QUOTES).to_pylist()
    for number, quote in enumerate(quotes):
        assert levels[number * 21]["action"] == "clear"
        of_record = levels[number * 21 + 1 : number * 21 + 21]
        assert (of_record[0]["price"], of_record[0]["size"]) == (quote["bid_price"], quote["bid_size"])
        assert (of_record[10]["price"], of_record[10]["size"]) == (quote["ask_price"], quote["ask_size"])
        bids, asks = [row["price"] for row in of_record[:10]], [row["price"] for row in of_record[10:]]
        assert bids == sorted(bids, reverse=True)
        assert asks == sorted(asks)


def test_trades_stand_alike_in_every_schema_that_tells_them():
    for dataset in ("XNAS.ITCH", "EQUS.MINI", "OPRA.PILLAR"):
        assert rows(dataset, "tbbo", TRADES).drop_columns(["ordinal"]) == rows(dataset, "trades", TRADES).drop_columns(
            ["ordinal"]
        )


def test_a_fill_and_a_trade_leave_the_book_to_the_cancel_behind_them():
    layout = LAYOUTS[MBO, 56]
    shared = {"publisher_id": 2, "instrument_id": 7, "ts_event": 1_609_156_800_000_000_000, "ts_recv": 1_609_156_800_000_000_000}

    def order(action, number, size, **more):
        told = {"order_id": number, "price": 10**9, "size": size, "side": ord("B"), "flags": 128, "sequence": 1}
        return record(layout, MBO, action=ord(action), **(shared | told | more))

    content = header({"X": [(20201228, 20201229, "7")]}, schema=0)
    content += order("R", 0, 0, price=UNDEF_PRICE, side=ord("N")) + order("A", 5, 10) + order("A", 6, 4)
    content += order("T", 0, 3, side=ord("A")) + order("F", 5, 3) + order("C", 5, 3) + order("M", 6, 9) + order("N", 0, 0)
    found = dbn.decode(bytes_messages(content))
    assert found.tables[BOOK_EVENTS]["action"].to_pylist() == ["clear", "add", "add", "fill", "cancel", "modify"]
    assert [row["order_id"] for row in found.tables[BOOK_EVENTS].to_pylist()] == [None, "5", "6", "5", "5", "6"]
    assert (found.tables[TRADES].num_rows, found.skipped) == (1, 1)
    assert list(tops(found.tables[BOOK_EVENTS]).values()) == [(1, 16, None, None)]
