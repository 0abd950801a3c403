"""Every recorded answer of Alpaca, Finnhub and Alpha Vantage: as many facts as were counted in it by hand, and its own digits."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import ProtocolError
from tests.transforms.decode.cases import messages
from transforms.decode.alpha_vantage_actions import split_ratio
from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import Digits, asked, document, exact, instant, rounded
from transforms.feeds import FEEDS, feed_named
from transforms.numbers import NumberRefusedError

RECORDINGS = Path(__file__).parents[3] / "ingest" / "simulator" / "recordings"
T, Q, B, A = "normalized.trades", "normalized.quotes", "normalized.bars", "normalized.corporate_actions"
N, M, X = "normalized.news", "normalized.option_open_interest", "normalized.fx_rates"
F, L, S = "normalized.fundamentals", "normalized.index_levels", "normalized.alternative"
COUNTED = {
    "alpaca/corporate_actions__get_corporate_actions.json": ("actions", {A: 3}, 10),
    "alpaca/corporate_actions__get_corporate_actions_1.json": ("actions", {A: 1}, 0),
    "alpaca/historical_crypto_data__crypto_get_snapshot.json": ("crypto", {T: 2, Q: 2, B: 6}, 0),
    "alpaca/historical_crypto_data__crypto_latest_bar.json": ("crypto", {B: 1}, 0),
    "alpaca/historical_crypto_data__get_crypto_bars.json": ("crypto", {B: 2}, 0),
    "alpaca/historical_crypto_data__get_crypto_latest_quote.json": ("crypto", {Q: 1}, 0),
    "alpaca/historical_crypto_data__get_crypto_latest_trade.json": ("crypto", {T: 1}, 0),
    "alpaca/historical_crypto_data__get_crypto_quotes.json": ("crypto", {Q: 2}, 0),
    "alpaca/historical_crypto_data__get_crypto_trades.json": ("crypto", {T: 2}, 0),
    "alpaca/historical_news_data__get_news.json": ("news", {N: 2}, 0),
    "alpaca/historical_news_data__get_news_1.json": ("news", {N: 1}, 0),
    "alpaca/historical_option_data__get_bars.json": ("opra", {B: 2}, 0),
    "alpaca/historical_option_data__get_latest_quote.json": ("indicative", {Q: 1}, 0),
    "alpaca/historical_option_data__get_latest_trade.json": ("opra", {}, 0),
    "alpaca/historical_option_data__get_option_chain.json": ("opra", {Q: 1, M: 1}, 0),
    "alpaca/historical_option_data__get_snapshot.json": ("opra", {Q: 1, M: 1}, 0),
    "alpaca/historical_option_data__get_trades.json": ("opra", {T: 2}, 0),
    "alpaca/historical_option_data__multisymbol_get_bars.json": ("opra", {B: 3}, 0),
    "alpaca/historical_option_data__multisymbol_get_trades.json": ("opra", {T: 3}, 0),
    "alpaca/historical_stock_data__get_bars.json": ("sip", {B: 2}, 0),
    "alpaca/historical_stock_data__get_bars_desc.json": ("sip", {B: 3}, 0),
    "alpaca/historical_stock_data__get_bars_multi_empty_response.json": ("sip", {}, 0),
    "alpaca/historical_stock_data__get_latest_quote.json": ("sip", {Q: 1}, 0),
    "alpaca/historical_stock_data__get_multisymbol_latest_trade.json": ("iex", {T: 2}, 0),
    "alpaca/historical_stock_data__get_quotes.json": ("sip", {Q: 2}, 0),
    "alpaca/historical_stock_data__get_snapshot.json": ("sip", {T: 1, Q: 1, B: 3}, 0),
    "alpaca/historical_stock_data__get_trades.json": ("sip", {T: 2}, 0),
    "alpaca/historical_stock_data__multi_stock_latest_bar.json": ("sip", {B: 2}, 0),
    "alpaca/historical_stock_data__multisymbol_get_bars.json": ("sip", {B: 2}, 0),
    "alpaca/historical_stock_data__multisymbol_get_trades.json": ("sip", {T: 2}, 0),
    "alpaca/historical_stock_data__multisymbol_quotes.json": ("sip", {Q: 2}, 0),
    "finnhub/error_invalid_api_key.json": ("quote", {}, 0),
    "finnhub/quote_AAPL.json": ("quote", {B: 1}, 0),
    "finnhub/made_company_news_AAPL.json": ("news", {N: 1}, 0),
    "finnhub/made_dividend_AAPL.json": ("actions", {A: 1}, 0),
    "finnhub/made_market_holiday_US.json": ("reference", {"reference.market_hours": 2}, 1),
    "finnhub/made_market_status_US.json": ("reference", {}, 1),
    "finnhub/made_rates_EUR.json": ("rates", {}, 1),  # it tells no day, and nobody noted when it came
    "finnhub/made_split_AAPL.json": ("actions", {A: 2}, 0),
    "finnhub/made_symbol_US.json": ("reference", {"reference.classifications": 3, "reference.identifiers": 7}, 1),
    "finnhub/made_symbol_change.json": ("reference", {"reference.symbol_changes": 2}, 0),
    "alpha_vantage/CURRENCY_EXCHANGE_RATE_EUR_USD.json": ("currencies", {Q: 1, X: 1}, 0),
    "alpha_vantage/CURRENCY_EXCHANGE_RATE_USD_JPY.json": ("currencies", {Q: 1, X: 1}, 0),
    "alpha_vantage/FX_DAILY_EUR_USD_full.json": ("currencies", {B: 5_000}, 0),
    "alpha_vantage/TIME_SERIES_DAILY_ADJUSTED_GME_premium_refusal.json": ("stocks", {}, 0),
    "alpha_vantage/TIME_SERIES_INTRADAY_AAPL_15min.json": ("stocks", {B: 100}, 0),
    "alpha_vantage/OVERVIEW_TSLA.json": ("fundamentals", {F: 41}, 0),
    "alpha_vantage/EARNINGS_TSLA.json": ("fundamentals", {F: 197}, 0),
    "alpha_vantage/crypto_daily.json": ("currencies", {B: 3}, 0),
    "alpha_vantage/crypto_intraday.json": ("currencies", {B: 3}, 0),
    "alpha_vantage/exchangerate_data-with-no-bid-or-ask-price.json": ("currencies", {X: 1}, 0),
    "alpha_vantage/exchangerate_data.json": ("currencies", {Q: 1, X: 1}, 0),
    "alpha_vantage/forex_daily.json": ("currencies", {B: 2}, 0),
    "alpha_vantage/forex_intraday.json": ("currencies", {B: 2}, 0),
    "alpha_vantage/forex_weekly.json": ("currencies", {}, 1),
    "alpha_vantage/global_quote.json": ("stocks", {B: 1}, 0),
    "alpha_vantage/made_DIVIDENDS_IBM.json": ("stocks", {A: 2}, 0),
    "alpha_vantage/made_EARNINGS_CALENDAR.csv": ("reference", {}, 1),
    "alpha_vantage/made_HISTORICAL_OPTIONS_IBM.json": ("options", {M: 2}, 0),
    "alpha_vantage/made_IPO_CALENDAR.csv": ("reference", {}, 1),
    "alpha_vantage/made_LISTING_STATUS.csv": ("reference", {}, 1),
    "alpha_vantage/made_MARKET_STATUS.json": ("reference", {}, 1),
    "alpha_vantage/made_NEWS_SENTIMENT_IBM.json": ("news", {N: 3, S: 6}, 0),
    "alpha_vantage/made_SPLITS_AAPL.json": ("stocks", {A: 2}, 0),
    "alpha_vantage/made_TOP_GAINERS_LOSERS.json": ("indicators", {S: 8}, 0),
    "alpha_vantage/made_WTI.json": ("indicators", {L: 2}, 0),
    "alpha_vantage/mock_time_series.json": ("stocks", {B: 100}, 0),
    "alpha_vantage/mock_time_series_extended.csv": ("stocks", {B: 11_190}, 0),
    "alpha_vantage/rate_limit_note_CASH_FLOW_TSLA.json": ("stocks", {}, 0),
    "alpha_vantage/symbol_search.json": ("reference", {}, 1),
    "alpha_vantage/timeseries_daily.json": ("stocks", {B: 2}, 0),
    "alpha_vantage/timeseries_dailyadjusted.json": ("stocks", {B: 2, A: 1}, 0),
    "alpha_vantage/timeseries_globalquote.json": ("stocks", {B: 1}, 0),
    "alpha_vantage/timeseries_intraday.json": ("stocks", {B: 2}, 0),
    "alpha_vantage/timeseries_monthlyadjusted.json": ("stocks", {B: 2}, 1),
    "alpha_vantage/timeseries_realtimebulkquote.json": ("stocks", {}, 0),
    "alpha_vantage/timeseries_weekly.json": ("stocks", {B: 2}, 0),
    "alpha_vantage/timeseries_weeklyadjusted.json": ("stocks", {B: 2}, 1),
}
"""File -> feed, facts by table, refused rows: counted in the file."""
NUMBERS = (
    "price",
    "size",
    "bid_price",
    "bid_size",
    "ask_price",
    "ask_size",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "amount",
    "rate",
)


def decoded(name: str):
    provider, _, file = name.partition("/")
    told = {entry["file"]: entry for entry in json.loads((RECORDINGS / provider / "_manifest.json").read_bytes())}[file]
    body = (RECORDINGS / name).read_bytes()
    headers = [{"date": told["date"]}] if "date" in told else None
    feed = feed_named(provider, COUNTED[name][0])
    return body, feed.decode(messages([body], [{"url": told["url"]}], [told.get("status")], headers))


def digits_in(body: bytes) -> set[Decimal]:
    """Every number that stands in a payload, as JSON number or as text."""
    if not body.lstrip().startswith((b"{", b"[")):
        words = [word for line in body.decode().splitlines()[1:] for word in line.split(",")[1:]]
        return {Decimal(word) for word in words if word.replace(".", "", 1).isdigit()}
    found: set[Decimal] = set()

    def walk(value):
        if isinstance(value, dict | list):
            for each in value.values() if isinstance(value, dict) else value:
                walk(each)
        elif isinstance(value, Decimal | int) or (isinstance(value, str) and value.replace(".", "", 1).isdigit()):
            found.add(Decimal(value))

    walk(json.loads(body, parse_float=Decimal))
    return found


def test_every_recording_is_counted():
    recorded = {
        f"{provider}/{path.name}"
        for provider in ("alpaca", "finnhub", "alpha_vantage")
        for path in (RECORDINGS / provider).iterdir()
        if path.suffix in (".json", ".csv") and not path.name.startswith("_")
    }
    assert recorded == set(COUNTED)


@pytest.mark.parametrize("name", COUNTED)
def test_a_recording_gives_what_was_counted_in_it(name):
    body, found = decoded(name)
    _, counts, refused = COUNTED[name]
    assert {table: rows.num_rows for table, rows in found.tables.items() if rows.num_rows} == counts
    assert found.refused.num_rows == refused
    assert found.control == (not counts and not refused)
    there = digits_in(body)
    for rows in found.tables.values():
        for column in NUMBERS:
            if column in rows.column_names:
                assert {value for value in rows[column].to_pylist() if value is not None} <= there


def test_a_long_history_keeps_every_day_of_the_payload():
    body, found = decoded("alpha_vantage/FX_DAILY_EUR_USD_full.json")
    days = json.loads(body)["Time Series FX (Daily)"]
    rows = found.tables[B].to_pylist()
    assert [str(row["session_date"]) for row in rows] == list(days)
    assert [f"{row['close']:.5f}" for row in rows] == [values["4. close"] for values in days.values()]
    assert [row["is_final"] for row in rows] == [False] + [True] * 4_999


def test_intraday_stamps_are_placed_by_what_the_hours_show():
    _, quarters = decoded("alpha_vantage/TIME_SERIES_INTRADAY_AAPL_15min.json")
    opens = [str(row["ts_open"]) for row in quarters.tables[B].to_pylist()]
    assert opens[0] == "2021-08-18 23:45:00+00:00"  # labelled 20:00, when trading ends: the end of its bar
    _, minutes = decoded("alpha_vantage/mock_time_series_extended.csv")
    assert str(minutes.tables[B]["ts_open"][0].as_py()) == "2020-12-19 00:59:00+00:00"


@pytest.mark.parametrize(("stamp", "hour"), [("04:00:00", 12), ("20:00:00", 11), ("12:00:00", 12)])
def test_a_stamp_at_the_first_hour_is_a_start_and_at_the_last_an_end(stamp, hour):
    rows = {
        f"2024-05-31 {at}": {f"{n}. {k}": "1" for n, k in enumerate(("open", "high", "low", "close", "volume"), 1)}
        for at in {stamp, "12:00:00"}
    }
    meta = {"1. Information": "Intraday (60min)", "2. Symbol": "IBM", "4. Interval": "60min", "6. Time Zone": "UTC"}
    found = feed_named("alpha_vantage", "stocks").decode(
        messages([json.dumps({"Meta Data": meta, "Time Series (60min)": rows}).encode()])
    )
    assert f"2024-05-31 {hour}:00:00+00:00" in {str(at) for at in found.tables[B]["ts_open"].to_pylist()}


@pytest.mark.parametrize(
    ("text", "ratio"),
    [("4.0000", (4, 1)), ("0.0500", (1, 20)), ("0.3333", (1, 3)), ("0.0333", (1, 30)), ("1.5000", (3, 2)), ("1.0050", (201, 200)),
     ("0.6667", (2, 3)), ("7.0", (7, 1)), ("1.1415", (2283, 2000))],
)  # fmt: skip
def test_a_coefficient_is_the_ratio_that_rounds_to_it(text, ratio):
    assert split_ratio(text) == ratio


@pytest.mark.parametrize("text", ["0.0000", "-1.0", "x", ""])
def test_a_coefficient_that_is_none_is_refused(text):
    with pytest.raises(NumberRefusedError):
        split_ratio(text)


@given(st.decimals(min_value=-(10**8), max_value=10**8, places=9))
def test_a_json_number_keeps_its_digits(number):
    assert exact(document(f"{number:f}".encode()), 9) == number
    assert exact(document(f"{number:e}".encode()), 9) == number


@pytest.mark.parametrize(
    ("text", "rule"),
    [("1e400", "overflow"), ("1e-400", "overflow"), ("1.0000000001", "excess_digits"), ("1" * 60, "overflow"),
     ('"1"', "malformed_number"),
     ("true", "malformed_number"), ("null", "malformed_number")],
)  # fmt: skip
def test_what_is_no_number_of_ours_is_refused(text, rule):
    with pytest.raises(NumberRefusedError) as refused:
        exact(document(text.encode()), 9)
    assert refused.value.rule == rule


def test_an_average_is_rounded_half_to_even():
    assert str(rounded(Digits("3372.4441210299"), 9)) == "3372.444121030"
    assert str(rounded(Digits("1.0000000005"), 9)) == "1.000000000"
    assert str(rounded(7, 9)) == "7.000000000"


@given(st.text(max_size=40))
def test_any_text_is_an_instant_or_refused(text):
    try:
        at, nanos = instant(text)
    except ProtocolError:
        return
    assert at.tzinfo is not None
    assert 0 <= nanos < 1000


def test_requests_tell_what_was_asked():
    assert asked(json.dumps({"url": "http://x/v2/stocks/bars?timeframe={timeframe}&symbols=A%2CB", "params": {"asof": "-"}})) == (
        "/v2/stocks/bars", {"symbols": "A,B", "asof": "-"},
    )  # fmt: skip
    assert asked(json.dumps({"url": "http://[", "params": {"asof": "-"}})) == ("", {})
    assert asked(None) == ("", {})


def test_symbols_tell_their_market():
    assert hints("BRK.B") == hints("AAPL") == {"exchange": "US", "asset_class": "equity", "currency": "USD"}
    assert hints("TSCO.LON")["mic"] == hints("TSCO.L")["mic"] == "XLON"
    assert [hints(name).get("asset_class") for name in ("KRAKEN:XBTUSD", "OANDA:EUR_USD", "NOWHERE:X", "X.QQQ")] == [
        "crypto",
        "fx",
        None,
        None,
    ]


def test_the_new_feeds_are_listed():
    assert {key for key in FEEDS if key[0] in ("alpaca", "finnhub", "alpha_vantage")} == {
        *(("alpaca", feed) for feed in ("iex", "sip", "opra", "indicative", "crypto", "actions")),
        *(("alpaca", feed) for feed in ("news", "screener", "contracts", "reference")),
        *(("finnhub", feed) for feed in ("quote", "trades", "candles", "bbo", "actions")),
        *(("finnhub", feed) for feed in ("rates", "news", "company", "reference")),
        *(("alpha_vantage", feed) for feed in ("stocks", "currencies", "fundamentals", "indicators", "news")),
        *(("alpha_vantage", feed) for feed in ("options", "reference")),
    }  # fmt: skip
