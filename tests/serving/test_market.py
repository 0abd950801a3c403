"""Quotes, snapshots, reference, quality and SQL over HTTP: values, metadata, demands, refusals."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import pyarrow as pa
import pytest

from lake.catalog import Lake
from serving.web.sql_route import AT_ONCE
from tests.serving.market_lake import served
from tests.serving.small_lake import AAPL

BTC = "listing:BINANCE/BTCUSDT:spot"


@pytest.fixture(scope="module")
def client(market_lake: Lake) -> Iterator[httpx.Client]:
    with served(market_lake) as opened:
        yield opened


def answer(client: httpx.Client, path: str, **params: object) -> dict[str, object]:
    response = client.get(f"/api/v1/{path}", params=params)
    assert response.status_code == 200, response.text
    body = response.json()
    assert {"snapshots", "fresh", "basis", "source", "quality_score"} <= set(body["metadata"])
    return body


def ask(client: httpx.Client, query: str, **more: object) -> httpx.Response:
    return client.post("/api/v1/sql", json={"query": query, **more})


def test_quotes_in_pages(client: httpx.Client, market_lake: Lake) -> None:
    first = answer(client, f"quotes/{BTC}", limit=2)
    assert first["columns"]["bid_price"] == ["100", "101"]
    assert first["metadata"]["has_more"] is True
    assert first["metadata"]["snapshots"]["normalized.quotes"] == str(market_lake.head("normalized.quotes").snapshot_id)
    rest = answer(client, f"quotes/{BTC}", start="2024-08-08T12:00:01Z", end="2024-08-08T12:00:02Z")
    assert rest["columns"]["ask_price"] == ["102"]


def test_a_snapshot_has_the_last_of_each_kind(client: httpx.Client) -> None:
    found = answer(client, "snapshot", symbols=f"AAPL,{BTC}")
    assert found["columns"]["trade_price"] == [None, "55135.99"]
    assert found["columns"]["bid_price"] == [None, "102"]
    assert found["columns"]["bar_close"] == ["129.04", None]
    assert answer(client, "snapshot", symbols="AAPL", known_as_of="2020-08-28")["columns"]["bar_close"] == ["499.23"]


def test_instruments_are_found_by_any_of_their_names(client: httpx.Client) -> None:
    assert answer(client, "instruments")["row_count"] == 3
    found = answer(client, "instruments", search="apple")["columns"]
    assert (found["instrument_id"], found["symbols"], found["providers"]) == ([str(AAPL)], [["AAPL"]], [["csv"]])


def test_an_action_is_told_once_with_its_factor_and_as_known_then(client: httpx.Client) -> None:
    now = answer(client, "corporate-actions/AAPL")["columns"]
    assert (now["record_date"], now["price_factor"], now["ratio_new"]) == (["2020-08-24"], ["0.25"], [4])
    then = answer(client, "corporate-actions/AAPL", known_as_of="2020-07-30")["columns"]
    assert then["record_date"] == ["2020-08-20"]
    assert answer(client, "corporate-actions/AAPL", end="2020-08-31")["row_count"] == 0
    assert answer(client, "corporate-actions/AAPL", start="2020-08-31")["row_count"] == 1


def test_a_calendar_knows_half_days_and_holidays(client: httpx.Client) -> None:
    found = answer(client, "calendars/xnys", start="2020-11-25", end="2020-12-01")
    assert found["columns"]["session_date"] == ["2020-11-25", "2020-11-27", "2020-11-30"]
    assert found["columns"]["closes_at"][1] == "2020-11-27T18:00:00Z"
    assert found["metadata"]["source"] == "exchange_calendars"


def test_the_quality_desk_tells_what_is_and_that_there_are_no_scores(client: httpx.Client) -> None:
    whole = answer(client, "quality")
    assert whole["scores"] is None
    assert "not computed" in whole["scores_note"]
    assert whole["quarantined"] == [{"table_name": "normalized.trades", "rule": "price_positive", "count": 1}]
    assert whole["open_gaps"] == 1
    assert answer(client, "quality/gate-runs", table="normalized.trades")["columns"]["verdict"] == ["passed"]
    assert answer(client, "quality/findings", provider="nobody")["row_count"] == 0
    assert answer(client, "quality/quarantine")["columns"]["value"] == ["-1"]
    gaps = answer(client, "gaps")["columns"]
    assert dict(zip(gaps["gap_id"], gaps["status"], strict=True)) == {"g1": "open", "g2": "filled"}
    assert answer(client, "gaps", only_open=True)["columns"]["gap_id"] == ["g1"]
    assert answer(client, "holds")["row_count"] == 0
    assert "binance" in answer(client, "feeds")["columns"]["provider"]


def test_sql_in_every_format_says_where_it_is_from(client: httpx.Client, market_lake: Lake) -> None:
    query = "SELECT session_date, adj_close FROM adjusted.bars_1d ORDER BY session_date"
    body = ask(client, query).json()
    assert body["columns"]["adj_close"] == ["125.01", "124.8075", "129.04"]
    told = body["metadata"]
    assert told["snapshots"] == {"adjusted.bars_1d": str(market_lake.head("adjusted.bars_1d").snapshot_id)}
    assert told["fresh"]
    assert told["truncated"] is False
    table = pa.ipc.open_stream(ask(client, query, format="arrow").content).read_all()
    assert table["adj_close"].type == pa.decimal128(28, 10)
    assert ask(client, query, format="csv").text.splitlines()[1] == "2020-08-27,125.01"
    assert pa.BufferReader(ask(client, query, format="parquet").content).read(4) == b"PAR1"
    known = ask(client, query, known_as_of="2020-08-28").json()
    assert known["columns"]["adj_close"] == ["500.04", "499.23"]


BOUNDED = {
    "too many rows": ({"query": "SELECT * FROM range(100000000)", "max_rows": 10}, 200, "truncated"),
    "endless": ({"query": "SELECT count(*) FROM range(1000000000000)", "timeout_s": 0.2}, 422, "longer than 0.2 s"),
    "endless recursion": (
        {"query": "WITH RECURSIVE r AS (SELECT 1 n UNION ALL SELECT n + 1 FROM r) SELECT * FROM r WHERE n < 0", "timeout_s": 0.3},
        422,
        "longer than 0.3 s",
    ),
    "cross join": (
        {"query": "SELECT count(*) FROM range(1000000) a, range(1000000) b, range(1000000) c", "timeout_s": 0.3},
        422,
        "longer than",
    ),
    "too much memory": ({"query": "SELECT list(i) FROM range(1000000000) t(i)", "timeout_s": 20}, 422, "memory"),
    "long texts": ({"query": "SELECT repeat('x', 10000000) FROM range(100)", "timeout_s": 20}, 200, '"truncated":true'),
    "nested": ({"query": "SELECT " + "(" * 3000 + "1" + ")" * 3000}, 422, "SQL"),
    "a long sum": ({"query": "SELECT " + "1+" * 20_000 + "1"}, 422, ""),
    "many statements": ({"query": "SELECT 1;" * 100}, 422, "100 statements"),
    "a file": ({"query": "SELECT * FROM read_parquet('x')"}, 422, "read_parquet"),
    "a file by name": ({"query": "SELECT * FROM 'x.parquet'"}, 404, "no table"),
    "no query": ({"query": ""}, 422, "at least 1"),
    "an unknown demand": ({"query": "SELECT 1", "limit": 1}, 422, "limit"),
}


@pytest.mark.parametrize("case", BOUNDED)
def test_whatever_is_asked_is_bounded_or_refused_in_words(client: httpx.Client, case: str) -> None:
    body, status, words = BOUNDED[case]
    response = client.post("/api/v1/sql", json=body)
    assert response.status_code == status, response.text[:500]
    assert words in response.text
    assert client.get("/api/v1/health").status_code == 200


def test_more_queries_at_once_than_places_are_told_to_come_back(client: httpx.Client) -> None:
    slow = {"query": "SELECT count(*) FROM range(1000000000000)", "timeout_s": 1.5}
    found: list[httpx.Response] = []

    def ask_until_somebody_is_refused() -> None:
        """On a busy machine the first queries may be over before the last one comes: then all come again."""
        while not any(response.status_code == 503 for response in found):
            found.append(client.post("/api/v1/sql", json=slow))

    threads = [threading.Thread(target=ask_until_somebody_is_refused) for _ in range(AT_ONCE + 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {response.status_code for response in found} == {422, 503}
    busy = next(response for response in found if response.status_code == 503)
    assert busy.headers["retry-after"] == "1"
    assert busy.json()["type"] == "urn:tickhouse:problem:busy"


def test_demands_are_met_or_refused(client: httpx.Client) -> None:
    path = f"/api/v1/quotes/{BTC}"
    assert client.get(path, params={"max_age": 1e9}).status_code == 200
    stale = client.get(path, params={"max_age": 60})
    assert (stale.status_code, stale.json()["type"]) == (412, "urn:tickhouse:problem:demand-not-met")
    assert "2024-08-08T12:00:02" in stale.json()["detail"]
    assert client.get("/api/v1/bars/AAPL", params={"max_age": 60}).status_code == 412
    scored = client.get(path, params={"min_quality": 0.5})
    assert scored.status_code == 412
    assert "not computed" in scored.json()["detail"]


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("quotes/AAPL", 404),
        ("quotes/NOPE", 404),
        (f"quotes/{BTC}?limit=0", 422),
        ("snapshot", 422),
        ("snapshot?symbols=,", 422),
        ("snapshot?symbols=NOPE", 404),
        ("corporate-actions/AAPL?start=2020-09-01&end=2020-08-01", 422),
        ("calendars/XXXX", 404),
        ("calendars/x", 422),
        ("calendars/XNYS?start=1900-01-01&end=2035-01-01", 422),
        ("quality/scores", 422),
        ("quality/gate-runs?start=x", 422),
        ("gaps?as_of=2999-01-01", 422),
        ("quotes/AAPL?max_age=-1", 422),
        ("quotes/AAPL?min_quality=nan", 422),
    ],
)
def test_refusals_are_problem_documents(client: httpx.Client, path: str, status: int) -> None:
    response = client.get(f"/api/v1/{path}")
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
