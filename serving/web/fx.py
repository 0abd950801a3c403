"""The route of rates between currencies."""

from __future__ import annotations

from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request, Response

from serving import fx
from serving.answers import parse_bound
from serving.web import more_examples
from serving.web.parameters import AsOf, Demanded, End, KnownAsOf, Limit, Offset, Provider, Start, WireFormat, instant
from serving.web.responses import answers, lake_of, respond

router = APIRouter()
Currency = Annotated[
    str,
    Path(description="ISO 4217 code, or a minor unit like GBX.", examples=["USD"], pattern="^[A-Za-z]{3}$"),
]
Amount = Annotated[
    Decimal | None,
    Query(ge=-(10**20), le=10**20, description="Of the base currency; `converted` is in the quote currency.", examples=["250"]),
]


@router.get(
    "/fx/{base}/{quote}", responses=answers(more_examples.FX), response_class=Response, summary="Rates between two currencies"
)
def get_fx(
    request: Request,
    base: Currency,
    quote: Currency,
    wire: WireFormat,
    demands: Demanded,
    start: Start = None,
    end: End = None,
    amount: Amount = None,
    provider: Provider = None,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
) -> Response:
    """Published rates: told, turned round or through a third currency, each with what it was made of; none is carried forward.

    Without start and end, those of the last instant of each source.
    """
    bounds = parse_bound(start, "start"), parse_bound(end, "end")
    question = fx.FxQuestion(
        base, quote, *bounds, amount, provider, instant(as_of), instant(known_as_of), limit=limit, offset=offset
    )
    return respond(request, fx.rates(lake_of(request), question), wire, demands)
