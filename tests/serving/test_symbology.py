"""Whom a name means at a date and every name of an instrument: by the API, by SQL, on the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pytest

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.values import instrument_id_of
from serving import sql
from serving.cli.app import run
from serving.instruments import instrument_named
from serving.symbology import resolve
from tests.serving import small_lake
from tests.serving.market_lake import served
from tests.serving.small_lake import AAPL, put

DAY = date(2020, 8, 28)
OPTION = instrument_id_of("listing:OPRA/AAPL240126P00050000")
NOON = datetime(2020, 8, 28, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The small lake, where AAPL was called APPL until a day, and has an ISIN."""
    with small_lake.make(tmp_path_factory.mktemp("named") / "home") as lake:
        told = {
            "provider": ["reference"],
            "known_at": [NOON],
            "capture_id": ["c"],
            "message_seq": [0],
            "ordinal": [0],
            "run_id": ["r2"],
        }
        isin = {
            "instrument_id": [AAPL],
            "symbol": ["AAPL"],
            "feed": ["equities"],
            "scheme": ["isin"],
            "identifier": ["US0378331005"],
        }
        put(lake, "reference.identifiers", {**told, **isin}, "r2")
        change = {"feed": ["changes"], "scope": ["US"], "old_symbol": ["AAPL"], "new_symbol": ["APPL"], "start_date": [DAY]}
        put(lake, "reference.symbol_changes", {**told, **change, "run_id": ["r3"]}, "r3")
        option = {"instrument_id": [OPTION], "identity": ["listing:OPRA/AAPL240126P00050000"], "is_provisional": [False]}
        put(lake, "reference.instruments", {**option, "run_id": ["r4"]}, "r4")
        yield lake


@pytest.fixture(scope="module")
def client(named: Lake) -> Iterator[httpx.Client]:
    with served(named) as opened:
        yield opened


def test_names_are_resolved_in_bulk_at_a_date(client: httpx.Client) -> None:
    asked = {"names": ["AAPL", "APPL", "US0378331005", "BTCUSDT", "NOBODY"], "on": "2020-08-28"}
    body = client.post("/api/v1/symbology/resolve", json=asked).json()
    found = list(zip(body["columns"]["asked"], body["columns"]["status"], body["columns"]["instrument_id"], strict=True))
    again = str(instrument_id_of("listing:US/AAPL@2020-08-28"))
    assert found[:3] == [("AAPL", "found", again), ("APPL", "found", str(AAPL)), ("US0378331005", "found", str(AAPL))]
    assert [one[:2] for one in found[3:]] == [("BTCUSDT", "ambiguous"), ("BTCUSDT", "ambiguous"), ("NOBODY", "not_found")]
    assert (body["metadata"]["found"], body["metadata"]["not_found"], body["metadata"]["ambiguous"]) == (4, 1, 1)
    early = client.post("/api/v1/symbology/resolve", json={"names": ["AAPL"], "on": "2020-08-27"}).json()
    assert early["columns"]["identity"] == ["listing:US/AAPL"] and early["columns"]["end_date"] == ["2020-08-28"]
    assert client.post("/api/v1/symbology/resolve", json={"names": []}).status_code == 422


def test_every_name_of_an_instrument_with_its_dates(client: httpx.Client) -> None:
    columns = client.get("/api/v1/symbology/listing:US/AAPL").json()["columns"]
    told = dict(zip(columns["name"], columns["start_date"], strict=True))
    assert told["isin:US0378331005"] is None and told["symbol:APPL"] == "2020-08-28" and "symbol:AAPL" in told
    assert client.get("/api/v1/symbology/NOBODY").status_code == 404


def test_sql_resolves_any_identifier_at_any_date(named: Lake) -> None:
    query = "SELECT instrument_id FROM reference.symbology WHERE name = 'symbol:APPL' AND start_date <= DATE '2021-01-01'"
    assert sql.answer(named, query).table["instrument_id"].to_pylist() == [AAPL]
    listed = sql.answer(named, "SHOW TABLES").table["table_name"].to_pylist()
    assert "reference.symbology" in listed


def test_sql_tells_the_terms_of_every_option_met(named: Lake) -> None:
    rows = sql.answer(named, "SELECT * EXCLUDE (is_adjusted) FROM reference.options WHERE underlying = 'AAPL'").table.to_pylist()
    terms = {"root": "AAPL", "underlying": "AAPL", "expiry_date": date(2024, 1, 26), "option_right": "put", "strike": Decimal(50)}
    assert rows == [{"instrument_id": OPTION, "symbol": "AAPL240126P00050000", **terms}]


def test_the_command_line_resolves_and_reverses(named: Lake, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    home = ["--home", str(Path(named.settings.home)), "--json"]
    assert run(["resolve", "APPL", "--on", "2020-09-01", *home]) == 0
    assert json.loads(capfdbinary.readouterr().out)["columns"]["identity"] == ["listing:US/AAPL"]
    assert run(["resolve", "--reverse", str(AAPL), *home]) == 0
    assert "isin:US0378331005" in json.loads(capfdbinary.readouterr().out)["columns"]["name"]
    assert run(["resolve", "APPL", "--on", "soon", *home]) == 2


def test_a_past_question_is_answered_as_it_would_have_been(named: Lake) -> None:
    with pytest.raises(InvalidValueError):
        resolve(named, ["\0"])
    found = resolve(named, ["AAPL"], DAY, datetime(2000, 1, 1, tzinfo=UTC)).table
    assert found["status"].to_pylist() == ["not_found"]


def test_a_change_counts_from_when_it_was_known(named: Lake, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    before, after = datetime(2020, 8, 28, 11, tzinfo=UTC), datetime(2020, 8, 28, 13, tzinfo=UTC)
    told = {moment: resolve(named, ["AAPL"], DAY, known_as_of=moment).table["identity"].to_pylist() for moment in (before, after)}
    assert told == {before: ["listing:US/AAPL"], after: [None]}
    query = "SELECT count(*) AS n FROM reference.symbology WHERE name = 'isin:US0378331005'"
    assert [sql.answer(named, query, None, moment).table["n"].to_pylist() for moment in (before, after)] == [[0], [1]]
    asked = ["resolve", "AAPL", "--on", "2020-08-28", "--known-as-of", before.isoformat(), "--home", str(named.settings.home)]
    assert run([*asked, "--json"]) == 0
    assert json.loads(capfdbinary.readouterr().out)["columns"]["identity"] == ["listing:US/AAPL"]


def test_a_symbol_is_read_as_of_a_day(named: Lake, client: httpx.Client) -> None:
    early, late = date(2020, 8, 27), DAY
    assert instrument_named(named, "AAPL", at=early).instrument_id == instrument_named(named, "AAPL").instrument_id == AAPL
    assert instrument_named(named, "APPL").instrument_id == AAPL
    with pytest.raises(NotFoundError, match="on 2020-08-28"):
        instrument_named(named, "AAPL", at=late)
    listed = {}
    for day in (early, late):
        columns = client.get("/api/v1/instruments", params={"at": str(day)}).json()["columns"]
        listed[day] = columns["identity"]
    assert "listing:US/AAPL" in listed[early] and "listing:US/AAPL" not in listed[late]
    assert client.get("/api/v1/instruments", params={"at": "yesterday"}).status_code == 422
