"""Which feed reads which files of the data folder: one line each. A decoder that lands adds its lines here.

`files` is a glob below the data folder, and each file it finds is handed to the feed by name; ending in "/", it is a folder,
of which the feed takes what it recognises. A file may be taken by several lines (bars and actions of one table). A file
that no line takes is unexplained.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """Files, the feed that reads them, the mapping that CSV needs, and when they were delivered where that is known."""

    files: str
    provider: str
    feed: str
    mapping: str | None = None
    received_at: str | None = None


def _of(provider: str, files: str, *feeds: str) -> tuple[Line, ...]:
    return tuple(Line(files, provider, feed) for feed in feeds)


def _csv(kind: str, mapping: str, *files: str) -> tuple[Line, ...]:
    return tuple(Line(each, "csv", kind, mapping) for each in files)


_CSV: tuple[Line, ...] = (
    *_csv("bars", "backtrader_days", "csv_batch/backtrader_*day-001*.txt"),
    *_csv("bars", "backtrader_weeks", "csv_batch/backtrader_*week-001.txt"),
    *_csv("bars", "backtrader_months", "csv_batch/backtrader_*month-001.txt"),
    *_csv("bars", "backtrader_minutes", "csv_batch/backtrader_*min-005.txt"),
    *_csv("trades", "backtrader_ticks", "csv_batch/backtrader_ticksample.csv"),
    *_csv("quotes", "backtrader_quotes", "csv_batch/backtrader_bidask.csv"),
    *_csv("trades", "backtrader_deals", "csv_batch/backtrader_bidask2.csv"),
    *_csv("bars", "yahoo_download", "csv_batch/backtrader_yhoo-2014.txt", "csv_batch/mplfinance_yahoofinance-*.csv"),
    *_csv("bars", "yahoo_download", "adjustment/yahoo_split_adjusted/*.csv"),
    *_csv("bars", "us_days", "csv_batch/mplfinance_*_Hist.csv"),
    *_csv("bars", "us_minutes", "csv_batch/mplfinance_*_IDay.csv"),
    *_csv("bars", "barchart_days", "csv_batch/mplfinance_*_barchart*.csv"),
    *_csv("bars", "nautilus_minutes", "csv_batch/nautilus_*.csv.gz"),
    *_csv("quotes", "marketstore_quotes", "csv_batch/marketstore_ticks*.csv"),
    *_csv("trades", "tardis_trades", "csv_batch/tardis_*_trades_*.csv"),
    *_csv("quotes", "tardis_quotes", "csv_batch/tardis_*_quotes_*.csv"),
    *_csv("book", "tardis_book", "csv_batch/tardis_*_book_*.csv"),
    *_csv("bars", "tidyquant_days", "csv_batch/tidyquant_*.csv"),
    *_csv("quotes", "lean_fxcm_ticks", "fx_ticks/fxcm_*/tick/*.zip"),
    *_csv("bars", "lean_fxcm_seconds", "fx_ticks/fxcm_*/second/*.zip"),
    *_csv("bars", "lean_fxcm_minutes", "fx_ticks/fxcm_*/minute/*.zip"),
    *_csv("bars", "lean_fxcm_days", "fx_ticks/daily_fxcm/*.zip"),
    *_csv("bars", "lean_oanda_minutes", "fx_ticks/oanda_*/minute/*.zip"),
    *_csv("bars", "yahoo_us_dates", "benchmarks/sp500_*.csv"),
    *_csv("bars", "cboe_days", "benchmarks/vix_*.csv"),
    *_csv("index_levels", "fred_series_us", "benchmarks/wti.csv"),
    *_csv("index_levels", "daily_returns", "benchmarks/*_daily_returns_*.csv"),
    *_csv("bars", "csvdir_days", "adjustment/csvdir_trap/*.csv"),
    *_csv("actions", "csvdir_actions", "adjustment/csvdir_trap/*.csv"),
    *_csv("bars", "yahoo_old", "adjustment/yahoo_old/*.csv"),
    *_csv("bars", "quandl_wiki_days", "adjustment/quandl_wiki_*.csv"),
    *_csv("actions", "quandl_wiki_actions", "adjustment/quandl_wiki_*.csv"),
    *_csv("bars", "marketstore_days", "adjustment/ice_reorg/*_raw.csv"),
    *_csv("bars", "marketstore_days_adjusted", "adjustment/ice_reorg/*_adj.csv"),
    *_csv("bars", "yahoo_tables", "yahoo_repair/*.csv"),
    *_csv("actions", "yahoo_tables_actions", "yahoo_repair/*.csv"),
    *_csv("fx_rates", "ecb_rates", "fx_rates/eurofxref-hist.zip"),
)

_LISTS = ("venues", "market_hours", "properties", "currencies", "listings", "equities", "constituents", "membership", "changes")

LINES: tuple[Line, ...] = (
    *_CSV,
    Line("crypto_ws/binance_spot_*", "binance", "spot"),
    Line("crypto_ws/binance_usdm_*", "binance", "usdm"),
    *_of("yahoo", "yahoo/", "chart", "quote", "search", "download"),
    *_of("finnhub", "finnhub/", "quote", "trades", "company", "reference"),
    *_of("alpha_vantage", "alpha_vantage/", "stocks", "currencies", "fundamentals", "indicators", "reference"),
    *_of("alpaca", "alpaca/", "sip", "opra", "crypto", "actions", "news", "screener", "contracts", "reference"),
    *_of("polygon", "polygon/", "market", "actions", "reference"),
    *_of("tiingo", "tiingo/", "daily", "iex", "crypto"),
    *_of("iex_cloud", "iex_cloud/", "market", "stock", "reference"),
    *_of("databento", "databento/", "dbn", "reference"),
    *_of("fix", "fix/", "market"),
    Line("fix/*.txt", "fix", "market"),
    *_of("nyse_taq", "taq_ticks/", "trades", "quotes"),
    *_of("ibkr", "ibkr/", "wire", "history"),
    *_of("tradier", "options/", "market"),
    *_of("yahoo", "options/", "quote"),
    *_of("iex", "iex_hist/", "tops", "deep"),
    *_of("nasdaq", "nasdaq_itch/", "itch"),
    *_of("reference", "calendars/", "sessions"),
    *_of("reference", "reference/", *_LISTS),
    Line("alpaca/historical_stock_data__get_snapshot_multi_empty_response.json", "alpaca", "sip"),
    Line("tiingo/invalid_url.html", "tiingo", "daily"),
    Line("adjustment/ice_reorg/reorg.*", "ice", "reorg"),
)

NOT_DATA = ("README.md", "_manifest.json", "LICENSE", "FIX42.xml", "FIX44.xml", "FIX50.xml", "FIXT11.xml")
"""What lies beside the data and speaks about it."""
