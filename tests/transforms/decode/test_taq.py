"""NYSE TAQ: headers, clocks, and records cut into messages."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.source import Source, Told
from ingest.containers.taq import MOST_RECORDS, is_taq, taq_records
from tests.transforms.decode.cases import SAMPLES, messages
from transforms.decode.nyse_taq import columns_of, decode_quotes, decode_trades

TRADES = SAMPLES / "nyse_taq" / "trades"
HEADER = "DATE,TIME,EX,SYMBOL,SIZE,PRICE,CORR\n"


def instants(day: str, *clocks: str):
    lines = "".join(f"{day},{clock},N,A,1,1.5,0\n" for clock in clocks)
    rows = decode_trades(messages([(HEADER + lines).encode()])).tables["normalized.trades"].to_pylist()
    return [f"{row['ts_event']:%H:%M:%S.%f}{row['ts_event_nanos']:03d}" for row in rows]


def test_times_are_those_of_new_york_in_winter_and_summer():
    assert instants("20180105", "9:30:00", "093000123456789") == ["14:30:00.000000000", "14:30:00.123456789"]
    assert instants("2018-07-05", "09:30:00.5", "93000123456789") == ["13:30:00.500000000", "13:30:00.123456789"]
    assert instants("20181104", "09:30:00") == ["14:30:00.000000000"]  # the day on which the clock is set back


def test_headers_of_known_layouts_and_no_others():
    assert [
        columns_of((TRADES / name).read_bytes().split(b"\n")[0]).feed for name in ("highfrequency.csv", "wrds_daily.csv")
    ] == ["trades"] * 2
    assert columns_of(b"SYMBOL,DATE,TIME,BID,OFR,BIDSIZ,OFRSIZ,MODE,EX").feed == "quotes"
    for header in (b"", b"Date,Open,High,Low,Close", b"DT,EX,SYMBOL", b"EX,EX,SYMBOL,DT,PRICE,SIZE", b"," * 100):
        assert columns_of(header) is None


def test_a_file_is_cut_at_records_and_keeps_every_one(tmp_path: Path):
    lines = [f"20180105,09:30:00.{number:06d},N,A,1,1.{number},0" for number in range(MOST_RECORDS * 2 + 5)]
    path = tmp_path / "trades.csv"
    path.write_text(HEADER + "\n".join(lines) + "\n")
    pieces = list(taq_records(Source(path), Told(path.name)))
    assert [piece.request["first_record"] for piece in pieces] == [0, MOST_RECORDS, 2 * MOST_RECORDS]
    found = decode_trades(messages([piece.payload for piece in pieces], [piece.request for piece in pieces]))
    assert [f"{row['price'].normalize():f}" for row in found.tables["normalized.trades"].to_pylist()][:3] == ["1", "1.1", "1.2"]
    assert found.tables["normalized.trades"].num_rows == len(lines)
    assert is_taq("trades")("x", HEADER.encode())
    assert not is_taq("quotes")("x", HEADER.encode())


@pytest.mark.hypothesis
@given(st.lists(st.text(st.characters(codec="latin-1", exclude_characters="\n,"), max_size=6), min_size=7, max_size=8))
def test_any_record_is_a_row_or_refused(fields):
    line = ",".join(fields)
    for header, decode in ((HEADER, decode_trades), ("DT,EX,SYMBOL,BID,BIDSIZ,OFR,OFRSIZ\n", decode_quotes)):
        found = decode(messages([header.encode() + line.encode("latin-1") + b"\n"]))
        assert found.fact_count + found.refused.num_rows + found.control >= 1
