"""Names of instruments: POST /symbology/resolve at a date, in bulk; GET /symbology/{name}, every name of one instrument."""

from __future__ import annotations

from datetime import date
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from serving import symbology
from serving.web import more_examples as examples
from serving.web.parameters import Accept, AsOf, Demanded, Symbol, Wire, WireFormat, format_of, instant
from serving.web.responses import answers, lake_of, problems_of, respond

router = APIRouter()


class NamesQuestion(BaseModel):
    """Names to resolve at a date."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.NAMES_QUESTION]})

    names: list[Annotated[str, Field(min_length=1, max_length=128)]] = Field(
        description="`symbol:AAPL`, `yahoo:AAPL`, `isin:…`, an identity key; without a scheme: a symbol, else an identifier.",
        min_length=1,
        max_length=symbology.MAX_NAMES,
    )
    on: date | None = Field(None, description="The day on which the names are meant; today without one.")
    as_of: str | None = Field(None, description="Only what this lake had published by then.", max_length=64)
    known_as_of: str | None = Field(None, description="Only what the market could know by then.", max_length=64)
    format: Wire | None = Field(None, description="Overrides the Accept header; json without both.")


@router.post(
    "/symbology/resolve",
    responses={**answers(examples.RESOLVED), **problems_of(400)},
    response_class=Response,
    summary="Whom names mean at a date",
)
def post_resolve(request: Request, question: NamesQuestion, accept: Accept = None) -> Response:
    """A row for each meaning of each name, in the order asked; `status` is found, ambiguous or not_found."""
    views = instant(question.as_of), instant(question.known_as_of)
    found = symbology.resolve(lake_of(request), question.names, question.on, *views)
    return respond(request, found, format_of(question.format, accept))


@router.get(
    "/symbology/{symbol:path}",
    responses=answers(examples.NAMES),
    response_class=Response,
    summary="Every name of one instrument",
)
def get_names(request: Request, symbol: Symbol, wire: WireFormat, demands: Demanded, as_of: AsOf = None) -> Response:
    """Symbols of each provider, identifiers and identity keys, each with the dates in which it means this instrument."""
    return respond(request, symbology.names_of(lake_of(request), symbol, instant(as_of)), wire, demands)
