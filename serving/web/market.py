"""Routes of trades, quotes, snapshots, instruments, corporate actions, calendars and feeds."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from serving import reference
from serving.quotes import QUOTES, quotes
from serving.snapshot import snapshot
from serving.trades import TRADES, trades
from serving.web import examples, more_examples
from serving.web.parameters import (
    AsOf,
    Demanded,
    KnownAsOf,
    Limit,
    Offset,
    PagedQuestion,
    Provider,
    ReadMode,
    Symbol,
    WireFormat,
    instant,
)
from serving.web.responses import answers, best_of, lake_of, respond

router = APIRouter()


@router.get(
    "/trades/{symbol:path}", responses=answers(examples.TRADES), response_class=Response, summary="Trades of one instrument"
)
def get_trades(request: Request, question: PagedQuestion, wire: WireFormat, demands: Demanded, mode: ReadMode) -> Response:
    """Executions in the order of the venue's clock; without start and end, those of the newest session."""
    found = best_of(request).events(TRADES, question, lambda: trades(lake_of(request), question), demands, mode)
    return respond(request, found, wire, demands)


@router.get(
    "/quotes/{symbol:path}", responses=answers(more_examples.QUOTES), response_class=Response, summary="Quotes of one instrument"
)
def get_quotes(request: Request, question: PagedQuestion, wire: WireFormat, demands: Demanded, mode: ReadMode) -> Response:
    """Best bid and offer in the order received; without start and end, those of the newest session."""
    found = best_of(request).events(QUOTES, question, lambda: quotes(lake_of(request), question), demands, mode)
    return respond(request, found, wire, demands)


@router.get("/snapshot", responses=answers(more_examples.SNAPSHOT), response_class=Response, summary="The last of each kind")
def get_snapshot(
    request: Request,
    wire: WireFormat,
    demands: Demanded,
    symbols: Annotated[
        str,
        Query(
            description="Symbols, identity keys or ids, joined by commas.", examples=["AAPL,MSFT"], min_length=1, max_length=8192
        ),
    ],
    provider: Provider = None,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
) -> Response:
    """Last trade, last quote and last agreed daily bar of several instruments, each with its own instant."""
    wanted = [part.strip() for part in symbols.split(",") if part.strip()]
    found = snapshot(lake_of(request), wanted, provider, instant(as_of), instant(known_as_of))
    return respond(request, found, wire, demands)


@router.get(
    "/instruments", responses=answers(more_examples.INSTRUMENTS), response_class=Response, summary="What can be asked for"
)
def get_instruments(
    request: Request,
    wire: WireFormat,
    demands: Demanded,
    search: Annotated[
        str | None, Query(description="Part of a symbol, name or identity.", examples=["apple"], max_length=128)
    ] = None,
    provider: Provider = None,
    as_of: AsOf = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
    at: Annotated[date | None, Query(description="Only symbols valid on this day.", examples=["2022-06-08"])] = None,
) -> Response:
    """Instruments by identity, with every symbol that means them, at any time or on a day."""
    found = reference.instruments(lake_of(request), search, provider, instant(as_of), limit, offset, at)
    return respond(request, found, wire, demands)


@router.get(
    "/corporate-actions/{symbol:path}",
    responses=answers(more_examples.ACTIONS),
    response_class=Response,
    summary="Splits and dividends of one instrument",
)
def get_corporate_actions(
    request: Request,
    symbol: Symbol,
    wire: WireFormat,
    demands: Demanded,
    start: Annotated[date | None, Query(description="Of the ex-date, included.", examples=["2020-01-01"])] = None,
    end: Annotated[date | None, Query(description="Of the ex-date, not included.", examples=["2021-01-01"])] = None,
    provider: Provider = None,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
) -> Response:
    """Announcements, the newest version of each, with the factor made of it where it is in force."""
    found = reference.corporate_actions(lake_of(request), symbol, start, end, provider, instant(as_of), instant(known_as_of))
    return respond(request, found, wire, demands)


@router.get(
    "/calendars/{mic}", responses=answers(more_examples.CALENDAR), response_class=Response, summary="Sessions of a market"
)
def get_calendar(
    request: Request,
    mic: Annotated[str, Path(description="ISO 10383 market identifier.", examples=["XNYS"], pattern="^[A-Za-z0-9]{4}$")],
    wire: WireFormat,
    start: Annotated[date | None, Query(description="Included.", examples=["2020-08-24"])] = None,
    end: Annotated[date | None, Query(description="Not included.", examples=["2020-09-08"])] = None,
) -> Response:
    """Opens and closes in UTC, half days and holidays as the exchange had them; by default the 30 days around today."""
    return respond(request, reference.calendar(lake_of(request), mic, start, end), wire)


@router.get("/feeds", responses=answers(more_examples.FEEDS), response_class=Response, summary="What can be read")
def get_feeds(request: Request, wire: WireFormat, demands: Demanded) -> Response:
    """Every feed of every provider: the payload it reads, the tables it fills, when it last delivered here."""
    return respond(request, reference.feeds(lake_of(request)), wire, demands)
