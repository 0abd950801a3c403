"""The Data Integration Service's calls: a job really captures, lands and promotes, survives a restart, and stands in SQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from lake.catalog import Lake
from lake.errors import DemandError, InvalidValueError, NotFoundError
from lake.instants import system_clock
from lake.settings import load_settings
from serving import sql
from serving.integration.jobs import DataType, Request, Status, job_named, receive
from serving.integration.worker import Worker, run
from serving.operate.logs import open_log
from tests.serving.market_lake import served
from tests.serving.small_lake import AAPL


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    with Lake.create(load_settings(home=tmp_path_factory.mktemp("jobs") / "home"), system_clock) as lake:
        yield lake


def ended(lake: Lake, request_id: str) -> Status:
    """Wait for the worker of a running server: the lease is free when it has nothing left to do."""
    waiting = threading.Event()
    for _ in range(600):
        status = job_named(lake, request_id).status
        if status not in (Status.RECEIVED, Status.VALIDATED):
            return status
        waiting.wait(0.1)
    return status


def test_a_job_captures_lands_and_promotes(empty: Lake) -> None:
    with served(empty) as client:
        request = {"source": "yahoo", "data_type": "MARKET_DATA", "instruments": ["AAPL"], "timeframe": "1d"}
        accepted = client.post("/api/v1/integration/process", json=request)
        assert accepted.status_code == 202, accepted.text
        body = accepted.json()
        assert (body["status"], body["processed_count"], body["quality_score"]) == ("RECEIVED", 0, None)
        assert ended(empty, body["request_id"]) is Status.DISTRIBUTED
        done = client.get(accepted.headers["location"]).json()
        assert done["processed_count"] > 10
        assert done["processing_time_ms"] > 0
        assert done["detail"]["from"] == "simulator"
        assert client.get("/api/v1/bars/AAPL").json()["row_count"] > 10
        health = client.get("/api/v1/integration/health").json()
        assert (health["status"], health["jobs"]["DISTRIBUTED"]) == ("ok", 1)
        found = client.post("/api/v1/sql", json={"query": "SELECT * FROM data_processing_jobs"}).json()["columns"]
    assert (found["status"], found["processed_count"]) == (["DISTRIBUTED"], [done["processed_count"]])
    assert ("integration.process", "MARKET_DATA") in [(row["what"], row["reason"]) for row in empty.state.audit_log()]


def test_a_job_left_by_a_stop_goes_on_at_the_next_start(empty: Lake) -> None:
    job = receive(empty, Request("csv", DataType.MARKET_DATA), "test")
    stopping = threading.Event()
    stopping.set()
    assert run(empty, open_log(empty.settings), job, stopping).status is Status.VALIDATED
    with served(empty):
        assert ended(empty, job.request_id) is Status.DISTRIBUTED


def test_what_cannot_be_brought_in_fails_in_words(empty: Lake) -> None:
    job = receive(empty, Request("yahoo", DataType.MARKET_DATA, ("NOPE",)), "test")
    found = run(empty, open_log(empty.settings), job, threading.Event())
    assert found.status is Status.FAILED
    assert "NOPE" in str(found.error_message)
    assert job_named(empty, job.request_id) == found


@pytest.mark.parametrize(
    ("request_", "kind"),
    [
        (Request("nobody", DataType.MARKET_DATA), NotFoundError),
        (Request("yahoo", DataType.FUNDAMENTAL_DATA), InvalidValueError),
        (Request("ice", DataType.MARKET_DATA), InvalidValueError),
        (Request("yahoo", DataType.MARKET_DATA, timeframe="x"), InvalidValueError),
        (Request("yahoo", DataType.MARKET_DATA, quality_threshold=0.9), DemandError),
    ],
)
def test_what_cannot_be_done_is_refused_at_once(empty: Lake, request_: Request, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        receive(empty, request_, "test")


def test_refusals_over_http(empty: Lake) -> None:
    with served(empty) as client:
        path = "/api/v1/integration"
        assert client.post(f"{path}/process", json={"source": "yahoo"}).status_code == 422
        asked = {"source": "yahoo", "data_type": "MARKET_DATA", "quality_threshold": 0.5}
        assert client.post(f"{path}/process", json=asked).status_code == 412
        assert client.get(f"{path}/status/job-none").status_code == 404
        assert client.get(f"{path}/quality/NOPE").status_code == 404


def test_quality_of_an_instrument_by_day_without_made_up_scores(market_lake: Lake) -> None:
    with served(market_lake) as client:
        (record,) = client.get(f"/api/v1/integration/quality/{AAPL}").json()
        assert record["overall_score"] is None
        assert record["issues"][0]["type"] == "price_jump"
        assert client.get("/api/v1/integration/quality/AAPL", params={"start": "2026-11-22"}).json() == []


def test_the_views_tell_what_the_tables_tell(market_lake: Lake) -> None:
    action = sql.answer(market_lake, "SELECT * FROM corporate_actions").table.to_pylist()[0]
    assert (action["action_type"], action["processed"], str(action["adjustment_factor"])[:4]) == ("SPLIT", True, "0.25")
    bars = sql.answer(market_lake, "SELECT * FROM integration.processed_market_data_ts ORDER BY timestamp").table.to_pylist()
    assert [str(row["adjusted_close"])[:6] for row in bars] == ["125.01", "124.80", "129.04"]
    (quality,) = sql.answer(market_lake, "SELECT * FROM data_quality_metrics").table.to_pylist()
    assert (quality["instrument_id"], quality["issues_count"], quality["overall_score"]) == (AAPL, 1, None)
    metrics = sql.answer(market_lake, "SELECT data_type, count(*) n FROM data_processing_metrics_ts GROUP BY 1 ORDER BY 1").table
    assert metrics["data_type"].to_pylist() == ["CORPORATE_ACTIONS", "MARKET_DATA", "REFERENCE_DATA"]


def test_a_table_expression_may_have_the_name_of_a_view(market_lake: Lake) -> None:
    found = sql.answer(market_lake, "WITH corporate_actions AS (SELECT 1 AS one) SELECT * FROM corporate_actions").table
    assert found.to_pylist() == [{"one": 1}]


def test_a_worker_without_work_has_no_thread(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        worker = Worker(lake)
        worker.wake()
        assert not worker.is_running
        worker.stop()
