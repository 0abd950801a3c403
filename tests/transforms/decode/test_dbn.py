"""DBN: every record as the vendor's own decoder reads it, and what we make of the records."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import databento_dbn as vendor
import numpy as np
import pytest
import zstandard

from tests.transforms.decode.dbn_files import FILES, FOLDER, bytes_messages, file_messages, header, record
from transforms.decode import dbn
from transforms.decode.dbn_batch import about_of, groups
from transforms.decode.dbn_layout import (
    ERROR,
    LAYOUTS,
    MBP_0,
    MBP_1,
    SYMBOL_MAPPING,
    SYSTEM,
    UNDEF_PRICE,
    layout_of,
    record_starts,
)
from transforms.decode.decoded import BARS, BOOK_EVENTS, QUOTES, TRADES, Refusals

NEW = [path for path in FILES if path.suffix != ".dbz"]
TRADE, NOON = LAYOUTS[MBP_0, 48], 1_609_156_800_000_000_000  # 2020-12-28 12:00 UTC
NONE = {UNDEF_PRICE}


def told_by_vendor(path):
    """The header and records of a file, as the vendor's decoder gives them, in their own version."""
    data = path.read_bytes()
    if data[:4] == zstandard.FRAME_HEADER:
        data = zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True).read()
    decoder = vendor.DBNDecoder(upgrade_policy=vendor.VersionUpgradePolicy.AS_IS)
    decoder.write(data)
    found = decoder.decode()
    return found[0], found[1:]


def symbol_of(head, entry):
    """The symbol by the vendor's table of intervals, on the UTC day of the receipt, else of the event."""
    stamp = getattr(entry, "ts_recv", None) or entry.ts_event
    day = datetime.fromtimestamp(stamp // 10**9, UTC).date()
    for symbol, spells in head.mappings.items():
        for spell in spells:
            if spell["symbol"] == str(entry.instrument_id) and spell["start_date"] <= day < spell["end_date"]:
                return symbol
    return f"{head.dataset}:{entry.instrument_id}"


def price(value):
    return None if value == UNDEF_PRICE else Decimal(value).scaleb(-9)


def stamp_of(row):
    whole = row["ts_event"] - datetime(1970, 1, 1, tzinfo=UTC)
    return (whole.days * 86_400_000_000 + whole.seconds * 1_000_000 + whole.microseconds) * 1000 + row["ts_event_nanos"]


CLASSES = {
    0x00: "TradeMsg", 0x01: "MBP1Msg", 0x0A: "MBP10Msg", 0xA0: "MBOMsg", 0xB1: "CMBP1Msg", 0xC0: "CBBOMsg", 0xC1: "CBBOMsg",
    0xC2: "CMBP1Msg", 0xC3: "BBOMsg", 0xC4: "BBOMsg", **dict.fromkeys((0x11, 0x20, 0x21, 0x22, 0x23, 0x24), "OHLCVMsg"),
    0x12: "StatusMsg", 0x14: "ImbalanceMsg", (0x18, 64): "StatMsgV1", (0x18, 80): "StatMsg", (0x13, 360): "InstrumentDefMsgV1",
    (0x13, 400): "InstrumentDefMsgV2", (0x13, 520): "InstrumentDefMsg", (0x16, 80): "SymbolMappingMsgV1",
    (0x16, 176): "SymbolMappingMsg", (0x15, 80): "ErrorMsgV1", (0x15, 320): "ErrorMsg", (0x17, 80): "SystemMsgV1",
    (0x17, 320): "SystemMsg",
}  # fmt: skip


@pytest.mark.parametrize(("kind", "length"), LAYOUTS, ids=str)
def test_layouts_are_the_vendors(kind, length):
    theirs = np.dtype(getattr(vendor, CLASSES.get(kind) or CLASSES[kind, length])._dtypes)
    ours = {name: (one[0].itemsize, one[1]) for name, one in LAYOUTS[kind, length].fields.items() if not name.startswith("pad")}
    renamed = {"err": "text", "msg": "text"}
    assert {renamed.get(name, name): (one[0].itemsize, one[1]) for name, one in theirs.fields.items() if name[0] != "_"} == ours
    assert theirs.itemsize == length


@pytest.mark.parametrize("path", NEW, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_every_field_is_what_the_vendor_reads(path):
    head, expected = told_by_vendor(path)
    given = file_messages(path)
    refused = Refusals()
    abouts = [about_of(request) for request in given["request"].to_pylist()]
    found = [one for group in groups(given["payload"].to_pylist(), abouts, refused) for one in group.records]
    assert len(found) == len(expected)
    assert refused.table().num_rows == 0
    assert all(about.dataset == head.dataset for about in abouts if about is not None)
    for ours, theirs in zip(found, expected, strict=True):
        raw = np.frombuffer(bytes(theirs), ours.dtype, 1)[0]
        assert raw.tobytes() == ours.tobytes()
        for name in ours.dtype.names:
            value = getattr(theirs, name, None)
            if isinstance(value, int) and not isinstance(value, bool) and name != "length":
                assert int(value) == int(ours[name]), name


@pytest.mark.parametrize("path", NEW, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_trades_quotes_and_bars_say_what_the_records_say(path):
    head, expected = told_by_vendor(path)
    found = dbn.decode(file_messages(path))
    assert found.refused.num_rows == 0
    trades, quotes, bars = (found.tables[name].to_pylist() for name in (TRADES, QUOTES, BARS))
    sides = {"A": "sell", "B": "buy", "N": None}
    wanted = [one for one in expected if getattr(one, "action", None) == "T" and not isinstance(one, vendor.StatusMsg)]
    assert [(stamp_of(row), row["symbol"], row["price"], row["size"], row["side"]) for row in trades] == [
        (one.ts_event, symbol_of(head, one), price(one.price), Decimal(one.size), sides[str(one.side)]) for one in wanted
    ]
    wanted = [one for one in expected if hasattr(one, "levels")]
    assert [
        (row["symbol"], row["bid_price"], row["bid_size"], row["ask_price"], row["ask_size"], stamp_of(row)) for row in quotes
    ] == [
        (symbol_of(head, one), price(top.bid_px), Decimal(top.bid_sz), price(top.ask_px), Decimal(top.ask_sz), as_of(one))
        for one, top in ((one, one.levels[0]) for one in wanted)
    ]
    wanted = [one for one in expected if isinstance(one, vendor.OHLCVMsg)]
    assert [(row["open"], row["high"], row["low"], row["close"], row["volume"]) for row in bars] == [
        (*map(price, (one.open, one.high, one.low, one.close)), Decimal(one.volume)) for one in wanted
    ]
    intervals = {"ohlcv-1s": "1s", "ohlcv-1m": "1m", "ohlcv-1h": "1h", "ohlcv-1d": "1d"}
    assert all(row["interval"] == intervals[str(head.schema)] for row in bars)


def as_of(one):
    """A sampled quote is as of the sample; its event time is the last trade's."""
    return one.ts_recv if isinstance(one, vendor.BBOMsg | vendor.CBBOMsg) else one.ts_event


@pytest.mark.parametrize(
    "path", [path for path in NEW if ".mbo" in path.name], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_orders_say_what_the_records_say(path):
    _, expected = told_by_vendor(path)
    found = dbn.decode(file_messages(path)).tables[BOOK_EVENTS].to_pylist()
    actions = {"A": "add", "M": "modify", "C": "cancel", "R": "clear", "F": "fill"}
    wanted = [one for one in expected if str(one.action) in actions]
    assert [
        (row["action"], row["order_id"], row["price"], row["size"], row["sequence"], row["is_complete"]) for row in found
    ] == [
        (actions[str(one.action)], str(one.order_id), price(one.price), Decimal(one.size), one.sequence, one.flags >= 128)
        for one in wanted
    ]


@pytest.mark.parametrize(
    "path", [path for path in NEW if "mbp-10" in path.name], ids=lambda path: f"{path.parent.name}/{path.name}"
)
def test_ten_levels_say_what_the_records_say(path):
    _, expected = told_by_vendor(path)
    found = dbn.decode(file_messages(path)).tables[BOOK_EVENTS].to_pylist()
    wanted = []
    for one in expected:
        wanted += [("buy", price(top.bid_px), Decimal(top.bid_sz)) for top in one.levels if top.bid_px not in NONE]
        wanted += [("sell", price(top.ask_px), Decimal(top.ask_sz)) for top in one.levels if top.ask_px not in NONE]
    assert [(row["side"], row["price"], row["size"]) for row in found if row["action"] is None] == wanted
    assert sum(row["action"] == "clear" for row in found) == len(expected)
    assert sum(row["is_complete"] for row in found) == len(expected)


@pytest.mark.parametrize("path", sorted((FOLDER / "dbz").glob("*.dbz")), ids=lambda path: path.name)
def test_dbz_holds_the_rows_of_dbn(path):
    newer = FOLDER / "versions" / f"{path.stem}.v1.dbn.zst"
    older, same = dbn.decode(file_messages(path)), dbn.decode(file_messages(newer))
    assert older.refused.num_rows == 0
    assert {name: rows.num_rows for name, rows in older.tables.items()} == {n: rows.num_rows for n, rows in same.tables.items()}
    if "definition" not in path.name:
        assert {name: rows.to_pylist() for name, rows in older.tables.items()} == {
            name: rows.to_pylist() for name, rows in same.tables.items()
        }


def test_versions_say_the_same():
    for path in sorted((FOLDER / "versions").glob("*.v3.dbn.zst")):
        older = [path.with_name(path.name.replace(".v3.", f".v{version}.")) for version in (1, 2)]
        newest = dbn.decode(file_messages(path)).tables
        for other in (one for one in older if one.exists()):
            tables = dbn.decode(file_messages(other)).tables
            for name, rows in tables.items():
                columns = [column for column in rows.column_names if column not in ("detail", "description")]
                assert rows.select(columns).to_pylist() == newest[name].select(columns).to_pylist(), other.name


# --- files written by hand: what samples do not hold


def a_trade(number=7, ns=NOON, **more):
    fields = {"publisher_id": 2, "instrument_id": number, "ts_event": ns, "ts_recv": ns + 999, "price": 1_500_000_000}
    return record(TRADE, MBP_0, **(fields | {"size": 3, "action": ord("T"), "side": ord("B"), "sequence": 1} | more))


def test_a_number_means_another_symbol_on_another_day():
    spells = {"OLD": [(20201228, 20201229, "7")], "NEW": [(20201229, 20201230, "7")], "OTHER": [(20201228, 20201230, "8")]}
    day = 86_400 * 10**9
    content = header(spells) + a_trade() + a_trade(8) + a_trade(ns=NOON + day) + a_trade(ns=NOON + 2 * day)
    found = dbn.decode(bytes_messages(content)).tables[TRADES]
    assert found["symbol"].to_pylist() == ["OLD", "OTHER", "NEW", "XNAS.ITCH:7"]


def test_the_day_is_of_the_receipt():
    content = header({"OLD": [(20201228, 20201229, "7")], "NEW": [(20201229, 20201230, "7")]})
    midnight = NOON + 43_200 * 10**9
    content += a_trade(ns=midnight - 1)  # received 999 ns later, the day after
    found = dbn.decode(bytes_messages(content)).tables[TRADES]
    assert found["symbol"].to_pylist() == ["NEW"]
    assert found["ts_event"].to_pylist()[0].date() == date(2020, 12, 28)
    assert found["ts_event_nanos"].to_pylist() == [999]


def test_a_live_capture_tells_symbols_as_it_goes():
    mapping, heartbeat, error = LAYOUTS[SYMBOL_MAPPING, 176], LAYOUTS[SYSTEM, 320], LAYOUTS[ERROR, 320]

    def named(symbol):
        return record(mapping, SYMBOL_MAPPING, 5, instrument_id=7, stype_in_symbol=b"ASKED", stype_out_symbol=symbol)

    content = header({}, schema=0xFFFF, ts_out=True) + named(b"FIRST") + a_trade(ts_out=1)
    content += record(heartbeat, SYSTEM, 6, text=b"Heartbeat") + named(b"SECOND") + a_trade(ts_out=2) + a_trade(9, ts_out=3)
    content += record(error, ERROR, 7, text=b"too slow")
    given = bytes_messages(content)
    found = dbn.decode(given)
    assert found.tables[TRADES]["symbol"].to_pylist() == ["FIRST", "SECOND", "XNAS.ITCH:9"]
    assert found.refused["rule"].to_pylist() == ["gateway_error"]
    assert found.refused["value"].to_pylist() == ["too slow"]
    assert found.skipped == 3
    assert given.num_rows == 3  # the header, and two batches: a symbol holds for a whole batch


def test_what_is_undefined_is_null_and_flags_are_words():
    layout = layout_of(MBP_1, 80, False)
    fields = {"publisher_id": 2, "instrument_id": 7, "ts_event": NOON, "ts_recv": NOON, "action": ord("A"), "side": ord("N")}
    content = header({"X": [(20201228, 20201229, "7")]}, schema=1)
    content += record(layout, MBP_1, **fields, bid_px_00=UNDEF_PRICE, ask_px_00=-5, ask_sz_00=2**32 - 1, flags=128 + 64 + 8 + 4)
    row = dbn.decode(bytes_messages(content)).tables[QUOTES].to_pylist()[0]
    assert (row["bid_price"], row["bid_size"]) == (None, 0)
    assert (row["ask_price"], row["ask_size"]) == (Decimal("-0.000000005"), None)
    assert row["conditions"] == "tob,bad_ts_recv,maybe_bad_book"


def test_bars_of_one_venue_among_several_are_named_after_it():
    found = dbn.decode(file_messages(FOLDER / "OPRA.PILLAR" / "test_data.ohlcv-1h.dbn.zst")).tables[BARS]
    assert found["symbol"].to_pylist()[0] == "AAPL  250221C00250000:AMXO"
    assert (
        dbn.decode(file_messages(FOLDER / "EQUS.MINI" / "test_data.ohlcv-1h.dbn.zst")).tables[BARS]["symbol"][0].as_py() == "QQQ"
    )


def test_an_unknown_record_is_refused_and_the_others_are_read():
    odd = bytearray(a_trade())
    odd[1] = 0x77
    found = dbn.decode(bytes_messages(header({}) + a_trade() + bytes(odd) + a_trade()))
    assert found.tables[TRADES].num_rows == 2
    assert found.refused["rule"].to_pylist() == ["record_unknown"]
    assert found.refused["ordinal"].to_pylist() == [32]


@pytest.mark.parametrize("beyond", [10**18, -(10**18), -(2**63), 2**63 - 2])
def test_a_price_beyond_our_digits_is_refused_and_the_others_are_read(beyond):
    found = dbn.decode(bytes_messages(header({}) + a_trade() + a_trade(price=beyond) + a_trade(price=10**18 - 1)))
    assert found.tables[TRADES].num_rows == 2
    assert found.refused["rule"].to_pylist() == ["price_out_of_range"]
    found.tables[TRADES].validate(full=True)


def test_records_of_one_length_need_no_walk():
    one = np.frombuffer(a_trade() * 5, np.uint8)
    other = np.frombuffer(a_trade() * 2 + a_trade(ts_out=1) + a_trade() * 2, np.uint8)
    assert record_starts(one).tolist() == [0, 48, 96, 144, 192]
    assert record_starts(other).tolist() == [0, 48, 96, 152, 200]
    assert record_starts(np.frombuffer(a_trade() * 2 + b"\x0c\0", np.uint8)).tolist() == [0, 48]
