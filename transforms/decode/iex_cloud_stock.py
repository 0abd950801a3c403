"""What IEX Cloud and the IEX API v1 said of stocks, options and currencies in REST answers (closed since 2024-08-31).

Charts, previous day, quotes, dividends, splits, financials, key stats, earnings, estimates, news, short interest, price targets,
recommendations, options, rates; batches of them by symbol. A symbol not in the answer is the request's (`/stock/AAPL/…`).
Kept in raw only, each named in its refusal: companies, logos, peers, symbols, exchanges, calendars, daily lists, ownership,
insiders, collections of venues, sectors and IPOs, exchange statistics, OHLC and delayed prices, indicators.
Source: iextrading4j's saved answers, go-iex's and GamestonkTerminal's recorded ones.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

import pyarrow as pa

from transforms.decode import iex_cloud_rows as rows_of
from transforms.decode.decoded import (
    ALTERNATIVE,
    BARS,
    CORPORATE_ACTIONS,
    FUNDAMENTALS,
    FX_RATES,
    NEWS,
    OPTION_OPEN_INTEREST,
    Decoded,
)
from transforms.decode.iex_cloud import is_no_answer, sse_data
from transforms.decode.json_digits import document, text_of
from transforms.decode.polygon_rows import instant
from transforms.decode.readers import Object, Reader, Row, read_messages, read_raw_only
from transforms.decode.spans import NEW_YORK, midnight
from transforms.numbers import NumberRefusedError

STOCK_TABLES = (BARS, CORPORATE_ACTIONS, FUNDAMENTALS, NEWS, ALTERNATIVE, OPTION_OPEN_INTEREST, FX_RATES)
_SYMBOL = re.compile(r"/(?:stock|time-series/[a-z_]+)/([^/?]+)")
_BATCH_PARTS = frozenset({"quote", "chart", "news", "dividends", "splits", "stats", "previous", "company", "ohlc", "earnings"})
_DEEPEST = 4


def decode_stock(messages: pa.Table) -> Decoded:
    """Return what answers say of stocks, options and currencies; every row takes one ordinal."""
    reader = _Reader(STOCK_TABLES)
    return read_messages(reader, messages, reader.answer)


def decode_reference(messages: pa.Table) -> Decoded:
    """Return no rows: lists of symbols, exchanges and days are kept in raw only, each named in its refusal."""
    return read_raw_only(messages, _about)


def _about(payload: bytes) -> object:
    return None if is_no_answer(payload) else (payload[:200] if document(payload) is not None else None)


class _Reader(Reader):
    """Reads answers and the parts of batches."""

    period: str = "quarterly"

    def answer(self, payload: bytes) -> None:
        """Append what a payload says."""
        body = sse_data(payload)
        if is_no_answer(body):
            return
        found = _SYMBOL.search(self.path)
        self.period = "annual" if self.params.get("period") == "annual" else "quarterly"
        self.read(document(body), None if found is None or found[1] == "market" else found[1].upper(), 0)

    def read(self, found: object, symbol: object, depth: int) -> None:
        """Append what an answer, or a part of a batch, says."""
        if isinstance(found, list) and depth < _DEEPEST:
            self._newest(found)
            for each in found:
                self.read(each, symbol, depth + 1)
        elif isinstance(found, dict):
            self._object(found, found.get("symbol", symbol), depth)
        else:
            self.refuse(BARS, NumberRefusedError("raw_only", found, "an object"))

    def _newest(self, entries: list[object]) -> None:
        """A later day in the answer proves that those before it are over."""
        if self.delivered is not None:
            return
        found = []
        for entry in entries:
            try:
                day = rows_of.iex_day(entry.get("date"), "date") if isinstance(entry, dict) and "close" in entry else None
            except NumberRefusedError:
                continue  # refused below, with its row
            if day is not None:
                found.append(midnight(day, NEW_YORK))
        self.until = max(found, default=self.until)

    def _object(self, found: Object, symbol: object, depth: int) -> None:
        for is_one, read in _SHAPES:
            if is_one(found):
                return read(self, found, symbol)
        statement = next((name for name in rows_of.STATEMENTS if isinstance(found.get(name), list)), None)
        if statement is not None:
            return self._statement(found, symbol, statement)
        if found and depth < _DEEPEST and all(isinstance(part, dict | list) for part in found.values()):
            is_batch = bool(_BATCH_PARTS & set(found))
            for name, part in found.items():
                self.read(part, symbol if is_batch else name, depth + 1)
            return
        self.refuse(BARS, NumberRefusedError("raw_only", sorted(found)[:6], "prices, actions, statements, news, options, rates"))

    def chart_day(self, found: Object, symbol: object) -> None:
        """Append a day; `/previous`, whose days have no label, is of a day that is over."""
        is_over = {} if "label" in found else {"is_final": True}
        self.add_all(BARS, lambda: [row | is_over for row in rows_of.day_bars(symbol, found, self.delivered, self.until)])

    def chart_minute(self, found: Object, symbol: object) -> None:
        """Append a minute; one without a trade is skipped."""
        try:
            row = rows_of.minute_bar(symbol, found, self.delivered, self.until)
        except NumberRefusedError as error:
            return self.refuse(BARS, error)
        if row is None:
            self.skipped += 1
        else:
            self.add_all(BARS, lambda: [row])

    def quote(self, found: Object, symbol: object) -> None:
        """Append the day so far of a quote."""
        self.add_all(BARS, lambda: [rows_of.quote_bar(symbol, found, self.delivered)])

    def action(self, found: Object, symbol: object) -> None:
        """Append a dividend or a split."""
        self.add_all(CORPORATE_ACTIONS, lambda: [rows_of.action(symbol, found, self.delivered)])

    def news(self, found: Object, symbol: object) -> None:
        """Append an article, once a symbol."""
        self.add_all(NEWS, lambda: rows_of.news_rows(symbol, found, self.delivered))

    def stats(self, found: Object, symbol: object) -> None:
        """Append the lines of key stats."""
        self.add_all(FUNDAMENTALS, lambda: rows_of.overview_rows(symbol, found, self.until))

    def option(self, found: Object, symbol: object) -> None:
        """Append what is told of a contract."""
        self.add_all(OPTION_OPEN_INTEREST, lambda: [rows_of.option_row({**found, "symbol": symbol}, self.delivered)])

    def rate(self, found: Object, symbol: object) -> None:
        """Append a rate of two currencies."""
        self.add_all(FX_RATES, lambda: [rows_of.rate_row(found, self.delivered)])

    def short_interest(self, found: Object, symbol: object) -> None:
        """Append the numbers of a settlement date."""
        name = found.get("SymbolinINETSymbology")
        self._measures(found, text_of(name) or symbol, "SettlementDate")

    def target(self, found: Object, symbol: object) -> None:
        """Append price targets."""
        self._measures(found, symbol, "updatedDate")

    def recommendation(self, found: Object, symbol: object) -> None:
        """Append counts of recommendations, of the start of their time in force."""
        self.add_all(
            ALTERNATIVE,
            lambda: rows_of.alternative_rows(symbol, found, instant(found.get("consensusStartDate"))[0].date(), self.delivered),
        )

    def _measures(self, found: Object, symbol: object, name: str) -> None:
        def rows() -> Iterable[Row]:
            return rows_of.alternative_rows(symbol, found, rows_of.needed_day(found, name), self.delivered)

        self.add_all(ALTERNATIVE, rows)

    def _statement(self, found: Object, symbol: object, name: str) -> None:
        entries = found[name]
        for each in entries if isinstance(entries, list) else []:
            if isinstance(each, dict):
                self.add_all(
                    FUNDAMENTALS, rows_of.statement_rows, symbol, rows_of.STATEMENTS[name], self.period, each, self.delivered
                )
            else:
                self.refuse(FUNDAMENTALS, NumberRefusedError("malformed", each, "a period"))


def _has(*names: str) -> Callable[[Object], bool]:
    return lambda found: all(name in found for name in names)


_SHAPES: tuple[tuple[Callable[[Object], bool], Callable[[_Reader, Object, object], None]], ...] = (
    (_has("latestPrice", "latestUpdate"), _Reader.quote),
    (_has("date", "minute"), _Reader.chart_minute),
    (_has("date", "open", "close", "high", "low"), _Reader.chart_day),
    (_has("exDate", "toFactor"), _Reader.action),
    (_has("exDate", "amount"), _Reader.action),
    (_has("headline", "datetime"), _Reader.news),
    (_has("marketcap", "week52high"), _Reader.stats),
    (_has("strikePrice", "expirationDate"), _Reader.option),
    (_has("rate", "timestamp"), _Reader.rate),
    (_has("rate", "fromCurrency"), _Reader.rate),
    (_has("SettlementDate", "CurrentShortInterest"), _Reader.short_interest),
    (_has("priceTargetAverage"), _Reader.target),
    (_has("ratingBuy", "consensusStartDate"), _Reader.recommendation),
)
"""What an entry looks like -> how it is read; the first that fits."""
