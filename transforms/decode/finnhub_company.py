"""Finnhub about companies: news, recommendations, targets, grades, insiders' sentiment, earnings, metrics, statements.

A statement's line is true from the midnight after its period, where no filing date is told; a recommendation's count from the
midnight after the first of its month. A metric is of the day of its delivery, a series' value of its period. Lists are the feed
`reference` (`finnhub_reference.py`). Kept in raw only: sentiment of news and social media, transcripts, ownership, filings: each
named in its refusal.
Source: recorded answers of GamestonkTerminal (recommendations, peers, IPOs); the rest by Finnhub's documentation.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from lake.instants import EPOCH
from transforms.decode.decoded import ALTERNATIVE, FUNDAMENTALS, NEWS, Decoded
from transforms.decode.exchange_symbols import hints
from transforms.decode.finnhub import answer_of, stamp_of
from transforms.decode.json_digits import text_of
from transforms.decode.measures import lines, value_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.decode.spans import NEW_YORK, count_of, day_of, midnight
from transforms.numbers import NumberRefusedError

COMPANY_TABLES = (FUNDAMENTALS, ALTERNATIVE)
_STATEMENTS = {"bs": "balance", "ic": "income", "cf": "cash_flow"}
_RATINGS = ("strongBuy", "buy", "hold", "sell", "strongSell")
_TARGETS = ("targetHigh", "targetLow", "targetMean", "targetMedian", "numberAnalysts")
_EARNINGS = ("actual", "estimate", "surprise", "surprisePercent")
_ANNUAL_FORMS = ("10-K", "20-F", "40-F")

_Read = Callable[[object, datetime | None], Iterable[Row]]


def decode_news(messages: pa.Table) -> Decoded:
    """Return articles of /company-news, /news and /press-releases, one row a symbol."""
    reader = Reader((NEWS,))

    def read(payload: bytes) -> None:
        found = answer_of(payload)
        releases = found.get("majorDevelopment") if isinstance(found, dict) else None
        entries = releases if isinstance(releases, list) else found
        if found is None:
            return
        if not isinstance(entries, list):
            raise NumberRefusedError("unsupported_answer", payload[:200], "a list of articles")
        for entry in entries:
            reader.add_all(NEWS, _article, entry, reader.delivered)

    return read_messages(reader, messages, read)


def decode_company(messages: pa.Table) -> Decoded:
    """Return lines of statements and metrics, and measures of what analysts and insiders say."""
    reader = _Reader(COMPANY_TABLES)
    return read_messages(reader, messages, reader.answer)


class _Reader(Reader):
    """Reads answers about a company."""

    def answer(self, payload: bytes) -> None:
        """Append what a payload says. Raises NumberRefusedError when it is nothing about a company."""
        found = answer_of(payload)
        if found is None:
            return
        told = found if isinstance(found, dict) else {}
        entries = found if isinstance(found, list) else told.get("data")
        if isinstance(told.get("metric"), dict):
            self.add_all(FUNDAMENTALS, _metrics, told, self.until, self.delivered)
            self._series(told)
        elif isinstance(told.get("financials"), list):
            for entry in told["financials"]:
                self.add_all(FUNDAMENTALS, self._statement, told, entry)
        elif "targetMean" in told:
            self.add_all(ALTERNATIVE, _target, told, self.delivered)
        elif isinstance(entries, list):
            for entry in entries:
                table, read = _reading(entry, told.get("symbol"))
                self.add_all(table, read, entry, self.delivered)
        else:
            raise NumberRefusedError(
                "unsupported_answer", payload[:200], "recommendations, targets, earnings, metrics, statements"
            )

    def _series(self, told: Object) -> None:
        series = told.get("series")
        for period, items in series.items() if isinstance(series, dict) else ():
            for item, entries in items.items() if isinstance(items, dict) else ():
                for entry in entries if isinstance(entries, list) else []:
                    self.add_all(FUNDAMENTALS, _value, told.get("symbol"), period, item, entry, self.delivered)

    def _statement(self, told: Object, entry: object) -> Iterator[Row]:
        """A standardized statement, whose kind and frequency the request says."""
        each, kind = object_of(entry), _STATEMENTS.get(self.params.get("statement", ""))
        if kind is None:
            raise NumberRefusedError("unknown_statement", self.params.get("statement"), "statement of the request: bs, ic, cf")
        period = self.params.get("freq", "")
        shared = _of_period(told.get("symbol"), _day(each, "period"), self.delivered)
        shared |= {"statement": kind, "period": period if period in ("annual", "quarterly", "ttm") else "point"}
        return lines(shared, "item", each, (name for name in each if name not in ("period", "year", "quarter")))


def _reading(entry: object, symbol: object) -> tuple[str, _Read]:
    """Return the table of an entry of a list and how it is read."""
    told = entry if isinstance(entry, dict) else {}
    if "strongBuy" in told:
        return ALTERNATIVE, _recommendation
    if "mspr" in told:
        return ALTERNATIVE, _sentiment
    if "gradeTime" in told:
        return ALTERNATIVE, _grade
    if "report" in told:
        return FUNDAMENTALS, lambda each, delivered: _reported(symbol, each, delivered)
    return FUNDAMENTALS, _earnings


def _article(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry, "an article")
    headline, stamp, number = text_of(told.get("headline")), told.get("datetime"), told.get("id")
    if headline is None:
        raise NumberRefusedError("missing_headline", told, "headline")
    at = _press_time(stamp) if isinstance(stamp, str) else EPOCH + timedelta(seconds=stamp_of(stamp, 1))
    url = text_of(told.get("url"))
    is_number = isinstance(number, int) and not isinstance(number, bool)
    article = {
        "news_id": str(number) if is_number else url or f"{at.isoformat()}:{headline}",
        "headline": headline,
        "summary": text_of(told.get("summary")) or text_of(told.get("description")),
        "source": text_of(told.get("source")),
        "url": url,
        "ts_event": at,
        "delivered_at": delivered,
    }
    related = text_of(told.get("related")) or text_of(told.get("symbol")) or ""
    names = [name for name in dict.fromkeys(part.strip() for part in related.split(",")) if name]
    for who in [hints(name) | {"symbol": name} for name in names] or [{}]:
        yield article | who


def _press_time(text: str) -> datetime:
    """Return the instant of a press release, 2020-08-04 17:06:32 in UTC. Raises NumberRefusedError."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or not 1970 <= found.year <= 2199:
        raise NumberRefusedError("timestamp", text, "a time like 2020-08-04 17:06:32")
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def _recommendation(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    shared = _of_day(told.get("symbol"), _day(told, "period"), delivered)
    for row in lines(shared, "measure", told, _RATINGS):
        yield row | {"measure": f"recommendation.{row['measure']}"}


def _sentiment(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    year, month = count_of(told.get("year")), count_of(told.get("month"))
    if year is None or month is None or not 1900 <= year <= 2198 or not 1 <= month <= 12:
        raise NumberRefusedError("date", told, "a year and a month")
    last = date(year + month // 12, month % 12 + 1, 1) - timedelta(days=1)
    for row in lines(_of_day(told.get("symbol"), last, delivered), "measure", told, ("change", "mspr")):
        yield row | {"measure": f"insiders.{row['measure']}"}


def _grade(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    at = EPOCH + timedelta(seconds=stamp_of(told.get("gradeTime"), 1))
    shared = _who(told.get("symbol")) | {"ts_event": at, "delivered_at": delivered}
    company = text_of(told.get("company")) or "unknown"
    for row in lines(shared, "measure", told, ("fromGrade", "toGrade", "action")):
        yield row | {"measure": f"grade.{company}.{row['measure']}"}


def _target(told: Object, delivered: datetime | None) -> Iterator[Row]:
    shared = _of_day(told.get("symbol"), _day(told, "lastUpdated"), delivered)
    return lines(shared, "measure", told, _TARGETS)


def _earnings(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    if not set(_EARNINGS) & set(told):
        raise NumberRefusedError("unsupported_answer", sorted(told)[:6], "earnings: actual, estimate, surprise")
    shared = _of_period(told.get("symbol"), _day(told, "period"), delivered)
    return lines(shared | {"statement": "earnings", "period": "quarterly"}, "item", told, _EARNINGS)


def _reported(symbol: object, entry: object, delivered: datetime | None) -> Iterator[Row]:
    """A filing as reported: concepts of the balance sheet, income and cash flow."""
    told = object_of(entry)
    report, form = object_of(told.get("report"), "a report"), text_of(told.get("form")) or ""
    filed = day_of(told.get("filedDate"), "filedDate")
    shared = _of_period(told.get("symbol", symbol), _day(told, "endDate"), delivered)
    shared |= {"period": "annual" if form.startswith(_ANNUAL_FORMS) else "quarterly", "announcement_date": filed}
    if filed is not None:
        shared |= {"ts_event": midnight(filed + timedelta(days=1), NEW_YORK).astimezone(UTC)}
    for name, concepts in report.items():
        for concept in concepts if isinstance(concepts, list) and name in _STATEMENTS else []:
            each = object_of(concept)
            item, found = text_of(each.get("concept")), value_of(each.get("value"))
            if item is not None and found:
                yield shared | {"statement": _STATEMENTS[name], "item": item, "unit": text_of(each.get("unit"))} | found


def _metrics(told: Object, until: datetime | None, delivered: datetime | None) -> Iterator[Row]:
    if until is None:
        raise NumberRefusedError("missing_date", told.get("symbol"), "a delivery date: metrics tell none")
    day = until.astimezone(NEW_YORK).date()
    shared = _who(told.get("symbol")) | {
        "session_date": day,
        "period_end": day,
        "period": "point",
        "statement": "metric",
        "ts_event": until,
        "delivered_at": delivered,
    }
    metrics = object_of(told["metric"])
    return lines(shared, "item", metrics, metrics)


def _value(symbol: object, period: str, item: str, entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    shared = _of_period(symbol, _day(told, "period"), delivered)
    shared |= {"statement": "metric", "period": period if period in ("annual", "quarterly", "ttm") else "point"}
    for row in lines(shared, "item", told, ("v",)):
        yield row | {"item": item}


def _who(symbol: object) -> Row:
    name = text_of(symbol)
    if name is None:
        raise NumberRefusedError("missing_symbol", symbol, "symbol")
    return hints(name) | {"symbol": name}


def _of_day(symbol: object, day: date, delivered: datetime | None) -> Row:
    """Return what rows share that are told of a whole day: true from the midnight after it."""
    after = midnight(day + timedelta(days=1), NEW_YORK).astimezone(UTC)
    return _who(symbol) | {"session_date": day, "ts_event": after, "known_at": delivered, "delivered_at": delivered}


def _of_period(symbol: object, ended: date, delivered: datetime | None) -> Row:
    return _of_day(symbol, ended, delivered) | {"session_date": None, "period_end": ended}


def _day(told: Object, name: str) -> date:
    found = day_of(told.get(name), name)
    if found is None:
        raise NumberRefusedError("missing_date", told, name)
    return found
