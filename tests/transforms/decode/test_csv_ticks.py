"""Ticks read by columns and one by one say the same, whatever the bytes; what is damaged is refused with its record's number."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.mappings import load_mapping, shipped_mappings
from tests.transforms.decode.csv_messages import read_csv, rows_of
from transforms.decode.csv_bars import plain_bars
from transforms.decode.csv_mapping import parse_mapping
from transforms.decode.csv_values import file_of

pytestmark = pytest.mark.hypothesis

TRADES: dict[str, object] = {
    "kind": "trades",
    "symbol_parts": ["{venue}:", "{symbol}"],
    "time_format": "epoch_ms",
    "null_marks": ["", "-"],
    "sides": {"b": "buy", "s": "sell"},
    "columns": {
        "venue": "x",
        "symbol": "y",
        "time": "t",
        "price": "p",
        "size": "q",
        "side": "s",
        "sequence": "n",
        "trade_id": "i",
    },
}
HEAD = "x,y,t,p,q,s,n,i\n"
QUOTES = load_mapping("lean_fxcm_ticks")
FILE = "20140507_eurusd_tick_quote.csv"
numbers = st.sampled_from(
    [
        "1",
        "0",
        "-1",
        "+2",
        "1.5",
        ".5",
        "5.",
        "1e5",
        "",
        "-",
        " 7 ",
        "0.123456789",
        "0.1234567891",
        "999999999",
        "9999999999",
        "1_0",
        "x",
    ]
)
stamps = st.sampled_from(
    ["0", "86400000", "86400001", "1583020803145", "-5", "99999999999999999", "1" * 19, "", " 12", "1.5", "٣"]
)
fields = st.one_of(numbers, stamps, st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=3))
trade_lines = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["a", "b", ""]), st.sampled_from(["X", "Y", ""]), stamps, numbers, numbers,
            st.sampled_from(["b", "s", "", "z"]), numbers, st.sampled_from(["1", "", "id"]),
        ).map(",".join),
        st.lists(fields, max_size=9).map(",".join),
    ),
    max_size=12,
)  # fmt: skip


BARS: dict[str, object] = {
    "kind": "bars",
    "symbol": "X",
    "mic": "XNYS",
    "exchange_zone": "America/New_York",
    "time_zone": "America/New_York",
    "interval": "5m",
    "null_marks": ["", "-"],
    "columns": {
        "time": ["d", "t"],
        "open": "o",
        "high": "h",
        "low": "l",
        "close": "c",
        "volume": "v",
        "trade_count": "n",
    },
}
BARS_HEAD = "d,t,o,h,l,c,v,n\n"
days = st.sampled_from(["2024-03-10", "2024-03-08", "1799-01-01", "2024-02-30", "", "-", "20240308", " 2024-03-08 "])
clocks = st.sampled_from(["09:30", "02:30", "23:59:59", "09:30:00.123456789", "09:30+05:00", "", "-", "25:00", "0930"])
bar_lines = st.lists(
    st.one_of(st.tuples(days, clocks, *[numbers] * 6).map(",".join), st.lists(fields, max_size=9).map(",".join)), max_size=12
)


def one_by_one(mapping: dict[str, object]) -> dict[str, object]:
    """Return a mapping that means the same for texts without an apostrophe, but is not plain."""
    return {**mapping, "thousands_mark": "'"}


def told(mapping: dict[str, object], text: str) -> object:
    found = read_csv(mapping, FILE, text, text)
    return rows_of(found), found.refused.to_pylist(), found.control, found.skipped


@given(trade_lines, st.booleans())
def test_trades_read_by_columns_are_those_read_one_by_one(lines, has_end):
    text = (HEAD + "\n".join(lines) + "\n" * has_end).replace("'", "")
    assert told(TRADES, text) == told(one_by_one(TRADES), text)


@given(
    bar_lines,
    st.sampled_from(["\n", "\r\n"]),
    st.sampled_from(
        [("5m", "start"), ("5m", "end"), ("1d", "session_date"), ("1wk", "last_day"), ("1d", "end"), ("10s", "start")]
    ),
)
def test_bars_read_by_columns_are_those_read_one_by_one(lines, end, form):
    text = (BARS_HEAD + "\n".join(lines)).replace("'", "").replace("\r", "").replace("\n", end)
    mapping = {**BARS, "interval": form[0], "label": form[1]}
    assert told(mapping, text) == told(one_by_one(mapping), text)


def test_plain_bars_are_read_by_columns():
    lines = "2024-03-08,09:30,1.5,2,1,1.75,100,7\n2024-03-08,09:35,1.5,2,1,1.75,,\n"
    mapping = parse_mapping(BARS)
    found = plain_bars((BARS_HEAD + lines).encode(), file_of(mapping, FILE, None), 0)
    assert found is not None and (found.rows.num_rows, found.others, found.count) == (2, [], 2)
    assert found.rows["volume"].to_pylist() == [100, None] and found.rows["symbol"].to_pylist() == ["X", "X"]


@given(st.lists(st.one_of(st.tuples(stamps, numbers, numbers).map(",".join), fields), max_size=12))
def test_quotes_read_by_columns_are_those_read_one_by_one(lines):
    text = "\n".join(lines).replace("'", "")
    assert told(QUOTES, text) == told(one_by_one(QUOTES), text)


@given(st.sampled_from(sorted(shipped_mappings())), st.binary(max_size=300))
def test_any_bytes_give_rows_or_reasons(name, payload):
    found = read_csv(name, FILE, payload, b"Date,Open\n" + payload)
    assert found.control <= 2
    assert all(row["rule"] and row["expected"] for row in found.refused.to_pylist())


def test_a_damaged_line_is_refused_alone_with_its_number():
    good = "1014,1.39248,1.39250\n"
    found = read_csv(QUOTES, FILE, good + "1015,1.3x,1.4\n" + good + "garbage\n\n99999999,1,2\n1016,,\n" + good)
    assert found.fact_count == 3
    assert [(row["rule"], row["value"], row["ordinal"]) for row in found.refused.to_pylist()] == [
        ("malformed_number", "record 2: 1.3x", 1),
        ("column_count", "record 4: garbage", 3),
        ("malformed_date", "record 5: 99999999", 4),
        ("quote_empty", "record 6: None", 5),
    ]


@pytest.mark.parametrize("cut", range(0, 60, 7))
def test_a_file_cut_anywhere_gives_its_beginning(cut):
    text = "1014,1.39248,1.39250\n" * 3
    found = read_csv(QUOTES, FILE, text[:cut])
    assert found.fact_count >= cut // 21
    assert found.fact_count + found.refused.num_rows + (cut == 0) >= 1


def test_stamps_of_nanoseconds_keep_them():
    mapping = {**TRADES, "time_format": "epoch_ns"}
    rows = rows_of(read_csv(mapping, FILE, HEAD + "a,X,1583020803145000789,1,2,b,5,id\n"))
    assert (rows[0]["ts_event"], rows[0]["ts_event_nanos"]) == ("2020-03-01 00:00:03.145000+00:00", 789)
    iso = {**TRADES, "time_format": "iso"}
    rows = rows_of(read_csv(iso, FILE, HEAD + "a,X,2020-03-01T00:00:03.145000789Z,1,2,b,5,id\n"))
    assert (rows[0]["ts_event"], rows[0]["ts_event_nanos"]) == ("2020-03-01 00:00:03.145000+00:00", 789)


def test_a_time_that_no_clock_showed_is_refused():
    mapping = {**TRADES, "time_format": "iso", "time_zone": "America/New_York"}
    found = read_csv(mapping, FILE, HEAD + "a,X,2020-03-08T02:30:00,1,2,b,5,id\na,X,2020-03-08T03:30:00,1,2,b,5,id\n")
    assert found.refused["rule"].to_pylist() == ["malformed_date"]
    assert [row["ts_event"] for row in rows_of(found)] == ["2020-03-08 07:30:00+00:00"]


def test_one_bad_cell_of_a_wide_record_leaves_the_others():
    found = read_csv("ecb_rates", "eurofxref-hist.csv", "Date,USD,JPY,xx,GBP\n2026-04-13,1.1684,1.8.6,3,0.87058\n")
    assert [row["quote_currency"] for row in rows_of(found)] == ["USD", "GBP"]
    assert found.refused["rule"].to_pylist() == ["malformed_number", "currency"]


def test_wide_prices_are_closes_of_a_symbol_a_column():
    mapping = {"kind": "bars", "wide": True, "label": "session_date", "exchange_zone": "America/New_York", "columns": {"time": 1}}
    rows = rows_of(read_csv(mapping, "closes.csv", "date,AAPL,MSFT\n2020-08-03,435.75,216.54\n2020-08-04,,213.29\n"))
    assert [(row["symbol"], row["session_date"], row["close"]) for row in rows] == [
        ("AAPL", "2020-08-03", "435.750000000"),
        ("MSFT", "2020-08-03", "216.540000000"),
        ("MSFT", "2020-08-04", "213.290000000"),
    ]


def test_what_stands_before_a_header_is_passed():
    mapping = {**QUOTES, "header": "ignored", "skip_lines": 2}
    text = 'a "quote\n\nMillis,Bid,Ask\n1014,1.39248,1.39250\n'
    assert len(rows_of(read_csv(mapping, FILE, text))) == 1
    assert told(mapping, text) == told(one_by_one(mapping), text)
