"""The HTTP interface, through the real application: answers, formats, metadata, and a problem document for every error."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import httpx
import orjson
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lake.catalog import Lake
from serving.operate.supervisor import WebServer
from tests.serving.small_lake import AAPL, CAPTURE, PAYLOAD, TRADES

ARROW = "application/vnd.apache.arrow.stream"


@pytest.fixture(scope="module")
def client(lake: Lake) -> Iterator[httpx.Client]:
    server = WebServer(lake, "127.0.0.1", 0)
    running = threading.Thread(target=server.run)
    running.start()
    with httpx.Client(base_url=server.address, timeout=30, follow_redirects=True) as opened:
        yield opened
    server.stop()
    running.join()


def closes(client: httpx.Client, **params: str) -> dict[str, str]:
    response = client.get("/api/v1/bars/AAPL", params=params)
    assert response.status_code == 200, response.text
    columns = response.json()["columns"]
    return dict(zip(columns["session_date"], columns["close"], strict=True))


def test_bars_as_traded_and_adjusted(client: httpx.Client) -> None:
    assert closes(client) == {"2020-08-27": "500.04", "2020-08-28": "499.23", "2020-08-31": "129.04"}
    for adjustment in ("splits", "all"):
        found = closes(client, adjustment=adjustment)
        assert found == {"2020-08-27": "125.01", "2020-08-28": "124.8075", "2020-08-31": "129.04"}


def test_the_split_is_not_known_before_its_day_has_come(client: httpx.Client) -> None:
    found = closes(client, adjustment="all", known_as_of="2020-08-28")
    assert found == {"2020-08-27": "500.04", "2020-08-28": "499.23"}


def test_ranges_are_half_open(client: httpx.Client) -> None:
    assert list(closes(client, start="2020-08-28", end="2020-08-31")) == ["2020-08-28"]
    assert list(closes(client, start="2020-08-28T13:30:00Z", end="2020-08-31T13:30:00Z")) == ["2020-08-28"]
    assert closes(client, start="2020-08-29", end="2020-08-29") == {}
    assert closes(client, start="2020-08-28", adjustment="splits")["2020-08-28"] == "124.8075"


def test_metadata_says_where_the_answer_is_from(client: httpx.Client, lake: Lake) -> None:
    response = client.get("/api/v1/bars/AAPL?adjustment=splits")
    told = response.json()["metadata"]
    assert told["instrument"]["instrument_id"] == str(AAPL)
    assert told["basis"] == "split_adjusted"
    assert told["fresh"] == "2020-08-31T20:00:00Z"
    assert told["completeness"] is None
    assert told["source"] == "lake"
    assert told["snapshots"]["adjusted.agreed_bars"] == str(lake.head("adjusted.agreed_bars").snapshot_id)
    assert response.headers["tickhouse-basis"] == "split_adjusted"
    assert told["snapshots"]["adjusted.factors"] in response.headers["tickhouse-snapshots"]


@pytest.mark.parametrize("asked", [{"params": {"format": "arrow"}}, {"headers": {"Accept": f"text/html;q=0.1, {ARROW};q=0.9"}}])
def test_arrow_carries_exact_decimals(client: httpx.Client, asked: dict[str, dict[str, str]]) -> None:
    response = client.get("/api/v1/bars/AAPL", **asked)
    assert response.headers["content-type"] == ARROW
    table = pa.ipc.open_stream(response.content).read_all()
    assert table.schema.field("close").type == pa.decimal128(18, 9)
    assert orjson.loads(table.schema.metadata[b"tickhouse"])["basis"] == "as_traded"


def test_json_and_arrow_and_csv_say_the_same(client: httpx.Client) -> None:
    body = client.get("/api/v1/bars/AAPL").json()
    table = pa.ipc.open_stream(client.get("/api/v1/bars/AAPL?format=arrow").content).read_all()
    lines = client.get("/api/v1/bars/AAPL?format=csv").text.splitlines()
    assert list(body["columns"]) == table.column_names == lines[0].split(",")
    assert body["row_count"] == table.num_rows == len(lines) - 1


def test_an_instrument_has_several_names(client: httpx.Client) -> None:
    for name in ("aapl", "listing:US/AAPL", "listing%3AUS%2FAAPL", str(AAPL)):
        assert client.get(f"/api/v1/bars/{name}").status_code == 200, name


def test_trades_in_pages(client: httpx.Client) -> None:
    path = "/api/v1/trades/listing:BINANCE/BTCUSDT:spot"
    first = client.get(path, params={"limit": 3}).json()
    assert first["columns"]["price"] == ["55131.99", "55132.99", "55133.99"]
    assert first["metadata"]["has_more"] is True
    rest = client.get(path, params={"limit": 3, "offset": 3}).json()
    assert rest["row_count"] == 2
    assert rest["metadata"]["has_more"] is False
    some = client.get(path, params={"start": "2024-08-08T00:00:01Z", "end": "2024-08-08T00:00:03Z"}).json()
    assert some["columns"]["sequence"] == [1, 2]


def test_explain_a_fact_and_a_message(client: httpx.Client) -> None:
    fact = client.get(f"/api/v1/explain/{TRADES}:0:2").json()
    assert fact["table"] == "normalized.trades"
    assert fact["gate"]["verdict"] == "passed"
    assert fact["message"]["is_sha256_proved"] is True
    assert fact["message"]["excerpt"] == PAYLOAD.decode()
    message = client.get(f"/api/v1/explain/{CAPTURE}:0").json()
    assert message["message"]["request"] == {"file": "aapl.csv"}


def test_explain_a_derived_row_by_symbol(client: httpx.Client) -> None:
    node = client.get("/api/v1/explain/adjusted.bars_1d/AAPL/2020-08-28").json()
    assert [child["role"] for child in node["inputs"]] == ["bar", "split"]
    assert node["inputs"][0]["event_id"].startswith(f"adjusted.agreed_bars/{AAPL}/1d/2020-08-28T13:30:00Z/")
    assert node["inputs"][0]["step"] == "agree"


def test_health(client: httpx.Client) -> None:
    body = client.get("/api/v1/health").json()
    assert client.get("/health").json()["status"] == "ok"
    assert body["status"] == "ok"
    assert body["holds"] == []
    assert set(body["tables"]) >= {"raw.messages", "adjusted.bars_1d"}


PROBLEMS = {
    "/api/v1/bars/NOPE": 404,
    "/api/v1/bars/BTCUSDT": 422,
    "/api/v1/bars/AAPL?interval=1m": 404,
    "/api/v1/bars/AAPL?interval=x": 422,
    "/api/v1/bars/AAPL?adjustment=x": 422,
    "/api/v1/bars/AAPL?start=x": 422,
    "/api/v1/bars/AAPL?start=2020-08-31&end=2020-08-01": 422,
    "/api/v1/bars/AAPL?as_of=9999-12-31": 422,
    "/api/v1/bars/AAPL?as_of=2999-01-01": 422,
    "/api/v1/bars/AAPL?known_as_of=0001-01-01T00:00:00%2B14:00": 422,
    "/api/v1/bars/AAPL?format=xml": 422,
    "/api/v1/bars/AAPL?provider=nobody": 404,
    "/api/v1/bars/%00": 422,
    "/api/v1/trades/AAPL": 404,
    "/api/v1/trades/AAPL?limit=0": 422,
    "/api/v1/trades/AAPL?limit=999999999999999999999": 422,
    "/api/v1/explain/x": 422,
    "/api/v1/explain/x:1:2": 404,
    "/api/v1/explain/x:99999999999999999999:0": 422,
    "/api/v1/explain/adjusted.bars_1d/1/2020-13-45": 422,
    "/api/v1/explain/adjusted.bars_1d/1/2020-01-01": 404,
    "/api/v1/explain/adjusted.factors/1": 422,
    "/api/v1/nothing": 404,
    "/nothing": 404,
}


@pytest.mark.parametrize("path", PROBLEMS)
def test_every_error_is_a_problem_document(client: httpx.Client, path: str) -> None:
    response = client.get(path)
    assert response.status_code == PROBLEMS[path], response.text
    assert response.headers["content-type"] == "application/problem+json"
    body = response.json()
    assert body["status"] == PROBLEMS[path]
    assert body["type"].startswith("urn:tickhouse:problem:")
    assert body["title"]
    assert body["detail"]
    assert "Traceback" not in response.text


def test_a_parameter_that_a_call_does_not_have_is_refused(client: httpx.Client) -> None:
    """A misspelt `adjustment` passed over would be answered with prices as traded."""
    answer = client.get("/api/v1/bars/AAPL?adjustmnt=splits")
    assert (answer.status_code, answer.json()["detail"]) == (422, "no parameter 'adjustmnt' here; did you mean adjustment?")
    assert client.get("/api/v1/bars/AAPL?adjustment=splits&max_age=999999999").status_code == 200


def test_a_wrong_method_is_a_problem_too(client: httpx.Client) -> None:
    response = client.post("/api/v1/bars/AAPL")
    assert response.status_code == 405
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["allow"] == "GET"


def test_an_ambiguous_symbol_names_the_choices(client: httpx.Client) -> None:
    detail = client.get("/api/v1/trades/BTCUSDT").json()["detail"]
    assert "listing:BINANCE/BTCUSDT:spot" in detail
    assert "listing:BINANCE/BTCUSDT:usdm" in detail


ODD = st.text(max_size=20) | st.sampled_from(
    ["2020-08-28", "0", "-1", "NaN", "1d", "999d", "99999999999999mo", "all", "\x00", "é", "%"]
)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(["bars", "trades", "explain"]),
    name=st.text(min_size=1, max_size=12)
    | st.sampled_from(["AAPL", str(AAPL), f"{TRADES}:0:1", "adjusted.bars_1d/AAPL/2020-08-28"]),
    params=st.dictionaries(
        st.sampled_from(
            ["interval", "start", "end", "adjustment", "as_of", "known_as_of", "provider", "format", "limit", "offset"]
        ),
        ODD,
    ),
)
def test_no_odd_input_breaks_the_server(client: httpx.Client, route: str, name: str, params: dict[str, str]) -> None:
    try:
        response = client.get(f"/api/v1/{route}/{name}", params=params)
    except (httpx.InvalidURL, UnicodeEncodeError):
        return  # the client itself cannot send it
    assert response.status_code < 500, (route, name, params, response.text)


def test_openapi_is_complete_and_has_examples(client: httpx.Client) -> None:
    document = client.get("/api/v1/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    ours = {path: methods for path, methods in document["paths"].items() if path.startswith("/api/v1/")}
    assert {"/api/v1/bars/{symbol}", "/api/v1/trades/{symbol}", "/api/v1/explain/{event_id}", "/api/v1/health"} <= set(ours)
    for path, operation in ((path, operation) for path, methods in ours.items() for operation in methods.values()):
        assert operation["summary"], path
        assert operation["description"], path
        (answer,) = [operation["responses"][status] for status in ("200", "202") if status in operation["responses"]]
        assert answer["content"]["application/json"]["example"], path
        for parameter in operation.get("parameters", []):
            assert parameter["description"], (path, parameter["name"])
    problem = document["paths"]["/api/v1/bars/{symbol}"]["get"]["responses"]["404"]["content"]["application/problem+json"]
    assert set(problem["schema"]["required"]) >= {"type", "title", "status", "detail"}
    bars = document["paths"]["/api/v1/bars/{symbol}"]["get"]
    assert ARROW in bars["responses"]["200"]["content"]
    assert {parameter["name"] for parameter in bars["parameters"]} == {
        *("symbol", "interval", "start", "end", "adjustment", "as_of", "known_as_of", "provider"),
        *("format", "max_age", "min_quality", "source", "price_type", "read_through", "last_known"),
    }


def test_the_pages_for_people_are_there(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 200
    assert client.get("/openapi.json").json() == client.get("/api/v1/openapi.json").json()
