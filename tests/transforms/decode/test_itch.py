"""ITCH 5.0: every message type, each way of parting them, what runs lean on, and any damage."""

from __future__ import annotations

import gzip
from collections import Counter

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.itch import date_in, is_itch, itch_messages
from ingest.containers.runs import RUN_BYTES
from ingest.containers.source import Source, Told
from tests.transforms.decode.cases import SAMPLES, messages
from tests.transforms.decode.itch_made import (
    add,
    cross,
    deleted,
    directory,
    executed,
    executed_at,
    head,
    hidden,
    prefixed,
    states,
    trading,
)
from transforms.decode.decoded import BOOK_EVENTS, STATUS_EVENTS, TRADE_EVENTS, TRADES
from transforms.decode.nasdaq_itch import decode

pytestmark = pytest.mark.hypothesis

RITCH = SAMPLES / "nasdaq" / "itch" / "ex20101224.TEST_ITCH_50.gz"
NOTES = {"date": "2010-12-24", "symbols": {"1": "ALC"}, "executed": ["100000B", "100100S", "99900B"]}


def texts(decoded, table, *names):
    return [tuple(None if row[n] is None else str(row[n]) for n in names) for row in decoded.tables[table].to_pylist()]


def imported(folder, content: bytes, name: str = "S122410-v50.txt"):
    """Return the messages of a file as the importer cuts them."""
    (folder / name).write_bytes(content)
    pieces = list(itch_messages(Source(folder / name), Told(name)))
    return messages([piece.payload for piece in pieces], [piece.request for piece in pieces])


def test_every_order_event_and_trade_is_told():
    found = decode(messages([prefixed(trading())], [NOTES]))
    assert found.refused.num_rows == 0
    assert texts(found, BOOK_EVENTS, "action", "order_id", "new_order_id", "side", "price", "size", "trade_id") == [
        ("add", "11", None, "buy", "10.000000000", "500.00000000", None),
        ("add", "12", None, "sell", "10.010000000", "300.00000000", None),
        ("execute", "11", None, None, None, "100.00000000", "901"),
        ("execute", "12", None, None, "10.005000000", "50.00000000", "902"),
        ("cancel", "11", None, None, None, "100.00000000", None),
        ("replace", "11", "13", None, "9.990000000", "200.00000000", None),
        ("execute", "13", None, None, None, "200.00000000", "903"),
        ("delete", "12", None, None, None, None, None),
    ]
    assert texts(found, BOOK_EVENTS, "participant")[1] == ("NITE",)
    assert texts(found, TRADES, "trade_id", "price", "size", "side", "conditions", "sequence") == [
        ("901", "10.000000000", "100.00000000", "sell", None, "3"),
        ("902", "10.005000000", "50.00000000", "buy", "non_printable", "4"),
        ("903", "9.990000000", "200.00000000", "sell", None, "7"),
        ("904", "10.002500000", "70.00000000", None, "non_displayed", "9"),
        ("905", "10.000000000", "10000.00000000", None, "cross_open", "10"),
    ]
    assert texts(found, TRADE_EVENTS, "kind", "trade_id", "symbol") == [("break", "904", "ALC")]
    assert texts(found, STATUS_EVENTS, "kind", "status", "auction") == [("auction", "no_cross", "halt")]
    times = {(row["ts_event"].isoformat(), row["ts_event_nanos"]) for row in found.tables[BOOK_EVENTS].to_pylist()}
    assert times == {("2010-12-24T14:30:00+00:00", 123)}


def test_states_say_what_they_say():
    found = decode(messages([prefixed(states())], [NOTES]))
    assert found.refused.num_rows == 0
    assert texts(found, STATUS_EVENTS, "kind", "status", "symbol", "is_trading", "is_quoting") == [
        ("system", "start_of_regular_hours", None, None, None),
        ("listing", None, "ALC", None, None),
        ("trading_status", "halted", "ALC", "False", "False"),
        ("trading_status", "quoting", "ALC", "False", "True"),
        ("short_sale", "restricted", "ALC", None, None),
        ("participant", "active", "ALC", None, None),
        ("circuit_breaker", "decline_levels", None, None, None),
        ("circuit_breaker", "level_2_breached", None, None, None),
        ("ipo", "anticipated", "ALC", None, None),
        ("price_band", "auction_collar", "ALC", None, None),
        ("operational_halt", "halted", "ALC", "False", None),
        ("auction", None, "ALC", None, None),
        ("retail_interest", "both", "ALC", None, None),
        ("ipo", "direct_listing", "ALC", None, None),
    ]
    told = found.tables[STATUS_EVENTS].to_pylist()
    assert orjson.loads(told[1]["detail"])["round_lot_size"] == 100
    assert orjson.loads(told[6]["detail"])["level_3"] == "2277.00000001"
    assert (str(told[8]["price"]), str(told[8]["ts_effective"])) == ("17.000000000", "2010-12-24 15:00:00+00:00")
    assert [str(told[11][name]) for name in ("size", "imbalance_size", "side", "indicative_price", "reference_price")] == [
        "5000.00000000", "700.00000000", "sell", "9.950000000", "10.000000000"
    ]  # fmt: skip


def test_every_message_of_ritchs_file_by_type_in_each_framing(tmp_path):
    zeros = gzip.decompress(RITCH.read_bytes())
    bare, filled, at = [], [], 0
    lengths = {"S": 12, "R": 39, "H": 25, "A": 36, "F": 40, "E": 31, "X": 23, "D": 19, "U": 35, "P": 44}
    while at < len(zeros):
        length = lengths[chr(zeros[at + 2])]
        bare.append(zeros[at + 2 : at + 2 + length])
        filled.append(length.to_bytes(2, "big") + bare[-1])
        at += 2 + length
    assert Counter(chr(one[0]) for one in bare) == {
        "S": 6, "R": 3, "H": 3, "A": 4997, "F": 3, "E": 198, "X": 45, "D": 1745, "U": 12, "P": 5000,
    }  # fmt: skip
    results = []
    for content in (zeros, b"".join(filled), b"".join(bare)):
        assert is_itch("any", content[:65536])
        given_messages = imported(tmp_path, content, "ex20101224.TEST_ITCH_50")
        found = decode(given_messages)
        assert (found.refused.num_rows, found.control) == (0, 0)
        assert Counter(found.tables[BOOK_EVENTS]["action"].to_pylist()) == {
            "add": 5000, "execute": 198, "cancel": 45, "delete": 1745, "replace": 12
        }  # fmt: skip
        assert (found.tables[TRADES].num_rows, found.tables[STATUS_EVENTS].num_rows) == (5198, 12)
        assert sum(table["symbol"].null_count for name, table in found.tables.items() if name != STATUS_EVENTS) == 0
        results.append({name: table.drop_columns(["message_index", "ordinal"]) for name, table in found.tables.items()})
    assert results[0] == results[1] and all(results[0][name].sort_by("sequence").equals(results[2][name]) for name in results[0])


def test_runs_are_the_file_and_note_what_they_lean_on(tmp_path):
    content = prefixed([directory(), *(add(n, b"S", 100, 10_000 + n) for n in range(1, 5_000)), executed(7, 100, 1)])
    (tmp_path / "01302019.NASDAQ_ITCH50").write_bytes(content + b"\0\0")
    pieces = list(itch_messages(Source(tmp_path / "01302019.NASDAQ_ITCH50"), Told("01302019.NASDAQ_ITCH50")))
    assert b"".join(piece.payload for piece in pieces) == content + b"\0\0"
    assert len(pieces) == 2 and len(pieces[0].payload) < RUN_BYTES + 100
    assert [pieces[1].request[name] for name in ("date", "symbols", "executed")] == ["2019-01-30", {"1": "ALC"}, ["10007S"]]
    found = decode(messages([piece.payload for piece in pieces], [piece.request for piece in pieces]))
    assert texts(found, TRADES, "price", "side", "symbol", "sequence") == [("1.000700000", "buy", "ALC", "5001")]
    assert found.refused.num_rows == 0


def test_an_execution_told_before_its_order_finds_it(tmp_path):
    content = prefixed([directory(), executed(9, 100, 1), executed(9, 50, 2), add(9, b"B", 200, 50_000), executed(9, 50, 3)])
    found = decode(imported(tmp_path, content + prefixed([executed(9, 1, 4), executed(8, 1, 5), deleted(9)])))
    assert texts(found, TRADES, "trade_id", "price", "side") == [
        ("1", "5.000000000", "sell"), ("2", "5.000000000", "sell"), ("3", "5.000000000", "sell"), ("4", "5.000000000", "sell"),
    ]  # fmt: skip
    assert found.tables[BOOK_EVENTS].num_rows == 7, "an execution of an order that nothing tells stays an order's event"


def test_dates_stand_in_names():
    names = (
        "ex20101224.TEST_ITCH_50",
        "01302019.NASDAQ_ITCH50.gz",
        "S071321-v50.txt.gz",
        "20190530.BX_ITCH_50",
        "v50",
        "99999999",
    )
    assert [str(date_in(name)) for name in names] == ["2010-12-24", "2019-01-30", "2021-07-13", "2019-05-30", "None", "None"]


def test_a_run_without_a_date_or_names_is_refused_not_guessed(tmp_path):
    undated = decode(imported(tmp_path, prefixed(trading()), "orders"))
    assert undated.fact_count == 0 and undated.refused["rule"].to_pylist() == ["unknown_date"]
    assert undated.refused.num_rows + undated.control == 1
    nameless = decode(messages([prefixed([executed(1, 1, 1)])], [{"date": "2010-12-24"}]))
    assert texts(nameless, BOOK_EVENTS, "symbol", "size") == [(None, "1.00000000")]


def test_messages_cut_at_every_byte_and_of_odd_forms_are_accounted_for():
    content = prefixed(trading()[:4])
    ends = [38, 38 + 42, 80 + 33, 113 + 38]
    for cut in range(1, len(content)):
        found = decode(messages([content[:cut]], [NOTES | {"prefix": 2}]))
        assert found.tables[BOOK_EVENTS].num_rows == sum(end <= cut for end in ends)
        assert found.refused["rule"].to_pylist() == ([] if cut in ends else ["truncated_message"])
    odd = [b"z" * 20, executed(1, 1, 1)[:-1], head(b"S", at=86_400_000_000_000) + b"O", hidden(1, 10_000, 5) + b"more",
           cross(10**11, 1, 1), executed_at(3, 1, 6, 0)]  # fmt: skip
    found = decode(messages([prefixed(odd)], [NOTES]))
    assert found.refused["rule"].to_pylist() == ["unknown_type", "short_message", "timestamp", "overflow"]
    assert texts(found, TRADES, "trade_id", "price") == [("5", "1.000000000"), ("6", "0E-9")]


def test_messages_too_short_or_out_of_time_leave_each_other_their_prices(tmp_path):
    late = bytearray(executed(11, 7, 905))
    late[5:11] = (86_400_000_000_000).to_bytes(6, "big")
    told = [directory(), add(11, b"B", 500, 100_000), add(12, b"S", 500, 100_100), executed(11, 5, 901)[:-1], bytes(late)]
    content = prefixed([*told, executed(12, 9, 902), directory()[:20]])
    found = decode(imported(tmp_path, content))
    assert texts(found, TRADES, "trade_id", "price", "side") == [("902", "10.010000000", "buy")]
    assert sorted(found.refused["rule"].to_pylist()) == ["short_message", "short_message", "timestamp"]


@pytest.mark.parametrize("is_prefixed", [True, False])
def test_mutated_runs_are_accounted_for(is_prefixed):
    content = prefixed([*states(), *trading()]) if is_prefixed else b"".join([*states(), *trading()])

    @given(st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=6))
    def run(changes):
        changed = bytearray(content)
        for place, value in changes:
            changed[place] = value
        found = decode(messages([bytes(changed)], [NOTES]))
        told = set(found.refused["message_index"].to_pylist())
        for table in found.tables.values():
            table.validate(full=True)
            told |= set(table["message_index"].to_pylist())
        assert len(told) + found.control == 1

    run()
