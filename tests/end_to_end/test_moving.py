"""Joins and changes of symbols told late: derived rows move to the instrument they belong to, and what was answered stays."""

from __future__ import annotations

import json
from datetime import date, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from lake.catalog import Lake
from lake.content import content_hash
from lake.instants import system_clock, to_datetime
from lake.scan import read
from lake.settings import load_settings
from lake.tables import table_named
from lake.values import instrument_id_of
from quality_checks.adjusting import AGREED, BARS_1D, FACTORS, AdjustReport, adjust, effective_rows
from quality_checks.building import build
from quality_checks.moving import RESTATED
from quality_checks.promotion import promote
from quality_checks.rebuild import rebuild
from quality_checks.verify import verify
from serving.bars import BarsQuestion, bars
from serving.built_bars import BuiltQuestion, built
from serving.instruments import instrument_named
from serving.paged import Paged
from serving.trades import trades
from tests.quality_checks import raw
from transforms.built_bars import BUILT
from transforms.revisions import effective

META, FB, AGAIN = (instrument_id_of(f"listing:US/{name}") for name in ("META", "FB", "FB@2022-06-09"))
CHANGES = b"scope,old_symbol,new_symbol,effective_date\nUS,FB,META,2022-06-09\n"
DERIVED = (AGREED, FACTORS, BARS_1D, BUILT)


def bars_of(symbol: str) -> raw.Payload:
    """Return the recorded chart of MSFT, which has dividends, as if it were of another symbol."""
    received, body = raw.chart("chart_MSFT_1d_2021-02_2022-01_dividends.json")
    return received, body.replace(b'"MSFT"', f'"{symbol}"'.encode())


def trade(number: int, symbol: str, day: str) -> raw.Payload:
    told = {"T": "t", "S": symbol, "i": number, "x": "V", "p": 170.5, "s": 10, "t": f"{day}T15:00:00Z", "c": ["@"], "z": "C"}
    return raw.trades([number])[0][0], json.dumps([told]).encode()


def land_facts(lake: Lake) -> None:
    """Land bars of META, and trades of META and FB before and after FB was called META."""
    raw.land(lake, "bars", [bars_of("META")], provider="yahoo", feed="chart", kind="poll", status=200)
    told = [
        *(trade(1, "META", "2022-06-13"), trade(2, "FB", "2022-06-08")),
        *(trade(3, "META", "2022-06-08"), trade(4, "FB", "2022-06-14")),
    ]
    raw.land(lake, "trades", told, provider="alpaca", feed="sip", kind="import", partition=1)


def land_list(lake: Lake, name: str, feed: str, payload: bytes) -> None:
    raw.land(lake, name, [(system_clock(), payload)], provider="reference", feed=feed, kind="import", partition=2)


def derived(lake: Lake, *providers: str) -> AdjustReport:
    """Promote what has landed of some providers and bring what is derived up to it."""
    for provider in providers:
        promote(lake, provider)
    build(lake)
    return adjust(lake)


def standing(lake: Lake, table: str, as_of: datetime | None = None) -> pa.Table:
    """Return what a table says is of whom: rows in force that did not move, without the run that wrote them."""
    definition = table_named(table)
    rows = read(lake, table, [*definition.column_names, "published_at"], as_of=as_of)
    if table != BARS_1D:
        rows = effective(definition, rows)
    if "moved_to" in rows.column_names:
        rows = rows.filter(pc.is_null(rows["moved_to"]))
    if table == FACTORS:
        rows = rows.filter(pc.not_equal(rows["status"], "rescinded"))
    return rows.select(list(definition.column_names))


def hash_of(lake: Lake, table: str, as_of: datetime | None = None) -> str:
    return content_hash(table_named(table), standing(lake, table, as_of))


def owners(lake: Lake, table: str) -> dict[tuple[str, str], int]:
    """Return (symbol, first session) -> instrument of the groups of rows in force."""
    rows = standing(lake, table)
    frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in ("symbol", "instrument_id", "session_date")})
    found = frame.group_by("symbol", "instrument_id").agg(pl.col("session_date").min())
    return {(row["symbol"], row["session_date"].isoformat()): row["instrument_id"] for row in found.iter_rows(named=True)}


def assert_proved_and_rebuilt(lake: Lake) -> None:
    assert verify(lake).failed == []
    for table in DERIVED:
        report = rebuild(lake, table)
        assert report.is_same, report


@pytest.fixture(scope="module")
def renamed(tmp_path_factory: pytest.TempPathFactory):
    """A lake that derived bars of META and FB before it was told that they are one, and the moment between."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("late")), system_clock) as lake:
        land_facts(lake)
        derived(lake, "yahoo", "alpaca")
        moment = to_datetime(lake.clock())
        before = {table: hash_of(lake, table) for table in DERIVED}
        land_list(lake, "list", "changes", CHANGES)
        derived(lake, "reference")
        yield lake, moment, before


def test_a_change_told_late_gives_what_one_told_first_gives(renamed, tmp_path: Path):
    late, _, before = renamed
    with Lake.create(load_settings(home=tmp_path / "once"), system_clock) as once:
        land_list(once, "list", "changes", CHANGES)
        promote(once, "reference")
        land_facts(once)
        derived(once, "yahoo", "alpaca")
        for table in DERIVED:
            assert hash_of(once, table) == hash_of(late, table) != before[table], table
            assert owners(once, table) == owners(late, table) if table != FACTORS else True
    assert owners(late, AGREED) == {("META", "2021-02-01"): FB}


def test_a_reused_ticker_is_two_instruments_and_each_row_belongs_to_one(renamed):
    lake, _, _ = renamed
    assert owners(lake, BUILT) == {
        ("META", "2022-06-13"): FB,
        ("FB", "2022-06-08"): FB,
        ("META", "2022-06-08"): META,
        ("FB", "2022-06-14"): AGAIN,
    }
    known = read(lake, "reference.instruments", ["identity"])["identity"].to_pylist()
    assert set(known) == {"listing:US/FB", "listing:US/FB@2022-06-09", "listing:US/META"}


def test_what_was_answered_before_stays_and_a_finding_says_what_moved(renamed):
    lake, moment, before = renamed
    assert {table: hash_of(lake, table, moment) for table in DERIVED if table != BARS_1D} == {
        table: told for table, told in before.items() if table != BARS_1D
    }
    found = read(lake, "quality.findings")
    found = found.filter(pc.equal(found["kind"], RESTATED)).to_pylist()
    moved = {(row["table_name"], row["instrument_id"]): row["detail"] for row in found}
    assert set(moved) == {(AGREED, META), (BUILT, META), (BUILT, FB)}
    assert "listing:US/FB's, no more listing:US/META's" in moved[AGREED, META] and "2021-02-01" in moved[AGREED, META]
    assert set(effective_rows(lake, AGREED, [META])["moved_to"].to_pylist()) == {FB}


def test_both_symbols_find_the_one_instrument_and_as_of_before_they_are_two(renamed):
    lake, moment, _ = renamed
    found = {symbol: bars(lake, BarsQuestion(symbol)) for symbol in ("META", "listing:US/FB")}
    assert {answer.metadata["instrument"]["identity"] for answer in found.values()} == {"listing:US/FB"}
    assert found["META"].table.equals(found["listing:US/FB"].table) and found["META"].table.num_rows > 200
    assert bars(lake, BarsQuestion("META", provider="yahoo")).table.num_rows == found["META"].table.num_rows
    assert instrument_named(lake, "FB", at=date(2022, 6, 8)).instrument_id == FB
    assert instrument_named(lake, "FB").instrument_id == instrument_named(lake, "FB", at=date(2022, 6, 9)).instrument_id == AGAIN
    then = bars(lake, BarsQuestion("META", as_of=moment))
    assert then.metadata["instrument"]["identity"] == "listing:US/META"
    assert then.table["close"].equals(found["META"].table["close"])
    told = trades(lake, Paged("listing:US/FB", start=date(2022, 6, 1))).table
    assert told.select(["symbol", "session_date"]).to_pylist() == [
        {"symbol": "FB", "session_date": date(2022, 6, 8)},
        {"symbol": "META", "session_date": date(2022, 6, 13)},
    ]
    newest = built(lake, BuiltQuestion("META", "1d"))
    assert newest.table["session_date"].to_pylist() == [date(2022, 6, 8), date(2022, 6, 13)]


def test_a_rebuild_and_every_proof_agree(renamed):
    lake, _, _ = renamed
    held = {table: hash_of(lake, table) for table in DERIVED}
    assert_proved_and_rebuilt(lake)
    assert {table: hash_of(lake, table) for table in DERIVED} == held
    assert derived(lake).rows == {}


def test_a_join_moves_rows_and_its_end_moves_them_back(tmp_path: Path):
    joined = b"identity,joined_identity,start_date,end_date\nlisting:US/META,listing:XETR/FB2A,,%s\n"
    home = instrument_id_of("listing:XETR/FB2A")
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        raw.land(lake, "bars", [bars_of("META")], provider="yahoo", feed="chart", kind="poll", status=200)
        derived(lake, "yahoo")
        before = {table: hash_of(lake, table) for table in DERIVED}
        land_list(lake, "join", "joins", joined % b"")
        derived(lake, "reference")
        assert owners(lake, AGREED) == {("META", "2021-02-01"): home}
        assert set(read(lake, BARS_1D)["instrument_id"].to_pylist()) == {home}
        land_list(lake, "end", "joins", joined % b"1901-01-01")
        derived(lake, "reference")
        assert {table: hash_of(lake, table) for table in DERIVED} == before
        assert rebuild(lake, AGREED).is_same and verify(lake).failed == []
