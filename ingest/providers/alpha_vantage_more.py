"""Alpha Vantage's other functions: actions, news, chains, movers, economic series, digital currencies, lists. Machine: no I/O.

Each is one request. Refusals are read as those of prices are. Source: PROVIDERS.md section 1, Alpha Vantage's documentation.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, timedelta
from functools import partial

from ingest.asks import Ask, Request
from ingest.offers import Offer
from ingest.providers.alpha_vantage import (
    CURRENCIES,
    HEADERS,
    MINUTES,
    PROVIDER,
    STOCK,
    STOCKS,
    OneAnswer,
    Query,
    checked,
)
from lake.errors import InvalidValueError
from lake.instants import check_window

EVERY = "*"
"""The symbol of an ask for what is told of all symbols at once."""
ECONOMIC = (
    *("WTI", "BRENT", "NATURAL_GAS", "COPPER", "ALUMINUM", "WHEAT", "CORN", "COTTON", "SUGAR", "COFFEE", "ALL_COMMODITIES"),
    *("REAL_GDP", "REAL_GDP_PER_CAPITA", "TREASURY_YIELD", "FEDERAL_FUNDS_RATE", "CPI", "INFLATION", "RETAIL_SALES"),
    *("DURABLES", "UNEMPLOYMENT", "NONFARM_PAYROLL"),
)
"""Economic series and commodities: the symbol of an ask is one of these functions."""
_DIGITAL = {"1d": "DIGITAL_CURRENCY_DAILY", "1wk": "DIGITAL_CURRENCY_WEEKLY", "1mo": "DIGITAL_CURRENCY_MONTHLY"}
_PAIR = re.compile(r"([A-Z0-9]{2,10})/([A-Z]{3})\Z")
_TICKERS = re.compile(r"[A-Za-z0-9.:,\-]{1,200}\Z")
_KEYWORDS = re.compile(r"[\w .&'\-]{1,60}\Z")
_MINUTE = "%Y%m%dT%H%M"
_MOST_ARTICLES = "1000"
_MOST_BULK = 100
Params = tuple[tuple[str, str], ...]


def _of_symbol(ask: Ask) -> Params:
    return (("symbol", checked(ask.symbol)),)


def _of_all(ask: Ask) -> Params:
    if ask.symbol != EVERY:
        raise InvalidValueError(f"this is told of all symbols at once: {EVERY!r}, not {ask.symbol!r}")
    return ()


def _of_tickers(ask: Ask) -> Params:
    """Return the parameters of news: a minute that has begun by the window's end is asked for whole."""
    if not _TICKERS.match(ask.symbol):
        raise InvalidValueError(f"tickers {ask.symbol!r} are not Alpha Vantage's; expected like IBM or COIN,CRYPTO:BTC,FOREX:USD")
    last = ask.end - timedelta(microseconds=1)
    window = (("time_from", f"{ask.start.astimezone(UTC):{_MINUTE}}"), ("time_to", f"{last.astimezone(UTC):{_MINUTE}}"))
    return (("tickers", ask.symbol), *window, ("sort", "EARLIEST"), ("limit", _MOST_ARTICLES))


def _of_last_day(ask: Ask) -> Params:
    last = ask.end - timedelta(microseconds=1)
    return (*_of_symbol(ask), ("date", last.astimezone(UTC).date().isoformat()))


def _of_keywords(ask: Ask) -> Params:
    if not _KEYWORDS.match(ask.symbol) or not ask.symbol.strip():
        raise InvalidValueError(f"{ask.symbol!r} cannot be looked for at Alpha Vantage; expected a few letters or words")
    return (("keywords", ask.symbol),)


def _of_some(ask: Ask) -> Params:
    symbols = [checked(symbol) for symbol in ask.symbol.split(",")]
    if len(symbols) > _MOST_BULK:
        raise InvalidValueError(f"{len(symbols)} symbols at once; Alpha Vantage takes {_MOST_BULK}")
    return (("symbol", ",".join(symbols)),)


@dataclass(frozen=True, slots=True)
class _Question:
    """What can be asked in one request: the feed of its answer, the function, the parameters of an ask, what it ends in.

    subject   what the symbol of an ask is
    """

    feed: str
    function: str
    params: Callable[[Ask], Params]
    kind: str
    table: str
    classes: frozenset[str] = frozenset({"equity", "etf"})
    subject: str = ""


_ACTIONS, _RAW = "normalized.corporate_actions", "raw.messages"
_ALL = f"{EVERY} for all"
QUESTIONS: dict[str, _Question] = {
    "dividends": _Question(STOCKS, "DIVIDENDS", _of_symbol, "corporate_actions", _ACTIONS),
    "splits": _Question(STOCKS, "SPLITS", _of_symbol, "corporate_actions", _ACTIONS),
    "bulk": _Question(STOCKS, "REALTIME_BULK_QUOTES", _of_some, "latest_bars", "normalized.bars"),
    "news": _Question("news", "NEWS_SENTIMENT", _of_tickers, "news", "normalized.news"),
    "options": _Question(
        "options", "HISTORICAL_OPTIONS", _of_last_day, "chain", "normalized.option_open_interest", frozenset({"option"})
    ),
    "movers": _Question("indicators", "TOP_GAINERS_LOSERS", _of_all, "screener", "normalized.alternative", subject=_ALL),
    "search": _Question("reference", "SYMBOL_SEARCH", _of_keywords, "reference", _RAW, subject="a word to look for"),
    "listings": _Question("reference", "LISTING_STATUS", _of_all, "reference", _RAW, subject=_ALL),
    "market_status": _Question("reference", "MARKET_STATUS", _of_all, "reference", _RAW, subject=_ALL),
    "earnings_calendar": _Question("reference", "EARNINGS_CALENDAR", _of_all, "reference", _RAW, subject=_ALL),
    "ipo_calendar": _Question("reference", "IPO_CALENDAR", _of_all, "reference", _RAW, subject=_ALL),
}
"""What can be asked, by the word a person says; of a chain the last day of an ask's window."""


class Answers(OneAnswer):
    """One kind of answer (`Pages`)."""

    def __init__(self, word: str) -> None:
        if word not in QUESTIONS:
            raise InvalidValueError(f"alpha_vantage has no {word}; there are {', '.join(QUESTIONS)}")
        super().__init__()
        self._question = QUESTIONS[word]

    def first(self, ask: Ask) -> Request:
        """Return the request for an ask. Raises InvalidValueError."""
        check_window(ask.start, ask.end)
        function = self._question.function
        return Request("GET", "/query", (("function", function), *self._question.params(ask)), HEADERS, function)


class Economic(OneAnswer):
    """An economic series or a commodity, whole (`Pages`)."""

    def first(self, ask: Ask) -> Request:
        """Return the request for a series. Raises InvalidValueError."""
        if ask.symbol not in ECONOMIC:
            raise InvalidValueError(f"{ask.symbol!r} is no economic series of Alpha Vantage's; there are {', '.join(ECONOMIC)}")
        return Request("GET", "/query", (("function", ask.symbol),), HEADERS, "economic")


class Digital(OneAnswer):
    """Bars of a digital currency in another, written BTC/EUR (`Pages`): all there are, or the latest of minutes."""

    def first(self, ask: Ask) -> Request:
        """Return the request for an ask. Raises InvalidValueError."""
        check_window(ask.start, ask.end)
        pair = _PAIR.match(ask.symbol)
        if pair is None:
            raise InvalidValueError(f"symbol {ask.symbol!r} is no pair of Alpha Vantage's; expected like BTC/EUR")
        params: Params = (("symbol", pair[1]), ("market", pair[2]))
        if ask.interval in MINUTES:
            function, params = "CRYPTO_INTRADAY", (*params, ("interval", MINUTES[ask.interval]), ("outputsize", "full"))
        elif ask.interval in _DIGITAL:
            function = _DIGITAL[ask.interval]
        else:
            raise InvalidValueError(f"interval {ask.interval!r} is not one of {', '.join([*_DIGITAL, *MINUTES])}")
        return Request("GET", "/query", (("function", function), *params), HEADERS, function)


def _offer(word: str) -> Offer:
    asked = QUESTIONS[word]
    many = _MOST_BULK if word == "bulk" else 1
    return Offer(
        PROVIDER, asked.feed, asked.kind, asked.table, asked.function, partial(Answers, word), asked.classes,
        symbols_per_call=many, data=word, subject=asked.subject,
    )  # fmt: skip


def _digital(endpoint: str, *intervals: str) -> Offer:
    return Offer(
        PROVIDER, CURRENCIES, "bars", "normalized.bars", endpoint, Digital, frozenset({"crypto"}), intervals,
        basis="as_traded", data="crypto",
    )  # fmt: skip


_PAID = ("bulk",)
OFFERS: tuple[Offer, ...] = (
    *(_offer(word) for word, asked in QUESTIONS.items() if asked.table != _RAW and word not in _PAID),
    Offer(
        PROVIDER, "indicators", "economic", "normalized.index_levels", "economic", Economic, frozenset({"index"}),
        data="economic", subject="series",
    ),
    *(_digital(function, interval) for interval, function in _DIGITAL.items()),
    _digital("CRYPTO_INTRADAY", *MINUTES),
)  # fmt: skip
"""What it offers beside prices and companies."""
NAMED: tuple[Offer, ...] = (
    *(_offer(word) for word, asked in QUESTIONS.items() if asked.table == _RAW or word in _PAID),
    *(
        Offer(
            PROVIDER, STOCKS, "bars", "normalized.bars", f"{STOCK[interval]}_ADJUSTED",
            partial(Query, is_adjusted=True, is_full=True), frozenset({"equity", "etf"}), (interval,), basis="as_traded",
            data="adjusted",
        )
        for interval in ("1d", "1wk", "1mo")
    ),
)  # fmt: skip
"""Asked when somebody names them, never chosen: their plan is paid for, or they end in raw only."""
