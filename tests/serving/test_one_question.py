"""One question, AAPL's daily bars over its split as known on 2020-08-31, asked in six ways: the same numbers and metadata."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

import httpx
import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog

from lake.catalog import Lake
from lake.instants import parse_instant
from notebooks import views
from serving import sql
from serving.client import Client
from serving.operate.supervisor import WebServer
from tests.serving.browser import served
from tests.serving.small_lake import AAPL

START, END, KNOWN = date(2020, 8, 27), date(2020, 9, 1), "2020-08-31"
ASKED = {"start": START.isoformat(), "end": END.isoformat(), "adjustment": "splits", "known_as_of": KNOWN}
TRUTH = {date(2020, 8, 27): Decimal("125.01"), date(2020, 8, 28): Decimal("124.8075"), date(2020, 8, 31): Decimal("129.04")}
SAID = ("basis", "snapshots", "fresh", "source", "interval", "adjustment")

Closes = dict[date, Decimal]


@pytest.fixture(scope="module")
def address(lake: Lake) -> Iterator[str]:
    server = WebServer(lake, "127.0.0.1", 0)
    stop = served(server)
    yield server.address
    stop()


def closes(table: pa.Table, column: str = "close") -> Closes:
    return dict(sorted(zip(table["session_date"].to_pylist(), table[column].to_pylist(), strict=True)))


def said(metadata: dict[str, object]) -> dict[str, str]:
    """Return metadata as text: an instant is text in JSON and an object in Python."""
    return {name: str(metadata[name]).replace("+00:00", "Z").replace(" ", "T") for name in SAID}


def test_http_json_arrow_client_and_notebook_say_the_same(address: str, lake: Lake) -> None:
    url = f"{address}/api/v1/bars/AAPL"
    body = httpx.get(url, params=ASKED, timeout=60).json()
    days = [date.fromisoformat(day) for day in body["columns"]["session_date"]]
    by_json = dict(zip(days, map(Decimal, body["columns"]["close"]), strict=True))
    answer = httpx.get(url, params={**ASKED, "format": "arrow"}, timeout=60)
    by_arrow = closes(pa.ipc.open_stream(io.BytesIO(answer.content)).read_all())
    with Client(address) as client:
        by_client = client.bars("AAPL", **ASKED)
    by_notebook = views.bars(lake, "AAPL", start=START, end=END, adjustment="splits", known_as_of=KNOWN)
    assert by_json == by_arrow == closes(by_client.table) == closes(by_notebook.table) == TRUTH
    assert said(body["metadata"]) == said(by_client.metadata) == said(by_notebook.metadata)
    snapshots = ",".join(f"{name}={snapshot}" for name, snapshot in body["metadata"]["snapshots"].items())
    assert answer.headers["Tickhouse-Snapshots"] == snapshots


def test_sql_and_the_iceberg_catalog_hold_the_same_numbers(address: str, lake: Lake) -> None:
    query = f"SELECT session_date, adj_close FROM adjusted.bars_1d WHERE instrument_id = {AAPL}"
    found = sql.answer(lake, query, known_as_of=parse_instant(KNOWN)).table
    table = RestCatalog("lake", uri=f"{address}/iceberg").load_table("adjusted.bars_1d")
    scanned = table.scan(row_filter=f"instrument_id = {AAPL}").to_arrow()
    assert closes(found, "adj_close") == closes(scanned, "adj_close") == TRUTH
