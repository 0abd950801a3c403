"""Alpha Vantage about companies: profiles (OVERVIEW, ETF_PROFILE), statements, earnings and estimates as lines.

Numbers are texts, "None" and "-" tell nothing. A statement's line is of its fiscal period and true from the midnight after it; a
quarter's earnings from the date they were reported. A profile is of the day of its delivery, or where that is unknown of the
latest quarter it tells. Money has the reported currency as its unit. Kept in raw only: descriptions and addresses; holdings of
a fund, insider transactions, transcripts; and searches, listings, calendars and market hours: the feed `reference`.
Source: recorded answers of GamestonkTerminal, alpha_vantage, alphavantage-java.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from transforms.decode.alpha_vantage_series import answer_of
from transforms.decode.decoded import FUNDAMENTALS, Decoded
from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import text_of
from transforms.decode.measures import lines, text_value_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages, read_raw_only
from transforms.decode.spans import NEW_YORK, day_of, midnight
from transforms.numbers import NumberRefusedError

_PERIODS = {
    "annualReports": "annual",
    "quarterlyReports": "quarterly",
    "annualEarnings": "annual",
    "quarterlyEarnings": "quarterly",
}
_NOT_LINES = frozenset({"fiscalDateEnding", "reportedCurrency", "reportedDate", "date", "horizon"})
_NOT_PROFILE = frozenset({"Symbol", "Description", "Address", "holdings", "sectors", "OfficialSite"})
_COUNTS = ("commonStockSharesOutstanding",)
_BALANCE, _CASH, _EARNINGS = "totalAssets", "operatingCashflow", "reportedEPS"


def decode_fundamentals(messages: pa.Table) -> Decoded:
    """Return the lines of profiles, statements, earnings and estimates."""
    reader = _Reader((FUNDAMENTALS,))
    return read_messages(reader, messages, reader.answer)


def decode_reference(messages: pa.Table) -> Decoded:
    """Return no rows: searches, listings, calendars and market hours are kept in raw only, each named in its refusal."""
    return read_raw_only(messages, _about)


def _about(payload: bytes) -> object:
    is_csv = payload.lstrip()[:1].isalpha()
    return payload[:200] if is_csv or answer_of(payload) is not None else None


class _Reader(Reader):
    """Reads answers about a company."""

    def answer(self, payload: bytes) -> None:
        """Append what a payload says. Raises NumberRefusedError when it is nothing about a company."""
        found = answer_of(payload)
        if found is None:
            return
        told = object_of(found)
        symbol = text_of(told.get("symbol")) or text_of(told.get("Symbol")) or self.params.get("symbol")
        if symbol is None:
            raise NumberRefusedError("missing_symbol", sorted(told)[:6], "symbol")
        who = hints(symbol) | {"symbol": symbol, "known_at": self.delivered, "delivered_at": self.delivered}
        if "exchange" not in who and "mic" not in who:
            who |= {"exchange": "US"}  # a company's fiscal dates are counted in New York's days where nothing else is told
        periods = {name: told[name] for name in _PERIODS if isinstance(told.get(name), list)}
        estimates = told.get("estimates")
        if periods:
            for name, entries in periods.items():
                for entry in entries if isinstance(entries, list) else []:
                    self.add_all(FUNDAMENTALS, _period, who, _PERIODS[name], entry)
        elif isinstance(estimates, list):
            for entry in estimates:
                self.add_all(FUNDAMENTALS, _estimate, who, entry)
        elif "AssetType" in told or "net_assets" in told or "MarketCapitalization" in told:
            self.add_all(FUNDAMENTALS, _profile, who, told, self.until)
        else:
            raise NumberRefusedError("unsupported_answer", sorted(told)[:6], "a profile, a statement, earnings, estimates")


def _period(who: Row, period: str, entry: object) -> Iterator[Row]:
    told = object_of(entry)
    ended, reported = _ended(told, "fiscalDateEnding"), _day(told, "reportedDate")
    currency = text_of(told.get("reportedCurrency"))
    shared = _shared(who, _statement(told), period, ended) | {"announcement_date": reported}
    if reported is not None and reported > ended:
        shared |= {"ts_event": midnight(reported, NEW_YORK).astimezone(UTC)}
    for row in lines(shared, "item", told, (name for name in told if name not in _NOT_LINES), text_value_of):
        yield row | {"unit": currency if row["item"] not in _COUNTS and currency not in (None, "None") else None}


def _statement(told: Object) -> str:
    if _EARNINGS in told:
        return "earnings"
    if _BALANCE in told:
        return "balance"
    return "cash_flow" if _CASH in told else "income"


def _estimate(who: Row, entry: object) -> Iterator[Row]:
    told = object_of(entry)
    horizon = text_of(told.get("horizon")) or ""
    period = "quarterly" if "quarter" in horizon else "annual"
    shared = _shared(who, "estimate", period, _ended(told, "date"))
    return lines(shared, "item", told, (name for name in told if name not in _NOT_LINES), text_value_of)


def _profile(who: Row, told: Object, until: datetime | None) -> Iterator[Row]:
    """A profile tells no date but its latest quarter's."""
    day = until.astimezone(NEW_YORK).date() if until is not None else _day(told, "LatestQuarter")
    if day is None:
        raise NumberRefusedError("missing_date", sorted(told)[:6], "a delivery date, or LatestQuarter")
    shared = _shared(who, "overview", "point", day) | {"currency": text_of(told.get("Currency"))}
    if until is not None:
        shared |= {"session_date": day, "ts_event": until}
    return lines(shared, "item", told, (name for name in told if name not in _NOT_PROFILE), text_value_of)


def _shared(who: Row, statement: str, period: str, ended: date) -> Row:
    return who | {
        "statement": statement,
        "period": period,
        "period_end": ended,
        "ts_event": midnight(ended + timedelta(days=1), NEW_YORK).astimezone(UTC),
    }


def _ended(told: Object, name: str) -> date:
    found = _day(told, name)
    if found is None:
        raise NumberRefusedError("missing_date", told, name)
    return found


def _day(told: Object, name: str) -> date | None:
    return None if told.get(name) in ("None", "-") else day_of(told.get(name), name)
