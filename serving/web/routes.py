"""The routes under /api/v1. Each turns parameters into a question, asks it, and encodes the answer once."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from serving import lineage
from serving.answers import Answered, parse_bound
from serving.bars import Adjustment, BarsQuestion
from serving.built_bars import asked_bars
from serving.choices import BarSource
from serving.web import examples
from serving.web.parameters import AsOf, Demanded, End, KnownAsOf, Provider, ReadMode, Start, Symbol, WireFormat, instant
from serving.web.responses import answers, best_of, document, lake_of, respond

router = APIRouter()


@router.get("/bars/{symbol:path}", responses=answers(examples.BARS), response_class=Response, summary="Bars of one instrument")
def get_bars(
    request: Request,
    symbol: Symbol,
    wire: WireFormat,
    demands: Demanded,
    mode: ReadMode,
    interval: Annotated[str, Query(description="Length of a bar.", examples=["1d", "1m"], max_length=16)] = "1d",
    start: Start = None,
    end: End = None,
    adjustment: Annotated[
        Adjustment, Query(description="Applied to prices and volumes: nothing, splits, or splits and dividends.")
    ] = Adjustment.NONE,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
    provider: Provider = None,
    source: Annotated[
        BarSource, Query(description="Bars that providers gave, agreed; or built here from each feed's own trades or quotes.")
    ] = BarSource.AGREED,
    price_type: Annotated[
        str, Query(description="Of built bars: trade, bid, ask or mid.", examples=["trade"], max_length=16)
    ] = "trade",
) -> Response:
    """Agreed bars, as traded or adjusted: a factor applies to sessions strictly before its ex-date. Built bars are as traded."""
    bounds = parse_bound(start, "start"), parse_bound(end, "end")
    views = instant(as_of), instant(known_as_of)
    question = BarsQuestion(symbol, interval, *bounds, adjustment, *views, provider)

    def ask() -> Answered:
        return asked_bars(lake_of(request), question, source, price_type)

    found = ask() if source is BarSource.BUILT else best_of(request).bars(question, ask, demands, mode)
    return respond(request, found, wire, demands)


@router.get(
    "/explain/{event_id:path}",
    responses=answers(examples.EXPLANATION, tabular=False),
    response_class=Response,
    summary="The way back of one value",
)
def get_explanation(
    request: Request,
    event_id: Annotated[
        str,
        Path(
            description="CAPTURE:MESSAGE:ORDINAL, CAPTURE:MESSAGE, or TABLE/KEY of a derived row.",
            examples=["yahoo-chart-import-0f3b:0:12"],
            min_length=1,
            max_length=512,
        ),
    ],
) -> Response:
    """Row, steps, inputs, gate run, publication, and the message: request, status, headers, hash proved again, bytes."""
    return document(lineage.explain(lake_of(request), event_id).document())
