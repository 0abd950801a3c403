"""The registry of feeds: one line for each (provider, feed) that tickhouse can read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial

import pyarrow as pa

from lake.errors import NotFoundError
from lake.values import NumberKind
from transforms.decode import (
    alpaca,
    alpaca_more,
    alpha_vantage,
    alpha_vantage_company,
    alpha_vantage_indicators,
    alpha_vantage_news,
    alpha_vantage_options,
    binance,
    csv_facts,
    csv_files,
    databento_reference,
    databento_symbology,
    dbn,
    finnhub,
    finnhub_company,
    finnhub_prices,
    finnhub_reference,
    fix,
    ibkr_history,
    ibkr_wire,
    ice_reorg,
    iex,
    iex_cloud,
    iex_cloud_stock,
    nasdaq_itch,
    nyse_taq,
    polygon,
    reference_lists,
    reference_markets,
    tiingo,
    tradier,
    yahoo,
    yahoo_download,
    yahoo_quotes,
    yahoo_search,
    yahoo_stream,
)
from transforms.decode.decoded import (
    ALTERNATIVE,
    BARS,
    BOOK_EVENTS,
    CORPORATE_ACTIONS,
    CURRENCIES,
    FUNDAMENTALS,
    FX_RATES,
    INDEX_CONSTITUENTS,
    INSTRUMENT_JOINS,
    MARKET_HOURS,
    NEWS,
    OPTION_OPEN_INTEREST,
    QUOTES,
    SESSIONS,
    SYMBOL_CHANGES,
    TRADES,
    VENUES,
    Decoded,
)
from transforms.decode.readers import read_no_facts


@dataclass(frozen=True, slots=True)
class Feed:
    """One feed of one provider: what it delivers and how it is read."""

    provider: str
    feed: str
    number_kind: NumberKind
    payload: str
    """What it reads, in words."""
    tables: tuple[str, ...]
    """The tables it fills, like `normalized.trades`."""
    decode: Callable[[pa.Table], Decoded]
    """Messages (columns of raw.messages, this provider and feed only) -> facts, refused rows, control; never raises."""
    is_crossed_normal: bool = False
    """True where bid > ask is real, as in depth feeds and FX aggregators: kept as a finding, not refused."""
    venue: str | None = None
    """Market of all its symbols where there is one: BINANCE, US. None: the hints `mic` and `exchange` of each row tell."""
    signed_classes: frozenset[str] = frozenset()
    """Asset classes whose prices may be 0 or less: futures (oil at -37.63, power), spreads. Elsewhere such a price is refused."""
    most_messages: int = 1_000_000
    """Most messages of one promotion batch: few where each holds thousands of facts, so that memory stays bounded."""
    tells_state: bool = False
    """True where every message tells what stands when it is asked for (quotes, chains), not what happened: a fact that has no
    number and is told by several messages, of one capture too, is one. False where some are events: pages of history, frames."""
    coarse_ns: int = 1
    """The unit, in nanoseconds, of a channel that tells times coarser than another does: see `clocks.py`. 1: all tell alike."""


_BINANCE_FRAMES = "JSON frames: trade, bookTicker, depthUpdate; REST: depth, klines, trades by id"
_ALPACA_STOCKS = "JSON of /v2/stocks (bars, trades, quotes, snapshots) and frames of the stream (JSON or msgpack)"
_ALPACA_OPTIONS = "/v1beta1/options (bars, trades, quotes, chains with greeks) and frames of its msgpack stream"
_TOPS = "TOPS 1.5 and 1.6 in pcap and pcapng: quotes, trades, breaks, states, auctions"
_DEEP = "DEEP 1.0 in pcap and pcapng: price levels, trades, breaks, states, auctions"
_ITCH = "TotalView-ITCH 5.0 files, with or without prefixes of length: orders, executions, crosses, states"
_IEX_MARKET = "TOPS, last, DEEP, book, trades and breaks, JSON and SSE"
_IEX_STOCK = "charts, quotes, dividends, splits, statements, stats, news, options, rates"
_POLYGON = "JSON of aggregates, trades, quotes, last prices, snapshots and chains"
_DBN = "DBN 1 to 3 and DBZ of any dataset, every schema; rows carry the dataset as their feed, like `xnas.itch`"
_FIX = "FIX 4.2 to 5.0 SP2: W, X, S, i, d, y, f, h"
_TRADIER = "chains with greeks, quotes"
_MS = 1_000_000
_FUTURES, _SPREADS = frozenset({"future"}), frozenset({"future", "other"})
_BINANCE_TABLES = (TRADES, QUOTES, BOOK_EVENTS, BARS)

FEEDS: dict[tuple[str, str], Feed] = {
    (feed.provider, feed.feed): feed
    for feed in (
        Feed("binance", "spot", NumberKind.EXACT, _BINANCE_FRAMES, _BINANCE_TABLES, binance.decode, venue="BINANCE"),
        Feed("binance", "usdm", NumberKind.EXACT, _BINANCE_FRAMES, _BINANCE_TABLES, binance.decode, venue="BINANCE"),
        Feed(
            "yahoo",
            "chart",
            NumberKind.FLOAT_IMAGE,
            "v8 chart JSON",
            (BARS, CORPORATE_ACTIONS),
            yahoo.decode,
            signed_classes=_FUTURES,
        ),
        Feed(
            "yahoo",
            "download",
            NumberKind.FLOAT_IMAGE,
            "v7 CSV of prices, dividends, splits, and the form before it",
            yahoo_download.DOWNLOAD_TABLES,
            yahoo_download.decode_download,
        ),
        Feed(
            "yahoo",
            "quote",
            NumberKind.FLOAT_IMAGE,
            "v7 quotes, chains of options, screeners",
            yahoo_quotes.QUOTE_TABLES,
            yahoo_quotes.decode_quotes,
            True,
            tells_state=True,
        ),
        Feed("yahoo", "search", NumberKind.FLOAT_IMAGE, "articles of searches", (NEWS,), yahoo_search.decode_search),
        Feed(
            "yahoo",
            "stream",
            NumberKind.FLOAT_IMAGE,
            "PricingData: protobuf in base64, alone or in JSON",
            yahoo_stream.STREAM_TABLES,
            yahoo_stream.decode_stream,
            True,
        ),
        *(
            Feed("csv", kind, NumberKind.EXACT, "CSV records with a mapping", (table,), partial(csv_files.decode, kind), True)
            for kind, (table, _) in csv_facts.READ.items()
        ),
        Feed(
            "ice", "reorg", NumberKind.EXACT, "80-column split announcements", (CORPORATE_ACTIONS,), ice_reorg.decode, venue="US"
        ),
        Feed("alpaca", "iex", NumberKind.EXACT, _ALPACA_STOCKS, alpaca.STOCK_TABLES, alpaca.decode_stocks, True, "US"),
        Feed("alpaca", "sip", NumberKind.EXACT, _ALPACA_STOCKS, alpaca.STOCK_TABLES, alpaca.decode_stocks, True, "US"),
        Feed("alpaca", "opra", NumberKind.EXACT, _ALPACA_OPTIONS, alpaca.OPTION_TABLES, alpaca.decode_options, True, "US"),
        Feed("alpaca", "indicative", NumberKind.EXACT, _ALPACA_OPTIONS, alpaca.OPTION_TABLES, alpaca.decode_options, True, "US"),
        Feed("alpaca", "crypto", NumberKind.EXACT, "/v1beta3/crypto and its stream", alpaca.CRYPTO_TABLES, alpaca.decode_crypto),
        Feed(
            "alpaca",
            "actions",
            NumberKind.EXACT,
            "/v1/corporate-actions",
            (CORPORATE_ACTIONS,),
            alpaca.decode_actions,
            venue="US",
        ),
        Feed("alpaca", "news", NumberKind.EXACT, "/v1beta1/news and its stream", (NEWS,), alpaca_more.decode_news),
        Feed(
            "alpaca",
            "screener",
            NumberKind.EXACT,
            "most actives, movers",
            (ALTERNATIVE,),
            alpaca_more.decode_screener,
            venue="US",
        ),
        Feed(
            "alpaca",
            "contracts",
            NumberKind.EXACT,
            "/v2/options/contracts",
            (OPTION_OPEN_INTEREST,),
            alpaca_more.decode_contracts,
            venue="US",
        ),
        Feed("alpaca", "reference", NumberKind.EXACT, "lists of assets: raw only", (), alpaca_more.decode_reference),
        Feed("databento", "dbn", NumberKind.EXACT, _DBN, dbn.TABLES, dbn.decode, True, signed_classes=_FUTURES, most_messages=48),
        Feed(
            "databento",
            "reference",
            NumberKind.EXACT,
            "JSON lines: corporate actions, adjustment factors, security master",
            databento_reference.TABLES,
            databento_reference.decode_reference,
        ),
        Feed(
            "databento",
            "metadata",
            NumberKind.EXACT,
            "symbology, prices of ranges, refusals",
            databento_symbology.TABLES,
            databento_symbology.decode_metadata,
        ),
        Feed("finnhub", "quote", NumberKind.EXACT, "/quote: the day so far", (BARS,), finnhub.decode_quotes),
        Feed("finnhub", "trades", NumberKind.EXACT, "frames of the trade stream, /stock/tick", (TRADES,), finnhub.decode_trades),
        Feed("finnhub", "candles", NumberKind.EXACT, "candles: stocks, forex, crypto", (BARS,), finnhub_prices.decode_candles),
        Feed("finnhub", "bbo", NumberKind.EXACT, "/stock/bbo", (QUOTES,), finnhub_prices.decode_bbo, True),
        Feed("finnhub", "actions", NumberKind.EXACT, "splits, dividends", (CORPORATE_ACTIONS,), finnhub_prices.decode_actions),
        Feed("finnhub", "rates", NumberKind.EXACT, "/forex/rates", (FX_RATES,), finnhub_prices.decode_rates),
        Feed("finnhub", "news", NumberKind.EXACT, "news, press releases", (NEWS,), finnhub_company.decode_news),
        Feed(
            "finnhub",
            "company",
            NumberKind.EXACT,
            "recommendations, targets, grades, earnings, metrics, statements",
            finnhub_company.COMPANY_TABLES,
            finnhub_company.decode_company,
        ),
        Feed(
            "finnhub",
            "reference",
            NumberKind.EXACT,
            "symbols of an exchange, holidays, changes of symbols; other lists raw only",
            finnhub_reference.REFERENCE_TABLES,
            finnhub_reference.decode_reference,
        ),
        Feed(
            "alpha_vantage",
            "stocks",
            NumberKind.EXACT,
            "time series and GLOBAL_QUOTE, JSON or CSV; bulk quotes, DIVIDENDS, SPLITS",
            (BARS, CORPORATE_ACTIONS),
            alpha_vantage.decode_stocks,
        ),
        Feed(
            "alpha_vantage",
            "currencies",
            NumberKind.EXACT,
            "FX and digital currency series, CURRENCY_EXCHANGE_RATE",
            alpha_vantage.CURRENCY_TABLES,
            alpha_vantage.decode_currencies,
        ),
        Feed(
            "alpha_vantage",
            "fundamentals",
            NumberKind.EXACT,
            "profiles, statements, earnings, estimates",
            (FUNDAMENTALS,),
            alpha_vantage_company.decode_fundamentals,
        ),
        Feed(
            "alpha_vantage",
            "indicators",
            NumberKind.EXACT,
            "technical indicators, sectors, ratings, movers, economic series",
            alpha_vantage_indicators.INDICATOR_TABLES,
            alpha_vantage_indicators.decode_indicators,
        ),
        Feed(
            "alpha_vantage",
            "news",
            NumberKind.EXACT,
            "NEWS_SENTIMENT",
            alpha_vantage_news.NEWS_TABLES,
            alpha_vantage_news.decode_news,
        ),
        Feed(
            "alpha_vantage",
            "options",
            NumberKind.EXACT,
            "HISTORICAL_OPTIONS and REALTIME_OPTIONS, JSON or CSV",
            (OPTION_OPEN_INTEREST,),
            alpha_vantage_options.decode_options,
            venue="US",
        ),
        Feed(
            "alpha_vantage",
            "reference",
            NumberKind.EXACT,
            "searches, listings, calendars: raw only",
            (),
            alpha_vantage_company.decode_reference,
        ),
        Feed("polygon", "market", NumberKind.EXACT, _POLYGON, polygon.MARKET_TABLES, polygon.decode_market, True, coarse_ns=_MS),
        Feed(
            "polygon",
            "actions",
            NumberKind.EXACT,
            "/v3/reference/splits and /dividends",
            (CORPORATE_ACTIONS,),
            polygon.decode_actions,
            venue="US",
        ),
        Feed("tiingo", "daily", NumberKind.EXACT, "/tiingo/daily prices, JSON or CSV", tiingo.DAILY_TABLES, tiingo.decode_daily),
        Feed(
            "tiingo", "iex", NumberKind.EXACT, "/iex prices, quotes; its stream", tiingo.IEX_TABLES, tiingo.decode_iex, True, "US"
        ),
        Feed(
            "tiingo",
            "crypto",
            NumberKind.FLOAT_IMAGE,
            "/tiingo/crypto prices, top; its stream",
            tiingo.CRYPTO_TABLES,
            tiingo.decode_crypto,
            True,
        ),
        Feed(
            "tiingo", "fx", NumberKind.FLOAT_IMAGE, "/tiingo/fx prices, top; its stream", tiingo.FX_TABLES, tiingo.decode_fx, True
        ),
        Feed("iex", "tops", NumberKind.EXACT, _TOPS, iex.TOPS_TABLES, iex.decode_tops, True, "US", most_messages=64),
        Feed("iex", "deep", NumberKind.EXACT, _DEEP, iex.DEEP_TABLES, iex.decode_deep, True, "US", most_messages=64),
        Feed("iex", "hist", NumberKind.EXACT, "lists of files and refusals: no facts", (), read_no_facts),
        Feed("nasdaq", "itch", NumberKind.EXACT, _ITCH, nasdaq_itch.TABLES, nasdaq_itch.decode, True, "US", most_messages=64),
        Feed("iex_cloud", "market", NumberKind.EXACT, _IEX_MARKET, iex_cloud.MARKET_TABLES, iex_cloud.decode_market, True, "US"),
        Feed("iex_cloud", "stock", NumberKind.EXACT, _IEX_STOCK, iex_cloud_stock.STOCK_TABLES, iex_cloud_stock.decode_stock),
        Feed("iex_cloud", "reference", NumberKind.EXACT, "lists: raw only", (), iex_cloud_stock.decode_reference),
        Feed("fix", "market", NumberKind.EXACT, _FIX, fix.TABLES, fix.decode, True, signed_classes=_SPREADS),
        Feed(
            "ibkr",
            "wire",
            NumberKind.EXACT,
            "messages of TWS by server version",
            ibkr_wire.TABLES,
            ibkr_wire.decode,
            True,
            signed_classes=_FUTURES,
        ),
        Feed(
            "ibkr",
            "history",
            NumberKind.EXACT,
            "JSON of bars and ticks",
            ibkr_history.TABLES,
            ibkr_history.decode,
            True,
            signed_classes=_FUTURES,
        ),
        Feed("tradier", "market", NumberKind.EXACT, _TRADIER, tradier.TABLES, tradier.decode, True, "US", tells_state=True),
        Feed("nyse_taq", "trades", NumberKind.EXACT, "TAQ trades", nyse_taq.TRADE_TABLES, nyse_taq.decode_trades, venue="US"),
        Feed("nyse_taq", "quotes", NumberKind.EXACT, "TAQ quotes", nyse_taq.QUOTE_TABLES, nyse_taq.decode_quotes, True, "US"),
        Feed("polygon", "reference", NumberKind.EXACT, "lists of tickers, venues, codes: raw only", (), polygon.decode_reference),
        *(
            Feed("reference", feed, NumberKind.EXACT, payload, tables, decode)
            for feed, payload, tables, decode in (
                ("venues", "ISO 10383 list of MICs", (VENUES,), reference_lists.decode_venues),
                ("sessions", "sessions of a calendar", (SESSIONS,), reference_markets.decode_sessions),
                ("market_hours", "Lean's market hours database", (MARKET_HOURS,), reference_markets.decode_market_hours),
                ("properties", "Lean's symbol properties", reference_markets.RULE_TABLES, reference_markets.decode_properties),
                ("currencies", "ISO 4217 list", (CURRENCIES,), reference_lists.decode_currencies),
                ("listings", "Nasdaq Trader's symbol directory", reference_lists.LISTING_TABLES, reference_lists.decode_listings),
                ("equities", "FinanceDatabase equities", reference_lists.EQUITY_TABLES, reference_lists.decode_equities),
                (
                    "constituents",
                    "members of an index today",
                    reference_lists.CONSTITUENT_TABLES,
                    reference_lists.decode_constituents,
                ),
                ("membership", "intervals in an index", (INDEX_CONSTITUENTS,), reference_lists.decode_membership),
                ("changes", "changes of symbols", (SYMBOL_CHANGES,), reference_lists.decode_changes),
                ("map_files", "Lean's map files: symbols of an instrument", (SYMBOL_CHANGES,), reference_lists.decode_map_files),
                ("joins", "ids found to be one instrument", (INSTRUMENT_JOINS,), reference_lists.decode_joins),
            )
        ),
    )
}

FAMILIES = {"databento": "dbn"}
"""Providers of many feeds that are read alike: one with a dot in its name, like `xnas.itch`, is read as the feed told here."""


@lru_cache(maxsize=1024)
def feed_of(provider: str, feed: str) -> Feed | None:
    """Return the feed (provider, feed), also one of a family; None where there is none."""
    found = FEEDS.get((provider, feed))
    if found is None and "." in feed and provider in FAMILIES:
        return replace(FEEDS[provider, FAMILIES[provider]], feed=feed)
    return found


def feed_named(provider: str, feed: str) -> Feed:
    """Return the feed (provider, feed). Raises NotFoundError that lists what exists."""
    found = feed_of(provider, feed)
    if found is None:
        raise NotFoundError(f"no feed {provider} {feed}; there are {', '.join(f'{p} {f}' for p, f in sorted(FEEDS))}")
    return found
