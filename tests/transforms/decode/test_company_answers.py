"""Alpha Vantage's and Finnhub's answers beyond prices: counted in their payloads, known for their feed, the same in each form."""

from __future__ import annotations

import json
from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.finnhub import named_answer
from ingest.containers.registry import CONTAINERS
from ingest.containers.source import Source, Told
from tests.transforms.decode.cases import SAMPLES, messages, sample
from transforms.decode.finnhub import decode_trades, read_trades
from transforms.feeds import feed_named

B, F, L, X = "normalized.bars", "normalized.fundamentals", "normalized.index_levels", "normalized.alternative"
NOTHING = (None, "None", "-", "")


def rows_of(provider, feed, payload, table, request=None):
    return feed_named(provider, feed).decode(messages([payload], [request])).tables[table].to_pylist()


def numbers(rows, word):
    return {(row["period"], row["period_end"], row[word]): row["value"] for row in rows if row["value"] is not None}


@pytest.mark.parametrize("name", ["balancesheet", "cashflow"])
def test_every_number_of_a_statement_is_a_line_of_its_period(name):
    payload = (SAMPLES / "alpha_vantage" / "fundamentals" / f"fundamentaldata_{name}.json").read_bytes()
    told = json.loads(payload)
    expected = {
        (period, date.fromisoformat(each["fiscalDateEnding"]), item): Decimal(value)
        for key, period in (("annualReports", "annual"), ("quarterlyReports", "quarterly"))
        for each in told[key]
        for item, value in each.items()
        if item not in ("fiscalDateEnding", "reportedCurrency") and value not in NOTHING
    }
    found = rows_of("alpha_vantage", "fundamentals", payload, F)
    assert numbers(found, "item") == expected
    assert {row["unit"] for row in found} <= {"USD", None}
    assert all(row["ts_event"].date() > row["period_end"] for row in found)


def test_every_sector_has_its_level_of_every_rank():
    payload = (SAMPLES / "alpha_vantage" / "indicators" / "sector_data.json").read_bytes()
    told = json.loads(payload)
    expected = {
        (rank.partition(": ")[2], sector): Decimal(value.removesuffix("%"))
        for rank, sectors in told.items()
        if rank != "Meta Data"
        for sector, value in sectors.items()
    }
    found = rows_of("alpha_vantage", "indicators", payload, L)
    assert {(row["measure"], row["symbol"]): row["value"] for row in found} == expected


def test_a_value_that_is_a_list_is_refused_and_the_next_one_read():
    observed = [{"date": "2020-01-01", "value": [1]}, {"date": "2021-01-01", "value": "2.5"}]
    payload = json.dumps({"name": "Real GDP", "interval": "annual", "unit": "USD", "data": observed}).encode()
    told = feed_named("alpha_vantage", "indicators").decode(messages([payload], [None]))
    assert [row["value"] for row in told.tables[L].to_pylist()] == [Decimal("2.5")]
    assert told.refused.num_rows == 1


def test_every_count_of_a_recommendation_is_a_measure():
    payload = (SAMPLES / "finnhub" / "company" / "recommendation_TSLA.json").read_bytes()
    expected = {
        (date.fromisoformat(each["period"]), f"recommendation.{name}"): each[name]
        for each in json.loads(payload)
        for name in ("strongBuy", "buy", "hold", "sell", "strongSell")
    }
    found = rows_of("finnhub", "company", payload, X)
    assert {(row["session_date"], row["measure"]): row["value"] for row in found} == expected


@given(st.lists(st.tuples(*[st.integers(1, 10**6)] * 5), min_size=1, max_size=8))
def test_candles_in_columns_are_the_rows_they_are_made_of(given_rows):
    days = range(1_598_832_000, 1_598_832_000 + 86_400 * len(given_rows), 86_400)
    columns = dict(zip("ohlcv", ([row[place] for row in given_rows] for place in range(5)), strict=True))
    payload = json.dumps({"s": "ok", "t": list(days), **columns}).encode()
    found = rows_of("finnhub", "candles", payload, B, {"params": {"symbol": "AAPL", "resolution": "D"}})
    assert [tuple(int(row[name]) for name in ("open", "high", "low", "close", "volume")) for row in found] == given_rows
    assert [row["is_final"] for row in found] == [True] * (len(found) - 1) + [False]


def test_ticks_of_rest_are_the_trades_of_the_stream():
    entries = [{"p": 129.04, "v": 100, "t": 1_598_883_600_123, "c": ["1"]}, {"p": 129.5, "v": 7, "t": 1_598_883_600_124, "c": []}]
    frame = {"type": "trade", "data": [{"s": "AAPL", **each} for each in entries]}
    columns = {"s": "AAPL", "total": 2, **{name: [each[name] for each in entries] for name in ("p", "v", "t", "c")}}
    streamed, polled = (rows_of("finnhub", "trades", json.dumps(each).encode(), "normalized.trades") for each in (frame, columns))
    assert streamed == polled
    assert len(polled) == 2


numbers_as_written = st.sampled_from(
    ["1", "0", "0.0", "-1", "1e2", "168.645", "1.0000000001", "12345678901", '"5"', "null", "1E400"]
)
prints = st.fixed_dictionaries(
    {
        "s": st.sampled_from(['"AAPL"', '"BINANCE:BTCUSDT"', '""', "null"]) | st.just('"TSLA"'),
        "p": numbers_as_written | st.just("2.5"),
    },
    optional={
        "v": numbers_as_written | st.just("3"),
        "t": st.sampled_from(["1644878285748", "-1", "9999999999999999", "1.5", '"1"', "null"]) | st.just("1644878285749"),
        "c": st.sampled_from(['["1","24"]', "[]", "null", '"1"', "[1]", "[null]"]),
    },
)


def frame_of(entries):
    told = ["{" + ",".join(f'"{name}":{value}' for name, value in entry.items()) + "}" for entry in entries]
    return f'{{"data":[{",".join(told)}],"type":"trade"}}'.encode()


@given(st.lists(st.lists(prints, max_size=4), max_size=5), st.data())
def test_trades_by_columns_are_the_trades_one_by_one(frames, data):
    payloads = [frame_of(each) for each in frames]
    requests = [data.draw(st.sampled_from([None, {"repeats": 0}])) for _ in payloads]
    by_columns, one_by_one = (decode(messages(payloads, requests)) for decode in (decode_trades, read_trades))
    assert by_columns.tables["normalized.trades"].equals(one_by_one.tables["normalized.trades"])
    assert by_columns.refused.equals(one_by_one.refused)
    assert (by_columns.control, by_columns.skipped) == (one_by_one.control, one_by_one.skipped)


@pytest.mark.parametrize(
    ("provider", "folder"),
    [
        *(
            ("alpha_vantage", folder)
            for folder in ("fundamentals", "indicators", "news", "reference", "actions", "rates", "stocks", "options")
        ),
        *(
            ("finnhub", folder)
            for folder in ("candles", "bbo", "actions", "rates", "news", "company", "reference", "ticks", "quote")
        ),
    ],
)
def test_what_gives_rows_is_known_for_its_feed_alone(provider, folder):
    case, table = sample(SAMPLES / provider / folder)
    decode = feed_named(provider, case["feed"]).decode
    known = 0
    for number, payload in enumerate(table["payload"].to_pylist()):
        found = decode(table.slice(number, 1))
        is_list = folder == "reference" and "raw_only" in found.refused["rule"].to_pylist()
        if found.fact_count == 0 and not is_list:
            continue
        claims = {key for key, container in CONTAINERS.items() if container.is_one("a.json", payload)}
        is_csv = not payload.lstrip().startswith((b"{", b"["))
        assert claims == {(provider, case["feed"])} or (is_csv and (provider, case["feed"]) in claims), payload[:80]
        known += 1
    assert known


def test_a_name_tells_the_symbol_of_a_quote_and_a_manifest_is_believed_before_it(tmp_path):
    (tmp_path / "candle_TSCO.L_D.json").write_bytes(b"{}")
    path = tmp_path / "candle_TSCO.L_D.json"
    by_name, by_manifest = (
        next(iter(named_answer(Source(path), Told(path.name, manifest=told)))).request
        for told in ({}, {"url": "https://finnhub.io/api/v1/quote?symbol=MSFT"})
    )
    assert by_name["params"] == {"symbol": "TSCO.L", "resolution": "D"}
    assert "params" not in by_manifest
