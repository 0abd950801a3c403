"""The registry of providers that can be asked or listened to: one line each. Light to import.

Where they are reached, which keys they want, what they offer when asked (`Offer`), what they push (`Push`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial

from ingest.asks import Credentials, SessionWithAnswers
from ingest.offers import Offer
from ingest.providers import (
    alpaca,
    alpaca_stream,
    alpha_vantage,
    alpha_vantage_more,
    binance,
    binance_rest,
    finnhub,
    finnhub_rest,
    finnhub_ticks,
    polygon,
    polygon_stream,
    tiingo,
    tiingo_stream,
    yahoo,
    yahoo_rest,
    yahoo_stream,
)
from lake.errors import NotFoundError

STREAM = "stream"
"""The word by which a person asks for what a feed pushes."""
_NO_CREDENTIALS = Credentials()
_DAYS = timedelta(days=1)
_EQUITIES = frozenset({"equity", "etf"})


@dataclass(frozen=True, slots=True)
class Push:
    """What one feed of a provider pushes.

    address      where it is listened to
    session      makes one capture's conversation, of symbols and keys
    is_default   whether the feed's name alone stands for listening
    server       the simulator's server that plays it; empty: named as the provider
    symbols_per_connection   most symbols on one socket; None: one socket takes all, or is all that the provider allows
    """

    feed: str
    address: str
    session: Callable[[Sequence[str], Sequence[str]], SessionWithAnswers]
    is_default: bool = True
    server: str = ""
    symbols_per_connection: int | None = None


@dataclass(frozen=True, slots=True)
class Provider:
    """One provider.

    http                 address by feed; of `""`, any other feed
    hosts                its other hosts, by the word for them (`Request.host`)
    feeds                what its name alone stands for, by the symbols asked for
    named_only           asked when somebody names them, and never chosen: their plan is paid for, or they end in raw only
    key_variables        names in the environment; none: no key is wanted
    credentials          of its keys, for requests
    stream_credentials   likewise, for the upgrade to a socket
    """

    name: str
    http: Mapping[str, str]
    feeds: Callable[[Sequence[str]], tuple[str, ...]]
    offers: tuple[Offer, ...]
    pushes: tuple[Push, ...] = ()
    named_only: tuple[Offer, ...] = ()
    key_variables: tuple[str, ...] = ()
    credentials: Callable[..., Credentials] = lambda: _NO_CREDENTIALS
    stream_credentials: Callable[..., Credentials] = lambda: _NO_CREDENTIALS
    hosts: Mapping[str, str] = field(default_factory=dict)

    def address(self, feed: str) -> str:
        """Return where a feed is asked."""
        return self.http.get(feed) or self.http[""]

    def push(self, feed: str) -> Push | None:
        """Return what a feed pushes; None where it does not."""
        return next((push for push in self.pushes if push.feed == feed), None)

    def offers_of(self, feed: str, data: str | None = None) -> tuple[Offer, ...]:
        """Return what a feed offers under the word `data`; None: under its first word. Raises NotFoundError for no such feed."""
        found = [offer for offer in (*self.offers, *self.named_only) if offer.feed == feed]
        if not found and self.push(feed) is None:
            there = [f"{name} ({', '.join(dict.fromkeys(words))})" if words else name for name, words in self._feeds().items()]
            raise NotFoundError(f"no feed {self.name} {feed} that can be captured; there are {', '.join(there)}")
        return tuple(offer for offer in found if offer.word == (data or found[0].word))

    def meant(self, feed: str, data: str | None) -> tuple[str, str | None]:
        """Return (feed, data) that a person means who says a word of data in place of the feed that has it, like `options`."""
        words = self._feeds()
        having = [name for name, told in words.items() if feed in told]
        return (having[0], feed) if data is None and feed not in words and len(having) == 1 else (feed, data)

    def _feeds(self) -> dict[str, list[str]]:
        """Return each feed and the words for what it has."""
        words: dict[str, list[str]] = {}
        for offer in (*self.offers, *self.named_only):
            words.setdefault(offer.feed, []).append(offer.word)
        for push in self.pushes:
            words.setdefault(push.feed, [])
        return words

    def missing_keys(self, environment: Mapping[str, str]) -> str:
        """Return what must be set before it can be asked, in words; empty when nothing is missing."""
        missing = [name for name in self.key_variables if not environment.get(name)]
        return f"needs {' and '.join(missing)} in the environment" if missing else ""


def _always(*feeds: str) -> Callable[[Sequence[str]], tuple[str, ...]]:
    return lambda symbols: feeds


_BARS, _TRADES, _QUOTES = "normalized.bars", "normalized.trades", "normalized.quotes"
_ACTIONS, _RATES, _FUNDAMENTALS = "normalized.corporate_actions", "normalized.fx_rates", "normalized.fundamentals"


def _alpaca_offers() -> tuple[Offer, ...]:
    minutes = ("1m", "5m", "15m", "30m", "60m", "1h", "1d", "1wk", "1mo")
    words: dict[alpaca.Kind, tuple[str, str]] = {
        "bars": ("bars", _BARS), "trades": ("trades", _TRADES), "quotes": ("quotes", _QUOTES),
        "snapshots": ("snapshots", _QUOTES), "chain": ("chain", _QUOTES), "latest_quotes": ("latest_quotes", _QUOTES),
        "latest_trades": ("latest_trades", _TRADES), "latest_bars": ("latest_bars", _BARS),
        "actions": ("corporate_actions", _ACTIONS), "news": ("news", "normalized.news"),
    }  # fmt: skip
    classes = {"crypto": frozenset({"crypto"})} | dict.fromkeys(alpaca.OPTION_FEEDS, frozenset({"option"}))
    return tuple(
        Offer(
            alpaca.PROVIDER, feed, *words[kind], f"{alpaca.market_of(feed)}/{kind}", partial(alpaca.MarketData, feed, kind),
            classes.get(feed, _EQUITIES), minutes if kind == "bars" else (), rows_per_page=alpaca.page_rows(kind),
            symbols_per_call=1 if kind == "chain" else 100, basis="as_traded" if kind == "bars" else None, data=kind,
        )
        for feed in alpaca.FEEDS
        for kind in alpaca.kinds_of(feed)
    )  # fmt: skip


def _alpha_vantage_offers() -> tuple[Offer, ...]:
    provider, stocks, pairs = alpha_vantage.PROVIDER, alpha_vantage.STOCKS, alpha_vantage.CURRENCIES
    series = [
        Offer(provider, stocks, "bars", _BARS, function, alpha_vantage.Query, _EQUITIES, (interval,), basis="as_traded")
        for interval, function in alpha_vantage.STOCK.items()
    ]
    minutes = tuple(alpha_vantage.MINUTES)
    series.append(
        Offer(
            provider, stocks, "bars", _BARS, "TIME_SERIES_INTRADAY", partial(alpha_vantage.Query, is_full=True), _EQUITIES,
            minutes, basis="as_traded", parts=lambda start, end: len(alpha_vantage.months_of(start, end)),
        )
    )  # fmt: skip
    series += [
        Offer(
            provider, pairs, "bars" if interval != "quote" else "fx_rates", _BARS if interval != "quote" else _RATES, function,
            alpha_vantage.Query, frozenset({"fx"}), (interval,), basis="as_traded", data="bars",
        )
        for interval, function in alpha_vantage.PAIRS.items()
    ]  # fmt: skip
    series.append(Offer(provider, pairs, "bars", _BARS, "FX_INTRADAY", alpha_vantage.Query, frozenset({"fx"}), minutes))
    return (
        *series,
        *(
            Offer(
                provider, alpha_vantage.FUNDAMENTALS, "fundamentals", _FUNDAMENTALS, function,
                partial(alpha_vantage.Company, about), _EQUITIES, data=about,
            )
            for about, function in alpha_vantage.COMPANY.items()
        ),
        *alpha_vantage_more.OFFERS,
    )  # fmt: skip


def _yahoo_offers() -> tuple[Offer, ...]:
    span, history = (*yahoo.SPANS.items(), ("", None)), (*yahoo.HISTORY.items(), ("", None))
    classes = _EQUITIES | {"index", "fx", "crypto", "future"}
    return (
        Offer(
            yahoo.PROVIDER, yahoo.FEED, "bars", _BARS, yahoo.FEED, yahoo.Chart, classes, yahoo.INTERVALS, span, history,
            basis="split_adjusted",
        ),
        *yahoo_rest.OFFERS,
    )  # fmt: skip


def _binance_offers() -> tuple[Offer, ...]:
    offers, crypto = [], frozenset({"crypto"})
    markets: tuple[binance.Market, ...] = ("spot", "usdm")
    for market in markets:
        klines, depth = partial(binance_rest.Klines, market), partial(binance_rest.Depth, market)
        classes = crypto if market == "spot" else frozenset({"future"})
        intervals = tuple(binance_rest.INTERVALS)
        offers += [
            Offer(
                binance.PROVIDER,
                market,
                "bars",
                _BARS,
                "klines",
                klines,
                classes,
                intervals,
                basis="as_traded",
                rows_per_page=1_000,
            ),
            Offer(binance.PROVIDER, market, "book", "normalized.book_events", "depth", depth, classes),
            Offer(
                binance.PROVIDER, market, "latest_quotes", _QUOTES, binance_rest.BOOK_TICKER,
                partial(binance_rest.NewestQuote, market), classes,
            ),
            Offer(
                binance.PROVIDER, market, "latest_trades", _TRADES, "trades", partial(binance_rest.NewestTrade, market), classes
            ),
        ]  # fmt: skip
    trades = partial(binance_rest.Trades, "spot")  # of futures a key is wanted
    offers.append(Offer(binance.PROVIDER, "spot", "trades", _TRADES, "historicalTrades", trades, crypto, rows_per_page=1_000))
    return tuple(offers)


def _binance_push(market: binance.Market) -> Push:
    def session(symbols: Sequence[str], keys: Sequence[str]) -> SessionWithAnswers:
        return binance.MarketSession([name for symbol in symbols for name in binance.default_streams(market, symbol)], market)

    most = binance.MAX_STREAMS // len(binance.default_streams(market, ""))
    return Push(market, binance.STREAM_ADDRESS[market], session, server=market, symbols_per_connection=most)


PROVIDERS: dict[str, Provider] = {
    provider.name: provider
    for provider in (
        Provider(
            yahoo.PROVIDER,
            {"": yahoo.ADDRESS},
            _always(yahoo.FEED),
            _yahoo_offers(),
            (
                Push(
                    yahoo_stream.STREAM,
                    yahoo_stream.STREAM_ADDRESS,
                    yahoo_stream.open_stream,
                    symbols_per_connection=yahoo_stream.MOST_SYMBOLS,
                ),
            ),
            hosts=yahoo_rest.HOSTS,
        ),
        Provider(
            binance.PROVIDER,
            {"": binance.HTTP_ADDRESS["spot"], "usdm": binance.HTTP_ADDRESS["usdm"]},
            _always("spot", "usdm"),
            _binance_offers(),
            (_binance_push("spot"), _binance_push("usdm")),
        ),
        Provider(
            alpaca.PROVIDER,
            {"": alpaca.ADDRESS},
            _always("iex"),
            _alpaca_offers(),
            tuple(
                Push(feed, alpaca_stream.STREAM_ADDRESS, partial(alpaca_stream.open_stream, feed), is_default=False)
                for feed in alpaca_stream.FEEDS
            ),
            (),
            ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
            alpaca.credentials,
            alpaca.credentials,
        ),
        Provider(
            finnhub.PROVIDER,
            {"": finnhub.ADDRESS},
            _always(finnhub.QUOTE),
            (
                Offer(finnhub.PROVIDER, finnhub.QUOTE, "quotes", _BARS, finnhub.QUOTE, finnhub.Quote, _EQUITIES),
                Offer(
                    finnhub.PROVIDER,
                    finnhub.TRADES,
                    "trades",
                    _TRADES,
                    finnhub_ticks.ENDPOINT,
                    finnhub_ticks.Ticks,
                    _EQUITIES,
                    rows_per_page=finnhub_ticks.MOST_ROWS,
                    data="ticks",
                ),
                *finnhub_rest.OFFERS,
            ),
            (Push(finnhub.TRADES, finnhub.STREAM_ADDRESS, lambda symbols, keys: finnhub.TradeStream(symbols)),),
            (*finnhub_rest.CANDLES, finnhub_rest.STATUS),
            ("FINNHUB_API_KEY",),
            finnhub.credentials,
            finnhub.stream_credentials,
        ),
        Provider(
            polygon.PROVIDER,
            {"": polygon.ADDRESS},
            _always(polygon.MARKET),
            polygon.OFFERS,
            (Push(polygon.MARKET, polygon_stream.STREAM_ADDRESS, polygon_stream.open_stream, is_default=False),),
            (),
            ("POLYGON_API_KEY",),
            polygon.credentials,
            polygon.credentials,
        ),
        Provider(
            tiingo.PROVIDER,
            {"": tiingo.ADDRESS},
            tiingo.feeds_of,
            tiingo.OFFERS,
            tuple(
                Push(feed, tiingo_stream.STREAM_ADDRESS, partial(tiingo_stream.open_stream, feed), is_default=False)
                for feed in tiingo_stream.FEEDS
            ),
            (),
            ("TIINGO_API_KEY",),
            tiingo.credentials,
            tiingo.credentials,
        ),
        Provider(
            alpha_vantage.PROVIDER,
            {"": alpha_vantage.ADDRESS},
            alpha_vantage.feeds_of,
            _alpha_vantage_offers(),
            (),
            alpha_vantage_more.NAMED,
            ("ALPHAVANTAGE_API_KEY",),
            alpha_vantage.credentials,
        ),
    )
}
"""Every provider that can be captured, by name."""

OFFERS: tuple[Offer, ...] = tuple(offer for provider in PROVIDERS.values() for offer in provider.offers)
"""All that can be asked, of whomever."""
_NAMED = tuple(offer for provider in PROVIDERS.values() for offer in provider.named_only)
WORDS: tuple[str, ...] = tuple(dict.fromkeys([*(offer.word for offer in (*OFFERS, *_NAMED)), STREAM]))
"""Every word that stands for a kind of data beside a feed."""


def provider_named(name: str) -> Provider:
    """Return a provider. Raises NotFoundError that lists those there are."""
    found = PROVIDERS.get(name)
    if found is None:
        raise NotFoundError(f"provider {name!r} cannot be captured; there are {', '.join(PROVIDERS)}")
    return found
