"""The Iceberg catalog over HTTP: PyIceberg's own REST client reads every table as we do; nobody writes."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import httpx
import pyarrow as pa
import pytest
from pyiceberg.catalog.rest import RestCatalog
from pyiceberg.exceptions import NoSuchNamespaceError, NoSuchTableError, UnauthorizedError

from lake import scan
from lake.catalog import Lake
from lake.content import content_hash
from lake.instants import system_clock
from lake.publish import Increment, stage
from lake.settings import load_settings
from lake.tables import TABLES, table_named
from lake.values import MessageRange
from serving.keys import add_key
from tests.serving.market_lake import served


@pytest.fixture(scope="module")
def client(market_lake: Lake) -> Iterator[httpx.Client]:
    with served(market_lake) as opened:
        yield opened


@pytest.fixture(scope="module")
def catalog(client: httpx.Client) -> RestCatalog:
    return RestCatalog("tickhouse", uri=f"{client.base_url}/iceberg")


def test_namespaces_and_tables_are_listed(catalog: RestCatalog) -> None:
    names = {".".join((*namespace, "")) for namespace in catalog.list_namespaces()}
    assert names == {f"{table.namespace}." for table in TABLES.values()}
    listed = {".".join(name) for namespace in catalog.list_namespaces() for name in catalog.list_tables(namespace)}
    assert listed == set(TABLES)
    assert catalog.namespace_exists("normalized")
    assert not catalog.namespace_exists("nope")
    assert catalog.table_exists("normalized.trades")
    assert not catalog.table_exists("normalized.nope")


@pytest.mark.parametrize("name", sorted(TABLES))
def test_every_table_reads_as_it_does_here(catalog: RestCatalog, market_lake: Lake, name: str) -> None:
    table = catalog.load_table(name)
    definition = table_named(name)
    theirs = table.scan().to_arrow().cast(definition.arrow_schema())
    ours = scan.read(market_lake, name)
    assert theirs.num_rows == ours.num_rows
    assert content_hash(definition, theirs) == content_hash(definition, ours)
    assert table.current_snapshot().snapshot_id == market_lake.head(name).snapshot_id


def test_what_is_not_there_is_told_as_iceberg_tells_it(catalog: RestCatalog, client: httpx.Client) -> None:
    with pytest.raises(NoSuchTableError):
        catalog.load_table("normalized.nope")
    with pytest.raises(NoSuchNamespaceError):
        catalog.list_tables("nope")
    assert client.get("/iceberg/v1/nope").json()["error"]["code"] == 404
    assert client.get("/iceberg/v1/namespaces", params={"parent": "raw"}).json() == {"namespaces": []}


WRITES = [
    ("POST", "/iceberg/v1/namespaces"),
    ("DELETE", "/iceberg/v1/namespaces/raw"),
    ("POST", "/iceberg/v1/namespaces/raw/properties"),
    ("POST", "/iceberg/v1/namespaces/raw/tables"),
    ("POST", "/iceberg/v1/namespaces/raw/tables/messages"),
    ("DELETE", "/iceberg/v1/namespaces/raw/tables/messages"),
    ("POST", "/iceberg/v1/namespaces/raw/register"),
    ("POST", "/iceberg/v1/tables/rename"),
    ("POST", "/iceberg/v1/transactions/commit"),
    ("POST", "/iceberg/v1/oauth/tokens"),
    ("POST", "/iceberg/v1/namespaces/raw/views"),
    ("PATCH", "/iceberg/v1/config"),
    ("DELETE", "/iceberg/v1/namespaces/raw/tables/messages/metrics"),
]


@pytest.mark.parametrize(("method", "path"), WRITES)
def test_every_write_is_refused_in_icebergs_words(client: httpx.Client, market_lake: Lake, method: str, path: str) -> None:
    before = market_lake.head("raw.messages").snapshot_id
    response = client.request(method, path, json={})
    assert response.status_code == 403
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("ForbiddenException", 403)
    assert "read-only" in error["message"]
    assert market_lake.head("raw.messages").snapshot_id == before


def test_a_scan_report_is_taken(client: httpx.Client) -> None:
    path = "/iceberg/v1/namespaces/raw/tables/messages/metrics"
    assert client.post(path, json={"report-type": "scan-report"}).status_code == 204
    assert client.post(path.replace("messages", "nope"), json={}).status_code == 404


def test_a_client_without_its_key_is_refused(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        _, text = add_key(lake, "spark", ["read"], "test")
        with served(lake) as client:
            with pytest.raises(UnauthorizedError, match="key"):
                RestCatalog("tickhouse", uri=f"{client.base_url}/iceberg")
            opened = RestCatalog("tickhouse", uri=f"{client.base_url}/iceberg", token=text)
            assert opened.load_table("normalized.trades").scan().to_arrow().num_rows == 0


def test_a_batch_under_audit_is_nobodys_to_read(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        definition = table_named("normalized.trades")
        moment = datetime(2024, 8, 8, tzinfo=UTC)
        row = {
            **dict.fromkeys(definition.column_names),
            "instrument_id": 1,
            "provider": "p",
            "feed": "f",
            "symbol": "s",
            "session_date": moment.date(),
            "ts_event": moment,
            "ts_event_nanos": 0,
            "ts_recv": moment,
            "price": Decimal(1),
            "size": Decimal(1),
            "capture_id": "c",
            "message_seq": 0,
            "ordinal": 0,
        }
        rows = pa.Table.from_pylist([row], definition.arrow_schema())
        staged = stage(lake, Increment(definition.name, "p", rows, {}, {"0": 1}, "run-1", (MessageRange("c", 0, 0),), {}))
        with served(lake) as client:
            body = client.get("/iceberg/v1/namespaces/normalized/tables/trades").json()["metadata"]
        assert set(body["refs"]) == {"main"}
        assert staged.snapshot_id not in {snapshot["snapshot-id"] for snapshot in body["snapshots"]}
        assert body["current-snapshot-id"] == lake.head(definition.name).snapshot_id


@pytest.mark.needs("spark")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # py4j leaves its sockets to the collector
def test_spark_reads_every_table(client: httpx.Client, market_lake: Lake) -> None:
    SparkSession = importlib.import_module("pyspark.sql").SparkSession  # an extra of its own

    session = (
        SparkSession.builder.master("local[1]")
        .config("spark.jars.packages", "org.apache.iceberg:iceberg-spark-runtime-4.0_2.13:1.11.0")
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.catalog.tickhouse", "org.apache.iceberg.spark.SparkCatalog")
        .config("spark.sql.catalog.tickhouse.type", "rest")
        .config("spark.sql.catalog.tickhouse.uri", f"{client.base_url}/iceberg")
        .getOrCreate()
    )
    try:
        for name in sorted(TABLES):
            assert session.table(f"tickhouse.{name}").count() == scan.read(market_lake, name).num_rows, name
        assert session.sql("SELECT max(price) FROM tickhouse.normalized.trades").first()[0] == Decimal("55135.99")
    finally:
        session.stop()
