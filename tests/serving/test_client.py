"""The client over a real server: the same rows as here, exact, and the errors of here."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest

from lake.catalog import Lake
from lake.errors import AccessError, DemandError, InvalidValueError, NotFoundError, ProviderUnavailableError
from lake.instants import system_clock
from lake.settings import load_settings
from serving.bars import Adjustment, BarsQuestion, bars
from serving.client import Client
from serving.keys import add_key
from tests.serving.market_lake import served

BTC = "listing:BINANCE/BTCUSDT:spot"


@pytest.fixture(scope="module")
def client(market_lake: Lake) -> Iterator[Client]:
    with served(market_lake) as http, Client(str(http.base_url)) as opened:
        yield opened


def test_bars_are_the_same_as_here(client: Client, market_lake: Lake) -> None:
    here = bars(market_lake, BarsQuestion("AAPL", adjustment=Adjustment.SPLITS))
    there = client.bars("AAPL", adjustment="splits")
    assert there.table.equals(here.table.combine_chunks()) or there.table.to_pylist() == here.table.to_pylist()
    assert there.metadata["snapshots"] == here.metadata["snapshots"]
    assert there.metadata["basis"] == "split_adjusted"
    some = client.bars("AAPL", start=date(2020, 8, 28), end="2020-08-31", known_as_of="2020-08-28")
    assert some.table["close"].to_pylist() == [Decimal("499.23")]


def test_one_question_has_the_same_numbers_by_every_way(client: Client) -> None:
    asked = {"known_as_of": "2020-08-31"}
    by_bars = client.bars("AAPL", adjustment="splits", **asked).table
    by_sql = client.sql("SELECT adj_close FROM adjusted.bars_1d WHERE symbol = 'AAPL' ORDER BY session_date", **asked).table
    assert by_bars["close"].to_pylist() == by_sql["adj_close"].to_pylist()


def test_trades_quotes_and_snapshot(client: Client) -> None:
    assert client.trades(BTC, limit=2).table["price"].to_pylist() == [Decimal("55131.99"), Decimal("55132.99")]
    assert client.quotes(BTC).table.num_rows == 3
    assert client.snapshot(["AAPL", BTC]).table["symbol"].to_pylist() == ["AAPL", "BTCUSDT"]
    assert client.ask("gaps", only_open=True).table.num_rows == 1
    assert client.document("health")["status"] == "ok"


def test_answers_as_polars_and_pandas_stay_exact(client: Client) -> None:
    answer = client.sql("SELECT price FROM normalized.trades ORDER BY sequence LIMIT 1")
    assert answer.table.schema.field("price").type == pa.decimal128(18, 9)
    assert answer.polars()["price"].to_list() == [Decimal("55131.99")]
    assert isinstance(answer.polars(), pl.DataFrame)
    assert answer.pandas()["price"].tolist() == [Decimal("55131.990000000")]
    assert answer.metadata["truncated"] is False


def test_errors_are_those_of_here(client: Client) -> None:
    with pytest.raises(NotFoundError, match="NOPE"):
        client.bars("NOPE")
    with pytest.raises(InvalidValueError, match="interval"):
        client.bars("AAPL", interval="x")
    with pytest.raises(InvalidValueError, match="read_parquet"):
        client.sql("SELECT * FROM read_parquet('x')")
    with pytest.raises(DemandError, match="ago"):
        client.quotes(BTC, max_age=1)


def test_a_key_is_sent_and_missed(tmp_path: Path) -> None:
    with Lake.create(load_settings(home=tmp_path / "home"), system_clock) as lake:
        _, text = add_key(lake, "a", ["sql"], "test")
        with served(lake) as http:
            with Client(str(http.base_url)) as nobody, pytest.raises(AccessError, match="keys add"):
                nobody.sql("SELECT 1")
            with Client(str(http.base_url), key=text) as client:
                assert client.sql("SELECT 1 AS one").table.to_pylist() == [{"one": 1}]
                with pytest.raises(AccessError, match="scope read"):
                    client.bars("AAPL")


def test_nobody_there_is_told_as_such() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with Client(f"http://127.0.0.1:{port}") as client, pytest.raises(ProviderUnavailableError, match="does not answer"):
        client.bars("AAPL")
