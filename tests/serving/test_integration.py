"""The Data Integration Service's calls: a job really captures, lands and promotes, survives a restart, and stands in SQL."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import schemathesis

from ingest.simulator import Simulator
from ingest.simulator.keyed import Keys
from lake.catalog import Lake
from lake.errors import DemandError, InvalidValueError, NotFoundError
from lake.instants import system_clock
from lake.settings import load_settings
from serving import sql
from serving.integration.jobs import DataType, Job, Request, Status, job_named, receive
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
        document = schemathesis.openapi.from_dict(client.get("/api/v1/openapi.json").json())
        document["/api/v1/integration/process"]["POST"].validate_response(accepted)
        told = client.get(accepted.headers["location"])
        document["/api/v1/integration/status/{request_id}"]["GET"].validate_response(told)
        done = told.json()
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
        path = "/api/v1/integration/quality/AAPL"
        (same,) = client.get(path, params={"start": "2026-11-21", "end": "2026-11-22"}).json()
        assert same == record
        assert client.get(path, params={"start": "2026-11-22"}).json() == []
        assert client.get(path, params={"end": "2026-11-21"}).json() == []
        assert client.get(path, params={"start": "2026-11-22", "end": "2026-11-21"}).status_code == 422


def test_the_views_tell_what_the_tables_tell(market_lake: Lake) -> None:
    action = sql.answer(market_lake, "SELECT * FROM corporate_actions").table.to_pylist()[0]
    assert (action["action_type"], action["processed"], str(action["adjustment_factor"])[:4]) == ("SPLIT", True, "0.25")
    bars = sql.answer(market_lake, "SELECT * FROM integration.processed_market_data_ts ORDER BY timestamp").table.to_pylist()
    assert [str(row["adjusted_close"])[:6] for row in bars] == ["125.01", "124.80", "129.04"]
    (quality,) = sql.answer(market_lake, "SELECT * FROM data_quality_metrics").table.to_pylist()
    assert (quality["instrument_id"], quality["issues_count"], quality["overall_score"]) == (AAPL, 1, None)
    metrics = sql.answer(market_lake, "SELECT data_type, count(*) n FROM data_processing_metrics_ts GROUP BY 1 ORDER BY 1").table
    assert metrics["data_type"].to_pylist() == ["CORPORATE_ACTIONS", "MARKET_DATA", "REFERENCE_DATA"]


DESIGNED = {
    "POST /integration/process": "request_id status processed_count failed_count quality_score processing_time_ms",
    "GET /integration/status/{request_id}": "request_id status processed_count failed_count quality_score processing_time_ms",
    "GET /integration/quality/{instrument_id}": "instrument_id timestamp completeness accuracy freshness consistency"
    " overall_score issues",
    "GET /integration/health": "status",
}
VIEWS = {
    "data_processing_jobs": "id source data_type status instruments_count processed_count failed_count quality_score started_at"
    " completed_at error_message created_at",
    "corporate_actions": "id instrument_id action_type action_date ex_date record_date adjustment_factor cash_amount description"
    " processed created_at",
    "data_quality_metrics": "id instrument_id timestamp completeness accuracy freshness consistency overall_score issues_count"
    " created_at",
    "processed_market_data_ts": "timestamp instrument_id timeframe open_price high_price low_price close_price adjusted_close"
    " volume dollar_volume trade_count quality_score processing_time_ms",
    "data_processing_metrics_ts": "timestamp source data_type records_processed processing_time_ms error_count quality_score"
    " throughput_per_second",
}


def test_calls_and_views_have_the_fields_that_were_agreed(market_lake: Lake) -> None:
    with served(market_lake) as client:
        paths = client.get("/api/v1/openapi.json").json()["paths"]
    for call, fields in DESIGNED.items():
        method, _, path = call.partition(" ")
        operation = paths["/api/v1" + path][method.lower()]
        answer = operation["responses"]["202" if method == "POST" else "200"]["content"]["application/json"]["schema"]
        assert set(fields.split()) <= set(answer.get("items", answer)["required"]), call
    issue = paths["/api/v1/integration/quality/{instrument_id}"]["get"]["responses"]["200"]["content"]["application/json"]
    wanted = issue["schema"]["items"]["properties"]["issues"]["items"]["required"]
    assert wanted == ["type", "severity", "description", "field", "value"]
    for view, columns in VIEWS.items():
        assert sql.answer(market_lake, f"SELECT * FROM {view}").table.column_names == columns.split()


def test_a_table_expression_may_have_the_name_of_a_view(market_lake: Lake) -> None:
    found = sql.answer(market_lake, "WITH corporate_actions AS (SELECT 1 AS one) SELECT * FROM corporate_actions").table
    assert found.to_pylist() == [{"one": 1}]


def test_a_worker_without_work_has_no_thread(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        worker = Worker(lake)
        worker.wake()
        assert not worker.is_running
        worker.stop()


def test_a_job_asks_the_provider_where_the_configuration_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load_settings(home=tmp_path / "home", jobs_from="provider")
    monkeypatch.setenv("OUR_OWN_TOKEN", Keys().finnhub_token)
    with Simulator(markets=(), streams=()) as simulator:
        http = simulator.addresses()["http"]
        with Lake.create(settings, system_clock) as lake:
            settings.config.write_text(
                f'[providers.finnhub]\nhttp = "{http}"\nkey_variables = ["OUR_OWN_TOKEN"]\n[providers.alpaca]\nenabled = false\n'
            )
            log = open_log(lake.settings)

            def done(source: str) -> Job:
                job = receive(lake, Request(source, DataType.MARKET_DATA, ("AAPL",)), "test")
                return run(lake, log, job, threading.Event())

            found = done("finnhub")
            assert (found.status, found.detail["from"]) == (Status.DISTRIBUTED, "provider"), found.error_message
            assert found.detail["verdicts"] == {"OK": 1}
            assert "alpaca is switched off" in str(done("alpaca").error_message)
