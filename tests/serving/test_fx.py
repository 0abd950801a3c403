"""Rates over HTTP and in SQL, from rates that an import brought in."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from ingest.imports import import_paths
from ingest.mappings import load_mapping
from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from serving import sql
from serving.operate import pipeline
from tests.serving.market_lake import served

ECB = "Date,USD,JPY,BGN,GBP,\n2026-04-13,1.1684,186.75,N/A,0.87058,\n2026-04-10,1.1711,186.43,N/A,0.87105,\n"
"""Two days of the ECB's reference rates."""


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    home = tmp_path_factory.mktemp("fx")
    (home / "eurofxref-hist.csv").write_text(ECB)
    settings = load_settings(home=home / "lake")
    with Lake.create(settings, system_clock) as lake, SegmentLog(settings.log_path, system_clock, min_free_bytes=1) as log:
        import_paths(lake, log, "csv", "fx_rates", [home / "eurofxref-hist.csv"], mapping=load_mapping("ecb_rates"))
        pipeline.turn(lake, log, ["csv"])
        yield lake


@pytest.fixture(scope="module")
def client(lake: Lake) -> Iterator[httpx.Client]:
    with served(lake) as opened:
        yield opened


def columns(client: httpx.Client, path: str, **params: object) -> dict[str, list[object]]:
    response = client.get(f"/api/v1/fx/{path}", params={name: str(value) for name, value in params.items()})
    assert response.status_code == 200, response.text
    found: dict[str, list[object]] = response.json()["columns"]
    return found


def test_the_newest_rate_says_what_it_was_made_of(client: httpx.Client) -> None:
    found = columns(client, "USD/JPY", amount=250)
    assert (found["rate"], found["method"]) == (["159.83396097227"], ["via EUR"])
    assert found["rates_used"] == [["ECB:EURUSD 1.1684", "ECB:EURJPY 186.75"]]
    assert (found["session_date"], found["known_at"]) == (["2026-04-13"], ["2026-04-13T14:00:00Z"])
    assert str(found["converted"][0]).startswith("39958.4902430674")
    explained = client.get(f"/api/v1/explain/{found['event_ids'][0][0]}")  # type: ignore[index]
    assert explained.status_code == 200
    assert "EURUSD" in explained.text


def test_a_range_an_earlier_knowledge_and_what_is_not_told(client: httpx.Client) -> None:
    assert columns(client, "EUR/GBX", start="2026-04-10", end="2026-04-13")["rate"] == ["87.105"]
    assert columns(client, "EUR/USD", known_as_of="2026-04-13T13:59:00Z")["session_date"] == ["2026-04-10"]
    assert client.get("/api/v1/fx/EUR/BGN").status_code == 404
    assert client.get("/api/v1/fx/EUR/12").status_code == 422
    assert client.get("/api/v1/fx/EUR/USD", params={"amount": "NaN"}).status_code == 422


def test_views_show_every_pair(lake: Lake) -> None:
    pairs = sql.answer(lake, "SELECT base_currency, quote_currency, rate FROM fx.latest").table.to_pylist()
    assert len(pairs) == 12
    dollars = sql.answer(lake, "SELECT rate FROM fx.to_usd WHERE base_currency = 'GBP' ORDER BY ts_event").table
    assert [str(rate) for rate in dollars["rate"].to_pylist()] == ["1.344469318638", "1.342093776563"]
    assert sql.answer(lake, "SELECT * FROM fx.to_eur", known_as_of=None).table.num_rows == 6
