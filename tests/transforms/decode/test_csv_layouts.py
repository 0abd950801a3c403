"""Every shipped mapping on a record or two in its layout's form, the numbers made by hand; FXCM's and the ECB's are their own."""

from __future__ import annotations

import zipfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from ingest.mappings import load_mapping, shipped_mappings
from lake.instants import parse_instant
from lake.values import CaptureKind
from tests.transforms.decode.csv_messages import csv_messages, read_csv, rows_of
from transforms.bars import quote_bars
from transforms.calendars import Market, Venue
from transforms.decode.decoded import Decoded
from transforms.feeds import feed_named
from transforms.normalize import normalize

FXCM = Path(__file__).parents[2] / "answers" / "fxcm_eurusd"
OHLC = "Date,Open,High,Low,Close"
LEAN = "0,1.39248,1.39255,1.39247,1.39255,0,1.39250,1.39259,1.39249,1.39258,0"
LAYOUTS: dict[str, tuple[str, str, dict[str, object]]] = {
    "backtrader_days": (
        "backtrader_2006-day-001.txt",
        f"{OHLC},Volume,OpenInterest,Optix\n2006-01-02,100.5,102.25,99.75,101,7,0,1.1\n",
        {"symbol": "backtrader_2006-day-001", "session_date": "2006-01-02", "high": "102.250000000", "volume": "7.00000000"},
    ),
    "backtrader_weeks": (
        "week.txt",
        f"{OHLC},Volume,OpenInterest\n2006-01-06,100.5,102.25,99.75,101,0,0\n",
        {"interval": "1wk", "session_date": "2006-01-02", "ts_open": "2006-01-01 23:00:00+00:00"},
    ),
    "backtrader_months": (
        "month.txt",
        f"{OHLC},Volume,OpenInterest\n2006-11-30,100.5,102.25,99.75,101,0,0\n",
        {"interval": "1mo", "session_date": "2006-11-01"},
    ),
    "backtrader_minutes": (
        "min.txt",
        "Date,Time,Open,High,Low,Close,Volume,OpenInterest\n2006-01-02,09:05:00,100.5,102.25,99.75,101,0,0\n",
        {"interval": "5m", "ts_open": "2006-01-02 08:00:00+00:00"},
    ),
    "backtrader_ticks": (
        "ticks.csv",
        "Datetime,Open,High,Low,Close,Volume,OpenInterest\n2015-09-23T21:00:00.238,10.50,10.50,10.50,10.50,1,0\n",
        {"ts_event": "2015-09-23 20:00:00.238000+00:00", "price": "10.500000000", "size": "1.00000000"},
    ),
    "backtrader_quotes": (
        "bidask.csv",
        "TIMESTAMP,BID,ASK\n02/03/2010 16:53:50,0.25,0.26\n",
        {"ts_event": "2010-02-03 16:53:50+00:00", "bid_price": "0.250000000", "ask_price": "0.260000000"},
    ),
    "backtrader_deals": (
        "deals.csv",
        'TimeStamp,cross,status ("D"= dealt),bid, offer, vol bid, vol offer\n01/03/16,23:43:11,EUR/JPY,D,,130.125,,3000',
        {"symbol": "EUR/JPY", "ts_event": "2016-03-01 23:43:11+00:00", "price": "130.125000000", "size": "3000.00000000"},
    ),
    "yahoo_download": (
        "mplfinance_yahoofinance-SPY-20200901-20210113.csv",
        f"{OHLC},Adj Close,Volume\n2020-09-02,354.670013,358.750000,353.429993,357.700012,354.761627,69540000\n"
        "2020-09-03,null,null,null,null,null,null\n",
        {"symbol": "SPY", "basis": "split_adjusted", "close": "357.700012000", "provider_adjusted_close": "354.761627000"},
    ),
    "yahoo_old": (
        "KO_1997_1998.csv",
        f"{OHLC},Volume,Adj Close\n1997-01-02,52.5,52.5,51,52,7000,16.25\n",
        {"symbol": "KO", "basis": "as_traded", "exchange": "US", "session_date": "1997-01-02"},
    ),
    "yahoo_us_dates": (
        "sp500_1999_2018.csv",
        f"{OHLC},Adj Close,Volume\n1/4/1999,1229.22998,1248.810059,1219.099976,1228.099976,1228.099976,877000000\n",
        {"symbol": "SP500", "session_date": "1999-01-04", "price_type": "index"},
    ),
    "yahoo_tables": (
        "AV-L-1wk-bad-stock-split.csv",
        f"{OHLC},Adj Close,Volume,Dividends,Stock Splits\n2021-12-13 00:00:00+00:00,518.4210205078125,535.0,515.0,530.0,"
        "383.0,47,0.0,0.0\n2021-12-20 00:00:00+00:00,,,,,,,0.0,0.0\n",
        {"symbol": "AV.L", "mic": "XLON", "interval": "1wk", "session_date": "2021-12-13", "open": "518.421000000"},
    ),
    "yahoo_tables_actions": (
        "4063-T-1d-bad-div-fixed.csv",
        "Datetime,Open,Dividends,Stock Splits\n2022-03-30 00:00:00+09:00,1,50.0,0.0\n2022-03-31 00:00:00+09:00,1,0.0,0.2\n",
        {"symbol": "4063.T:fixed", "kind": "cash_dividend", "ex_date": "2022-03-30", "amount": "50.000000000"},
    ),
    "us_days": (
        "mplfinance_SP500_NOV2019_Hist.csv",
        f"{OHLC},Volume\n11/1/2019,3050.72,3066.95,3050.72,3066.91,510301237\n",
        {"symbol": "SP500", "session_date": "2019-11-01"},
    ),
    "us_minutes": (
        "mplfinance_SP500_NOV2019_IDay.csv",
        "Date,Open,Close,High,Low,Volume\n11/5/2019 9:30,3080.8,3080.49,3081.47,3080.3,0\n",
        {"symbol": "SP500", "ts_open": "2019-11-05 14:30:00+00:00", "high": "3081.470000000", "close": "3080.490000000"},
    ),
    "barchart_days": (
        "mplfinance_jpyusd_barchartdotcom.csv",
        "Time,Open,High,Low,Last,Change,Volume\n3/13/2018,0.009394,0.009408999,9.323E-03,0.009383,-1.40E-05,5644\n",
        {"symbol": "JPYUSD", "low": "0.009323000", "close": "0.009383000"},
    ),
    "nautilus_minutes": (
        "nautilus_6EH4_XCME_1min_2024-01.csv.gz",
        "timestamp_utc,open,high,low,close,volume\n2024-01-01 23:01:00,1.1,1.2,1.05,1.15,2\n",
        {"symbol": "6EH4", "mic": "XCME", "ts_open": "2024-01-01 23:00:00+00:00"},
    ),
    "marketstore_quotes": (
        "ticks-example-1.csv",
        "Epoch, Bid, Ask\n20161230 21:59:20 383000,1.05213,1.05263\n",
        {"symbol": "ticks-example-1", "ts_event": "2016-12-30 21:59:20.383000+00:00", "ask_price": "1.052630000"},
    ),
    "marketstore_days": (
        "aapl_raw.csv",
        "Epoch,Open,High,Low,Close,Volume\n2020-08-03 04:00:00,432.8,446.5457,431.57,435.75,77037604\n",
        {"symbol": "AAPL", "session_date": "2020-08-03", "basis": "as_traded", "high": "446.545700000"},
    ),
    "marketstore_days_adjusted": (
        "aapl_adj.csv",
        "Epoch,Open,High,Low,Close,Volume\n2020-08-03 04:00:00,108.2,111.6364,107.8925,108.9375,308150416\n",
        {"symbol": "AAPL", "session_date": "2020-08-03", "basis": "split_adjusted"},
    ),
    "tardis_trades": (
        "trades.csv",
        "exchange,symbol,timestamp,local_timestamp,id,side,price,amount\n"
        "bitmex,XBTUSD,1583020803145001,1583020803300000,a-b,sell,8500.5,20\nbitmex,XBTUSD,1583020803145001,1,c,unknown,1,2\n",
        {"symbol": "bitmex:XBTUSD", "ts_event": "2020-03-01 00:00:03.145001+00:00", "side": "sell", "trade_id": "a-b"},
    ),
    "tardis_quotes": (
        "quotes.csv",
        "exchange,symbol,timestamp,local_timestamp,ask_amount,ask_price,bid_price,bid_amount\n"
        "huobi-dm-swap,BTC-USD,1588291201099000,1588291201200000,54,8600.5,8600,8\n",
        {"symbol": "huobi-dm-swap:BTC-USD", "bid_price": "8600.000000000", "bid_size": "8.00000000"},
    ),
    "tardis_book": (
        "book.csv",
        "exchange,symbol,timestamp,local_timestamp,is_snapshot,side,price,amount\n"
        "deribit,BTC-PERPETUAL,1585699200245000,1585699200300000,true,ask,6400.5,10\n",
        {"symbol": "deribit:BTC-PERPETUAL", "event": "snapshot", "side": "sell", "sequence": 1585699200300000, "event_index": 0},
    ),
    "tidyquant_days": (
        "long.csv",
        "symbol,date,open,high,low,close,volume,adjusted\nFB,2013-01-02,27.440001,28.18,27.42,28,69846400,28\n",
        {"symbol": "FB", "exchange": "US", "provider_adjusted_close": "28.000000000"},
    ),
    "daily_returns": (
        "SPY_daily_returns_1993_2018.csv",
        "date,return\n1993-02-01 00:00:00+00:00,0.007055075102412323\n",
        {
            "symbol": "SPY",
            "value": "0.007055075102",
            "measure": "return",
            "session_date": "1993-02-01",
            "ts_event": "1993-02-01 05:00:00+00:00",
            "known_at": "1993-02-02 05:00:00+00:00",
        },
    ),
    "fred_series": (
        "wti.csv",
        "observation_date,DCOILWTICO,DGS10\n2019-01-02,46.31,2.66\n2019-01-03,.,2.56\n",
        {"symbol": "DCOILWTICO", "value": "46.310000000000", "measure": "level"},
    ),
    "fred_series_us": (
        "wti.csv",
        "Date,DCOILWTICO\n1/2/1986,25.56\n",
        {"symbol": "DCOILWTICO", "session_date": "1986-01-02", "known_at": "1986-01-03 05:00:00+00:00"},
    ),
    "cboe_days": (
        "vix_daily_1990_2026.csv",
        "DATE,OPEN,HIGH,LOW,CLOSE\n2026-07-22,17.420000,19.490000,16.640000,16.640000\n",
        {"symbol": "VIX", "price_type": "index", "session_date": "2026-07-22"},
    ),
    "cboe_days_us": (
        "VIX_History.csv",
        "DATE,OPEN,HIGH,LOW,CLOSE\n07/22/2026,17.420000,19.490000,16.640000,16.640000\n",
        {"symbol": "VIX", "session_date": "2026-07-22", "high": "19.490000000"},
    ),
    "csvdir_days": (
        "AAPL.csv",
        "date,open,high,low,close,volume,dividend,split\n2012-01-03,58.485714,58.92857,58.42857,58.747143,75555200,0.0,1.0\n",
        {"symbol": "AAPL", "basis": "split_adjusted"},
    ),
    "csvdir_actions": (
        "AAPL.csv",
        "date,open,high,low,close,volume,dividend,split\n2014-06-05,1,1,1,1,1,0.0,1.0\n2014-06-09,1,1,1,1,1,0.47,7.0\n",
        {"kind": "cash_dividend", "ex_date": "2014-06-09", "amount": "0.470000000", "share_basis": "split_adjusted"},
    ),
    "quandl_wiki_days": (
        "wiki.csv",
        "ticker,date,open,high,low,close,volume,ex-dividend,split_ratio,adj_open,adj_high,adj_low,adj_close,adj_volume\n"
        "MSFT,2014-01-02,37.35,37.4,37.1,37.16,30632200.0,0.0,1.0,33.7,33.7,33.4,33.532799509942,30632200.0\n",
        {"symbol": "MSFT", "close": "37.160000000", "provider_adjusted_close": "33.532799510", "basis": "as_traded"},
    ),
    "quandl_wiki_actions": (
        "wiki.csv",
        "ticker,date,ex-dividend,split_ratio\nMSFT,2014-02-18,0.28,1.0\n",
        {"symbol": "MSFT", "kind": "cash_dividend", "amount": "0.280000000", "share_basis": "as_paid"},
    ),
    "lean_fxcm_ticks": (
        "20140507_eurusd_tick_quote.csv",
        "1014,1.39248,1.39250\n86399234,1.39147,1.39149\n",
        {"symbol": "FXCM:EURUSD", "ts_event": "2014-05-07 05:00:01.014000+00:00", "bid_price": "1.392480000"},
    ),
    "lean_fxcm_seconds": (
        "20140504_eurusd_second_quote.csv",
        LEAN + "\n",
        {"interval": "1s", "ts_open": "2014-05-04 05:00:00+00:00", "known_at": "2014-05-04 05:00:01+00:00"},
    ),
    "lean_fxcm_minutes": ("20140507_eurusd_minute_quote.csv", LEAN + "\n", {"price_type": "bid", "high": "1.392550000"}),
    "lean_fxcm_days": (
        "eurusd.csv",
        LEAN.replace("0,", "20070330 00:00,", 1) + "\n",
        {"ts_open": "2007-03-30 05:00:00+00:00", "session_date": "2007-03-30", "known_at": "2007-03-31 05:00:00+00:00"},
    ),
    "lean_oanda_minutes": (
        "20140507_eurusd_minute_quote.csv",
        LEAN + "\n",
        {"symbol": "OANDA:EURUSD", "ts_open": "2014-05-07 00:00:00+00:00"},
    ),
    "ecb_rates_daily": (
        "eurofxref.csv",
        "Date, USD, JPY, \n13 April 2026, 1.1684, 186.75, \n",
        {"symbol": "ECB:EURUSD", "rate": "1.168400000000", "session_date": "2026-04-13"},
    ),
    "ecb_rates": (
        "eurofxref-hist.csv",
        "Date,USD,JPY,BGN,\n2026-04-13,1.1684,186.75,N/A,\n",
        {
            "symbol": "ECB:EURUSD",
            "rate": "1.168400000000",
            "base_currency": "EUR",
            "quote_currency": "USD",
            "session_date": "2026-04-13",
            "ts_event": "2026-04-13 12:15:00+00:00",
            "known_at": "2026-04-13 14:00:00+00:00",
        },
    ),
}
"""Mapping -> a file's name, its text, and what its first row says."""
COUNTS = {
    "yahoo_tables_actions": 2,
    "tardis_trades": 2,
    "fred_series": 3,
    "csvdir_actions": 2,
    "lean_fxcm_ticks": 2,
    "ecb_rates": 2,
    "ecb_rates_daily": 2,
}


@pytest.mark.parametrize("mapping", LAYOUTS)
def test_a_shipped_mapping_reads_its_layout(mapping: str) -> None:
    file, text, expected = LAYOUTS[mapping]
    found = read_csv(mapping, file, text)
    rows = rows_of(found)
    assert not found.refused.num_rows
    assert len(rows) == COUNTS.get(mapping, 2 if mapping.startswith("lean_") else 1)
    assert {name: rows[0].get(name) for name in expected} == expected


def test_every_shipped_mapping_is_proven_and_says_what_it_is_for() -> None:
    assert set(shipped_mappings()) == set(LAYOUTS)
    assert all(len(words) > 20 for words in shipped_mappings().values())


@pytest.mark.parametrize("mapping", LAYOUTS)
def test_rows_of_every_layout_find_their_place(mapping: str) -> None:
    file, text, _ = LAYOUTS[mapping]
    given, kind = csv_messages(mapping, file, text), str(load_mapping(mapping)["kind"])
    found = normalized(given, feed_named("csv", kind).decode(given), kind)
    assert found.num_rows >= 1


def normalized(given: pa.Table, found: Decoded, kind: str) -> pa.Table:
    """Return the rows as the lake keeps them; none may be refused on the way."""
    feed, count = feed_named("csv", kind), given.num_rows
    whole = given.append_column("capture_id", pa.array(["c"] * count)).append_column("message_seq", pa.array(range(count)))
    for name, text in (("provider", "csv"), ("feed", kind)):
        whole = whole.append_column(name, pa.array([text] * count))
    now = pa.array([parse_instant("2026-11-01")] * count, pa.timestamp("us", tz="UTC"))
    placed = normalize(feed, whole.append_column("ts_recv", now), found, {"c": CaptureKind.IMPORT}, "run", now[0].as_py())
    assert not placed.refused.num_rows, placed.refused.to_pylist()[:3]
    (rows,) = placed.tables.values()
    return rows


def fxcm(name: str) -> bytes:
    with zipfile.ZipFile(FXCM / f"{name}.zip") as found:
        return found.read(found.namelist()[0])


def test_bars_of_the_ticks_read_are_the_bars_read() -> None:
    ticks = csv_messages("lean_fxcm_ticks", "20140504_eurusd_tick_quote.csv", fxcm("tick"))
    quotes = normalized(ticks, feed_named("csv", "quotes").decode(ticks), "quotes")
    assert quotes.num_rows == 8_025
    clock = Venue(Market.ZONE, "Etc/GMT+5")
    day = pc.cast(pc.subtract(quotes["ts_event"], pa.scalar(timedelta(hours=5))), pa.date32())
    quotes = quotes.set_column(quotes.schema.get_field_index("session_date"), "session_date", day)
    for interval, name, mapping in (("1s", "second", "lean_fxcm_seconds"), ("1m", "minute", "lean_fxcm_minutes")):
        file = f"20140504_eurusd_{name}_quote.csv"
        given = csv_messages(mapping, file, fxcm(name))
        told = normalized(given, feed_named("csv", "bars").decode(given), "bars")
        made = quote_bars(quotes, interval, clock, ("bid", "ask"))
        columns = ["price_type", "ts_open", "open", "high", "low", "close"]
        order = [("price_type", "ascending"), ("ts_open", "ascending")]
        assert made.select(columns).sort_by(order).equals(told.select(columns).sort_by(order).cast(made.select(columns).schema))


def test_an_hour_of_a_table_is_sixty_minutes() -> None:
    text = f"{OHLC},Adj Close,Volume,Dividends,Stock Splits\n2026-05-26 09:30:00-04:00,1,2,1,2,2,5,0,0\n"
    (row,) = rows_of(read_csv("yahoo_tables", "EA-1h-no-bad-divs.csv", text))
    assert (row["interval"], row["ts_open"]) == ("60m", "2026-05-26 13:30:00+00:00")


def test_a_delivery_before_the_end_of_a_bar_is_not_final() -> None:
    given = csv_messages("lean_fxcm_days", "eurusd.csv", LEAN.replace("0,", "20180704 00:00,", 1) + "\n")
    request = str(given["request"][0]).replace('"first_record": 0', '"received_at": "2018-07-04T12:00:00Z"')
    given = given.set_column(given.schema.get_field_index("request"), "request", pa.array([request]))
    rows = rows_of(feed_named("csv", "bars").decode(given))
    assert [(row["is_final"], row.get("known_at")) for row in rows] == [(False, None)] * 2
    assert datetime(2018, 7, 5, 5, tzinfo=UTC) > parse_instant("2018-07-04T12:00:00Z")
