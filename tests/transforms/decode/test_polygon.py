"""Polygon: clocks of four units, days of three markets, intervals of the request."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.decode.cases import messages
from transforms.decode.decoded import BARS, QUOTES
from transforms.decode.polygon_rows import hints, instant
from transforms.feeds import feed_named
from transforms.numbers import NumberRefusedError


@given(st.integers(126_230_400, 4_600_000_000), st.sampled_from([0, 3, 6, 9]))
def test_a_stamp_of_any_unit_is_the_same_instant(seconds, digits):
    at = datetime.fromtimestamp(seconds, UTC)
    assert instant(seconds * 10**digits) == (at, 0)


@pytest.mark.parametrize("stamp", [0, -1, 1 << 62, True, None, "1651003200000", 1.5])
def test_what_is_no_stamp_is_refused(stamp):
    with pytest.raises(NumberRefusedError):
        instant(stamp)


@pytest.mark.parametrize(
    ("ticker", "symbol", "asset", "currency"),
    [
        ("AAPL", "AAPL", None, "USD"),
        ("O:AAPL230616C00150000", "AAPL230616C00150000", "option", "USD"),
        ("X:BTCUSD", "X:BTCUSD", "crypto", "USD"),
        ("C:EURUSD", "C:EURUSD", "fx", "USD"),
        ("I:SPX", "I:SPX", "index", None),
        ("Z:ODD", "Z:ODD", None, "USD"),
    ],
)
def test_a_prefix_names_the_market(ticker, symbol, asset, currency):
    found = hints(ticker)
    assert (found["symbol"], found["asset_class"], found.get("currency")) == (symbol, asset, currency)


def bars(path, *entries, **more):
    body = json.dumps({"ticker": "AAPL", "adjusted": True, "results": list(entries)} | more).encode()
    return feed_named("polygon", "market").decode(messages([body], [{"url": f"https://api.polygon.io{path}"}]))


BAR = {"o": 1, "h": 2, "l": 1, "c": 1.5, "v": 7, "t": 1112331600000}


@pytest.mark.parametrize(
    ("span", "interval"),
    [("1/minute", "1m"), ("4/hour", "240m"), ("1/day", "1d"), ("2/week", "2wk"), ("1/quarter", "3mo"), ("1/year", "12mo")],
)
def test_the_interval_is_the_request_s(span, interval):
    found = bars(f"/v2/aggs/ticker/AAPL/range/{span}/2005-04-01/2005-04-04", BAR)
    assert found.tables[BARS]["interval"].to_pylist() == [interval]


@pytest.mark.parametrize("path", ["", "/v2/aggs/ticker/AAPL/range/0/day/a/b", "/v2/aggs/ticker/AAPL/range/1/second/a/b"])
def test_a_range_without_its_request_is_refused_not_guessed(path):
    assert bars(path, BAR).refused["rule"].to_pylist() == ["unknown_interval"]


@pytest.mark.parametrize(("adjusted", "basis"), [(True, "split_adjusted"), (False, "as_traded")])
def test_the_answer_says_whether_it_is_adjusted(adjusted, basis):
    found = bars("/v2/aggs/ticker/AAPL/prev", BAR, adjusted=adjusted)
    assert found.tables[BARS]["basis"].to_pylist() == [basis]


def test_a_side_without_a_price_has_no_quote():
    body = b'{"results":{"p":0,"s":0,"P":155.66,"S":14,"T":"AAPL","t":1652192754171838500},"status":"OK"}'
    (row,) = feed_named("polygon", "market").decode(messages([body])).tables[QUOTES].to_pylist()
    assert (row["bid_price"], row["bid_size"], str(row["ask_price"])) == (None, None, "155.660000000")
