"""Yahoo's quotes: the v7 quote, chains of options, and screeners, whose entries are quotes.

A quote gives its bid and ask, the day so far as a daily bar that is not final, and the lines of a profile. It tells no time of
its bid and ask: they are placed at the newest market time it tells (regular, before or after hours); a contract's, at that of
its chain or its last trade. Numbers are float images. A side of 0 is no side.
Kept in raw only: sizes of bid and ask (in lots that Yahoo does not define), prices before and after hours, changes, ranges and
averages, the last price of a contract (no id, told again at each poll), a last price without its day, lists of strikes and
of expirations, a screener's criteria. A contract's volume is of its last trade's day; it counts where that is the chain's.
Source: PROVIDERS.md section 5, node-yahoo-finance2's recorded answers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pyarrow as pa

from lake.instants import EPOCH
from lake.values import Basis
from transforms.decode.decoded import BARS, FUNDAMENTALS, OPTION_OPEN_INTEREST, QUOTES, Decoded
from transforms.decode.delivery import zone_named
from transforms.decode.json_digits import Digits, document, text_of
from transforms.decode.measures import NUMBER_DIGITS, NUMBER_SCALE, lines, value_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages, two_sides
from transforms.decode.spans import NEW_YORK, count_of, midnight
from transforms.decode.yahoo_values import PRICE_TYPES, image, is_no_answer, needed_text, refused_words
from transforms.instruments import yahoo_asset_class
from transforms.numbers import MOST_VOLUME_DIGITS, VOLUME_SCALE, NumberRefusedError

QUOTE_TABLES = (QUOTES, BARS, FUNDAMENTALS, OPTION_OPEN_INTEREST)
SESSION_PATHS = ("/", "/v1/test/getcrumb")
"""Where a capture asks for a cookie and a crumb before quotes: their answers are no data."""
_SIDES = {"bid_price": "bid", "bid_size": "", "ask_price": "ask", "ask_size": ""}
_CLOCKS = ("regularMarketTime", "preMarketTime", "postMarketTime")
_DAY = {
    "open": "regularMarketOpen",
    "high": "regularMarketDayHigh",
    "low": "regularMarketDayLow",
    "close": "regularMarketPrice",
}
_PROFILE = (
    *("marketCap", "sharesOutstanding", "bookValue", "priceToBook", "trailingPE", "forwardPE", "beta", "circulatingSupply"),
    *("epsTrailingTwelveMonths", "epsForward", "epsCurrentYear", "priceEpsCurrentYear", "averageAnalystRating", "netAssets"),
    *("dividendRate", "dividendYield", "trailingAnnualDividendRate", "trailingAnnualDividendYield", "dividendDate"),
    *("earningsTimestamp", "earningsTimestampStart", "earningsTimestampEnd", "isEarningsDateEstimate", "financialCurrency"),
    *("lastCloseTevEbitLtm", "lastClosePriceToNNWCPerShare", "netExpenseRatio", "ytdReturn", "trailingThreeMonthReturns"),
)
"""What of a quote is about the company, in Yahoo's words."""
_GREEK_SCALE, _GREEK_DIGITS = 18, 28
_FIRST_S, _LAST_S = -2_208_988_800, 7_258_118_399
"""Stamps from 1900 to 2199: what is outside is no market's."""


def decode_quotes(messages: pa.Table) -> Decoded:
    """Return what quotes, chains and screeners say."""
    reader = _Reader(QUOTE_TABLES)
    return read_messages(reader, messages, reader.answer)


class _Reader(Reader):
    """Reads the results of an answer."""

    def answer(self, payload: bytes) -> None:
        """Append what a payload says. Raises NumberRefusedError when it is none of the three."""
        if self.path in SESSION_PATHS or is_no_answer(payload):
            return
        found = document(payload)
        if refused_words(found):
            return
        parts = list(found.values()) if isinstance(found, dict) else []
        results = parts[0].get("result") if len(parts) == 1 and isinstance(parts[0], dict) else None
        if not isinstance(results, list):
            raise NumberRefusedError("unsupported_answer", payload[:200], "quoteResponse, optionChain or a screener: result")
        for result in results:
            if isinstance(result, dict) and isinstance(result.get("quotes"), list):
                for quote in result["quotes"]:
                    self._quote(quote)
            elif isinstance(result, dict) and isinstance(result.get("options"), list):
                self._chain(result, result["options"])
            else:
                self._quote(result)

    def _quote(self, told: object) -> None:
        try:
            quote = _unformatted(object_of(told, "a quote"))
            who, at = _who(quote), _newest(quote)
        except NumberRefusedError as error:
            return self.refuse(QUOTES, error)
        if at is None:
            self.skipped += 1  # a symbol that is quoted no more
            return
        if quote.get("bid") or quote.get("ask"):
            self.add(QUOTES, _sides, who, quote, at)
        if all(quote.get(name) is not None for name in ("regularMarketTime", *_DAY.values())):
            self.add(BARS, self._day, who, quote)
        self.add_all(FUNDAMENTALS, self._profile, who, quote, at)

    def _day(self, who: Row, told: Object) -> Row:
        zone = _zone(told)
        opened = midnight(_instant(told["regularMarketTime"]).astimezone(zone).date(), zone)
        volume = told.get("regularMarketVolume")
        return who | {
            **{name: image(told[word]) for name, word in _DAY.items()},
            "interval": "1d",
            "session_date": opened.date(),
            "ts_open": opened.astimezone(UTC),
            "volume": None if volume is None else image(volume, VOLUME_SCALE, MOST_VOLUME_DIGITS),
            "basis": Basis.AS_TRADED.value,
            "price_type": PRICE_TYPES.get(str(who["asset_class"]), "trade"),
            "is_final": False,
            "delivered_at": self.delivered,
        }

    def _profile(self, who: Row, told: Object, at: datetime) -> Iterator[Row]:
        day = at.astimezone(_zone(told)).date()
        shared = who | {
            "session_date": day,
            "period_end": day,
            "period": "point",
            "statement": "overview",
            "ts_event": at,
            "known_at": self.delivered,
            "delivered_at": self.delivered,
        }
        return lines(shared, "item", told, _PROFILE, _restored)

    def _chain(self, result: Object, expirations: list[object]) -> None:
        """Append the underlying's quote and what is told of each contract."""
        quote = result.get("quote")
        quote = _unformatted(quote) if isinstance(quote, dict) else {}
        if quote:
            self._quote(quote)
        underlying = text_of(result.get("underlyingSymbol"))
        for part in expirations:
            for kind in ("calls", "puts"):
                contracts = part.get(kind) if isinstance(part, dict) else None
                if not isinstance(contracts, list):
                    self.refuse(QUOTES, NumberRefusedError("malformed", part, "calls and puts: lists of contracts"))
                    continue
                for contract in contracts:
                    self._contract(contract, quote, underlying)

    def _contract(self, told: object, quote: Object, underlying: str | None) -> None:
        try:
            contract = _unformatted(object_of(told, "a contract"))
            who = {
                "symbol": needed_text(contract.get("contractSymbol"), "symbol"),
                "asset_class": "option",
                "currency": text_of(contract.get("currency")),
                "exchange": "US",
            }
            at = _newest({**quote, "lastTradeDate": contract.get("lastTradeDate")}, (*_CLOCKS, "lastTradeDate")) or self.delivered
            if at is None:
                raise NumberRefusedError("missing_timestamp", contract, "a market time of the chain, or a last trade")
        except NumberRefusedError as error:
            return self.refuse(QUOTES, error)
        if contract.get("bid") or contract.get("ask"):
            self.add(QUOTES, _sides, who, contract, at)
        self.add(OPTION_OPEN_INTEREST, self._measures, who, contract, at, underlying)

    def _measures(self, who: Row, told: Object, at: datetime, underlying: str | None) -> Row:
        traded, volatility = told.get("lastTradeDate"), told.get("impliedVolatility")
        is_today = traded is not None and _local_day(_instant(traded)) == _local_day(at)
        return who | {
            "ts_event": at,
            "known_at": self.delivered,
            "delivered_at": self.delivered,
            "underlying": underlying,
            "open_interest": count_of(told.get("openInterest")),
            "day_volume": count_of(told.get("volume")) if is_today else None,
            "implied_volatility": None if volatility is None else image(volatility, _GREEK_SCALE, _GREEK_DIGITS),
        }


def _who(told: Object) -> Row:
    asset_class = "option" if told.get("quoteType") == "OPTION" else yahoo_asset_class(text_of(told.get("quoteType")))
    return {
        "symbol": needed_text(told.get("symbol"), "symbol"),
        "currency": text_of(told.get("currency")),
        "exchange": "US" if asset_class == "option" else text_of(told.get("exchange")),
        "exchange_zone": text_of(told.get("exchangeTimezoneName")),
        "asset_class": asset_class,
        "name": text_of(told.get("longName")) or text_of(told.get("shortName")),
    }


def _unformatted(told: Object) -> Object:
    """Return an entry with the numbers themselves: asked with formatted=true they come as {"raw": 2.81, "fmt": "2.81"}."""
    return {name: value.get("raw") if isinstance(value, dict) else value for name, value in told.items()}


def _sides(who: Row, told: Object, at: datetime) -> Row:
    return who | {"ts_event": at, "ts_event_nanos": 0} | two_sides(told, _SIDES, image)


def _newest(told: Mapping[str, object], clocks: tuple[str, ...] = _CLOCKS) -> datetime | None:
    return max((_instant(told[name]) for name in clocks if told.get(name) is not None), default=None)


def _instant(stamp: object) -> datetime:
    if not isinstance(stamp, int) or isinstance(stamp, bool) or not _FIRST_S <= stamp <= _LAST_S:
        raise NumberRefusedError("timestamp", stamp, "seconds from 1900 to 2199")
    return EPOCH + timedelta(seconds=stamp)


def _zone(told: Object) -> ZoneInfo:
    zone = zone_named(told.get("exchangeTimezoneName"))
    if zone is None:
        raise NumberRefusedError("unknown_zone", told.get("exchangeTimezoneName"), "exchangeTimezoneName: an IANA time zone")
    return zone


def _local_day(at: datetime) -> object:
    return at.astimezone(NEW_YORK).date()


def _restored(value: object) -> Row:
    is_number = isinstance(value, int | Digits) and not isinstance(value, bool)
    return {"value": image(value, NUMBER_SCALE, NUMBER_DIGITS)} if is_number else value_of(value)
