"""Symbols over time in a lake: a renamed company keeps its id, updates take effect with the next batch, a rebuild agrees."""

from __future__ import annotations

import json

import pyarrow.compute as pc
import pytest

from lake.catalog import Lake
from lake.instants import system_clock
from lake.scan import read
from lake.settings import load_settings
from lake.values import instrument_id_of
from quality_checks.naming import eras_known
from quality_checks.promotion import promote
from quality_checks.rebuild import rebuild
from quality_checks.verify import verify
from tests.quality_checks import raw

TRADES = "normalized.trades"
FB, META = instrument_id_of("listing:US/FB"), instrument_id_of("listing:US/META")
CHANGES = b"scope,old_symbol,new_symbol,effective_date\nUS,FB,META,2022-06-09\n"


def trade(number: int, symbol: str, day: str) -> raw.Payload:
    told = {"T": "t", "S": symbol, "i": number, "x": "V", "p": 170.5, "s": 10, "t": f"{day}T15:00:00Z", "c": ["@"], "z": "C"}
    return raw.trades([number])[0][0], json.dumps([told]).encode()


def ids(lake: Lake) -> dict[tuple[str, str], int]:
    rows = read(lake, TRADES, ["symbol", "session_date", "instrument_id"]).to_pylist()
    return {(row["symbol"], row["session_date"].isoformat()): row["instrument_id"] for row in rows}


@pytest.fixture(scope="module")
def renamed(tmp_path_factory):
    """A lake that met META's trades before and after it was told of the change."""
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("renamed")), system_clock) as lake:
        raw.land(lake, "early", [trade(1, "META", "2022-06-13")], provider="alpaca", feed="sip", kind="import")
        promote(lake, "alpaca")
        raw.land(lake, "list", [(1, CHANGES)], provider="reference", feed="changes", kind="import", partition=1)
        promote(lake, "reference")
        told = [
            trade(2, "FB", "2022-06-08"),
            trade(3, "META", "2022-06-08"),
            trade(4, "META", "2022-06-09"),
            trade(5, "FB", "2022-06-09"),
        ]
        raw.land(lake, "late", told, provider="alpaca", feed="sip", kind="import", partition=2)
        promote(lake, "alpaca")
        yield lake


def test_a_change_takes_effect_with_the_next_batch_and_by_the_day_of_each_row(renamed: Lake):
    assert ids(renamed) == {
        ("META", "2022-06-13"): META,
        ("FB", "2022-06-08"): FB,
        ("META", "2022-06-08"): META,
        ("META", "2022-06-09"): FB,
        ("FB", "2022-06-09"): instrument_id_of("listing:US/FB@2022-06-09"),
    }
    assert "listing:US/META" in eras_known(renamed)
    known = read(renamed, "reference.instruments", ["identity"])["identity"].to_pylist()
    assert sorted(known) == ["listing:US/FB", "listing:US/FB@2022-06-09", "listing:US/META"]


def test_a_rebuild_gives_the_same_ids_although_names_changed_meanwhile(renamed: Lake):
    before = ids(renamed)
    report = rebuild(renamed, TRADES)
    assert (report.missing, report.extra) == (0, 0) and ids(renamed) == before
    assert verify(renamed).failed == []


def test_an_unknown_symbol_is_a_provisional_instrument_and_a_finding(lake: Lake):
    frame = b'{"type":"trade","data":[{"s":"OANDA:NOBODY","p":1.5,"t":1654700000000,"v":3}]}'
    raw.land(lake, "cap1", [(raw.trades([1])[0][0], frame)], provider="finnhub", feed="trades")
    assert promote(lake, "finnhub").tables[TRADES].rows == 1
    found = read(lake, "quality.findings")
    found = found.filter(pc.equal(found["kind"], "provisional_instrument"))
    assert found["detail"].to_pylist() == ["provider:finnhub/OANDA:NOBODY"]
    assert found["instrument_id"].to_pylist() == read(lake, TRADES)["instrument_id"].to_pylist()
    assert read(lake, "reference.instruments")["is_provisional"].to_pylist() == [True]
