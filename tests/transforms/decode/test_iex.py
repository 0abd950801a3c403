"""IEX captures: every message type, every container form, and any damage, against messages written by hand."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.decode.cases import messages
from tests.transforms.decode.iex_made import (
    DEEP10,
    TOPS16,
    deep_messages,
    level,
    packet,
    packets_of,
    pcap,
    pcapng,
    quote,
    segment,
    system,
    tops_messages,
    trade,
)
from transforms.decode.decoded import BOOK_EVENTS, QUOTES, STATUS_EVENTS, TRADE_EVENTS, TRADES
from transforms.decode.iex import decode_deep, decode_tops

TOPS = packets_of(tops_messages(), TOPS16)
DEEP = packets_of(deep_messages(), DEEP10)


def rows(decoded, table):
    """Return the rows of a table without nulls, numbers as text."""
    return [{name: value for name, value in row.items() if value is not None} for row in decoded.tables[table].to_pylist()]


def texts(decoded, table, *names):
    return [tuple(None if row.get(n) is None else str(row.get(n)) for n in names) for row in rows(decoded, table)]


def test_every_tops_message_becomes_a_row_with_its_time_number_and_session():
    found = decode_tops(messages([pcap(TOPS)]))
    assert found.refused.num_rows == 0 and found.fact_count == len(tops_messages()) and found.skipped == 0
    assert texts(found, TRADES, "symbol", "trade_id", "price", "size", "conditions", "sequence", "venue_session") == [
        ("ZIEXT", "77", "40.000000000", "100.00000000", "ISO,ODD", "14", "1137508352")
    ]
    assert texts(found, TRADE_EVENTS, "kind", "trade_id", "price") == [("break", "77", "40.000000000")]
    assert texts(found, QUOTES, "bid_price", "bid_size", "ask_price", "ask_size", "conditions") == [
        (None, "0E-8", None, "0E-8", "outside_regular"),
        ("39.990000000", "300.00000000", "40.010000000", "200.00000000", None),
    ]
    times = {(str(row["ts_event"]), row["ts_event_nanos"]) for table in found.tables for row in rows(found, table)}
    assert times == {("2017-07-10 14:34:37.643876+00:00", 560)}
    assert {row["mic"] for table in found.tables for row in rows(found, table)} == {"IEXG"}


def test_states_say_what_they_say():
    found = decode_tops(messages([pcap(TOPS)]))
    told = texts(found, STATUS_EVENTS, "kind", "status", "code", "reason", "is_trading", "is_short_sale_restricted", "side")
    assert told == [
        ("system", "start_of_messages", "O", None, None, None, None),
        ("listing", None, None, None, None, None, None),
        ("trading_status", "halted", "H", "T1", "False", None, None),
        ("trading_status", "trading", "T", None, "True", None, None),
        ("retail_interest", "buy", "A", None, None, None, "buy"),
        ("operational_halt", "halted", "O", None, "False", None, None),
        ("operational_halt", "not_halted", "N", None, None, None, None),
        ("short_sale", "restricted", "1", "A", None, "True", None),
        ("security_event", "opening_process_complete", "O", None, None, None, None),
        ("official_price", "official_close", "M", None, None, None, None),
        ("auction", None, "C", None, None, None, "buy"),
    ]
    listing, official, auction = (rows(found, STATUS_EVENTS)[place] for place in (1, 9, 10))
    assert str(listing["reference_price"]) == "40.000000000"
    assert listing["detail"] == '{"is_test":true,"is_when_issued":false,"is_etp":true,"round_lot":100,"luld_tier":1}'
    assert (official["auction"], str(official["price"])) == ("close", "39.990000000")
    assert [str(auction[name]) for name in ("size", "reference_price", "indicative_price", "imbalance_size", "lower_price")] == [
        "1000.00000000", "40.000000000", "40.100000000", "250.00000000", "36.000000000"
    ]  # fmt: skip
    assert (str(auction["ts_effective"]), auction["auction"]) == ("2017-07-10 20:00:00+00:00", "close")
    assert auction["detail"] == '{"extensions":2,"book_clearing_price":"40.0500","collar_reference_price":"40.0000"}'


def test_deep_levels_tell_side_price_size_and_whether_the_update_is_complete():
    found = decode_deep(messages([pcap(DEEP)]))
    assert found.refused.num_rows == 0 and found.fact_count == len(deep_messages())
    assert texts(found, BOOK_EVENTS, "side", "price", "size", "is_complete", "sequence", "channel") == [
        ("buy", "39.990000000", "300.00000000", "False", "12", "1"),
        ("sell", "40.010000000", "200.00000000", "True", "13", "1"),
        ("sell", "40.010000000", "0E-8", "True", "15", "1"),
    ]


@pytest.mark.parametrize(
    "capture",
    [
        pcap(TOPS, ">"), pcap(TOPS, "<", 10**9), pcap(TOPS, ">", 10**9), pcapng(TOPS), pcapng(TOPS, ">", 9),
        pcapng(TOPS, "<", None),
        pcap([one[:12] + b"\x81\x00\x00\x07" + one[12:] for one in TOPS]),
        pcap([one[14:] for one in TOPS], link=101),
        pcap([bytes(14) + one[12:] for one in TOPS], link=113),
        pcap([b"\x08\x00" + bytes(18) + one[14:] for one in TOPS], link=276),
    ],
    ids=["big", "nanos", "big-nanos", "ng", "ng-big", "ng-micros", "vlan", "raw-ip", "cooked", "cooked2"],
)  # fmt: skip
def test_each_form_of_capture_gives_the_same_rows(capture):
    expected, found = decode_tops(messages([pcap(TOPS)])), decode_tops(messages([capture]))
    assert found.refused.num_rows == 0
    assert all(found.tables[name].equals(expected.tables[name]) for name in expected.tables)


def test_ipv6_is_read_and_what_is_not_iex_is_counted():
    datagram = TOPS[0][14 + 20 :]
    six = TOPS[0][:12] + b"\x86\xdd" + struct.pack(">IHBB32s", 6 << 28, len(datagram), 17, 64, bytes(32)) + datagram
    others = [b"\x00" * 14, b"", packet(b"hello"), TOPS[0][:12] + b"\x08\x06" + bytes(28), packet(bytes(60))]
    found = decode_tops(messages([pcap([six, *others])]))
    assert (found.fact_count, found.skipped, found.refused.num_rows) == (4, 5, 0)


def test_deep_in_a_capture_of_tops_is_left_to_its_own_feed():
    both = messages([pcap([*TOPS, *DEEP])])
    assert decode_tops(both).fact_count == len(tops_messages()) and decode_tops(both).skipped == len(deep_messages())
    assert decode_deep(both).fact_count == len(deep_messages())


def test_longer_bodies_are_read_and_shorter_or_unknown_ones_refused():
    odd = [trade(b"A", 1, 10_000, 5) + b"\0\0\0\0", trade(b"A", 1, 10_000, 6)[:-1], b"z" + bytes(20), b"",
           level(b"8", b"A", 1, 1), trade(b"A", 1, -1, 7), quote(b"A", (10**15, 1), (0, 0)), system(b"O", -1)]  # fmt: skip
    found = decode_tops(messages([pcap([packet(segment(odd))])]))
    assert texts(found, TRADES, "trade_id") == [("5",)]
    refused = [(row["ordinal"], row["table_name"], row["rule"]) for row in found.refused.to_pylist()]
    assert refused == [
        (1, TRADES, "short_message"), (2, STATUS_EVENTS, "unknown_type"), (3, STATUS_EVENTS, "unknown_type"),
        (4, STATUS_EVENTS, "unknown_type"), (5, TRADES, "price_out_of_range"), (6, QUOTES, "price_out_of_range"),
        (7, STATUS_EVENTS, "timestamp"),
    ]  # fmt: skip


def test_cut_at_every_byte_whole_packets_are_read_and_the_rest_is_refused_once():
    whole = pcap(TOPS[:2])
    ends = [24, 24 + 16 + len(TOPS[0]), len(whole)]
    for cut in range(1, len(whole)):
        found = decode_tops(messages([whole[:cut]]))
        packets = sum(cut >= end for end in ends[1:])
        assert found.fact_count == 4 * packets
        assert found.refused["rule"].to_pylist() == (
            [] if cut in ends else ["truncated_packet" if cut >= 24 else "not_a_capture"]
        )


def test_a_packet_captured_in_part_gives_its_whole_messages():
    part = TOPS[3][:-20]
    found = decode_tops(messages([pcap([part])]))
    assert texts(found, TRADES, "trade_id") == [("77",)]
    assert found.refused["rule"].to_pylist() == ["truncated_packet"]


def test_fragments_and_segments_that_do_not_add_up_are_refused():
    fragment = bytearray(TOPS[0])
    fragment[20:22] = b"\x20\x00"
    longer = packet(segment([system(b"O")]))
    wrong = bytearray(longer)
    wrong[42 + 14] = 2
    huge = bytearray(longer)
    huge[42 + 24 : 42 + 32] = b"\xff" * 8
    for bad, rule in ((fragment, "fragmented_packet"), (wrong, "malformed_segment"), (huge, "malformed_segment")):
        found = decode_tops(messages([pcap([bytes(bad), TOPS[3]])]))
        assert found.refused["rule"].to_pylist() == [rule]
        assert found.tables[TRADES].num_rows == 1


@given(st.lists(st.tuples(st.integers(0, 4000), st.integers(0, 255)), max_size=6), st.booleans())
def test_mutated_captures_are_accounted_for(changes, is_next_generation):
    capture = bytearray(pcapng(TOPS) if is_next_generation else pcap(TOPS))
    for place, value in changes:
        capture[place % len(capture)] = value
    found = decode_tops(messages([bytes(capture)]))
    assert found.fact_count + found.refused.num_rows + found.skipped + found.control > 0
    for table in found.tables.values():
        table.validate(full=True)
        assert len(table.to_pylist()) == table.num_rows
