"""The routes under /api/v1. Each turns parameters into a question, asks it, and encodes the answer once."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Header, Path, Query, Request, Response

from lake.catalog import Lake
from lake.instants import parse_instant
from lake.tables import TABLES
from serving import lineage
from serving.answers import Answered, parse_bound
from serving.bars import Adjustment, BarsQuestion, bars
from serving.formats import MEDIA_TYPES, Format, encode, plain_value
from serving.trades import MAX_LIMIT, TradesQuestion, trades
from serving.web import examples
from serving.web.problems import MEDIA_TYPE, Problem

router = APIRouter()
_BY_MEDIA_TYPE = {media.partition(";")[0]: format_ for format_, media in MEDIA_TYPES.items()}


class Wire(StrEnum):
    """Formats of an answer over HTTP."""

    JSON = "json"
    CSV = "csv"
    ARROW = "arrow"
    PARQUET = "parquet"


Symbol = Annotated[
    str,
    Path(
        description="A symbol (`AAPL`), an identity key (`listing:BINANCE/BTCUSDT:spot`) or an instrument id.",
        examples=["AAPL"],
        min_length=1,
        max_length=128,
    ),
]
Start = Annotated[
    str | None, Query(description="Included. A date is a session date, an instant is of the clock.", examples=["2020-08-03"])
]
End = Annotated[str | None, Query(description="Not included.", examples=["2020-10-02"])]
AsOf = Annotated[
    str | None,
    Query(description="Only what this lake had published by then; a date means its end, UTC.", examples=["2026-11-21"]),
]
KnownAsOf = Annotated[
    str | None, Query(description="Only what the market could know by then; a date means its end, UTC.", examples=["2020-08-28"])
]
Provider = Annotated[str | None, Query(description="Only this provider's data.", examples=["yahoo"], max_length=64)]
AnswerFormat = Annotated[Wire | None, Query(alias="format", description="Overrides the Accept header; json without both.")]
Accept = Annotated[str | None, Header(include_in_schema=False)]


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": Problem.model_json_schema()}}}


def _answers(example: Mapping[str, Any], *, tabular: bool = True) -> dict[int | str, dict[str, Any]]:
    schema: dict[str, Any] = {"type": "object"}
    if tabular:
        schema = {
            "type": "object",
            "required": ["metadata", "row_count", "columns"],
            "properties": {
                "metadata": {
                    "type": "object",
                    "description": "Snapshots, freshness, completeness, basis, source, the instrument.",
                },
                "row_count": {"type": "integer", "minimum": 0},
                "columns": {
                    "type": "object",
                    "description": "One list a column, all of the same length; decimals are strings.",
                    "additionalProperties": {"type": "array", "items": {}},
                },
            },
        }
    content: dict[str, Any] = {"application/json": {"schema": schema, "example": dict(example)}}
    if tabular:
        content[MEDIA_TYPES[Format.ARROW]] = {"schema": {"type": "string", "format": "binary"}}
        content[MEDIA_TYPES[Format.PARQUET]] = {"schema": {"type": "string", "format": "binary"}}
        content["text/csv"] = {"schema": {"type": "string"}}
    return {
        200: {"description": "The answer.", "content": content},
        404: _problem("Nothing has that name."),
        422: _problem("A parameter is not valid."),
        503: _problem("Try again later."),
    }


@router.get("/bars/{symbol:path}", responses=_answers(examples.BARS), response_class=Response, summary="Bars of one instrument")
def get_bars(
    request: Request,
    symbol: Symbol,
    interval: Annotated[str, Query(description="Length of a bar.", examples=["1d", "1m"], max_length=16)] = "1d",
    start: Start = None,
    end: End = None,
    adjustment: Annotated[
        Adjustment, Query(description="Applied to prices and volumes: nothing, splits, or splits and dividends.")
    ] = Adjustment.NONE,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
    provider: Provider = None,
    format_: AnswerFormat = None,
    accept: Accept = None,
) -> Response:
    """Agreed bars, as traded or adjusted; a factor applies to sessions strictly before its ex-date."""
    wire = _format(format_, accept)
    question = BarsQuestion(
        symbol,
        interval,
        parse_bound(start, "start"),
        parse_bound(end, "end"),
        adjustment,
        None if as_of is None else parse_instant(as_of),
        None if known_as_of is None else parse_instant(known_as_of),
        provider,
    )
    return _respond(bars(_lake(request), question), wire)


@router.get(
    "/trades/{symbol:path}", responses=_answers(examples.TRADES), response_class=Response, summary="Trades of one instrument"
)
def get_trades(
    request: Request,
    symbol: Symbol,
    start: Start = None,
    end: End = None,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
    provider: Provider = None,
    limit: Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most rows of this answer.")] = 1_000,
    offset: Annotated[int, Query(ge=0, le=2**40, description="Rows to skip; `has_more` says whether to go on.")] = 0,
    format_: AnswerFormat = None,
    accept: Accept = None,
) -> Response:
    """Executions in the order of the venue's clock; without start and end, those of the newest session."""
    wire = _format(format_, accept)
    question = TradesQuestion(
        symbol,
        parse_bound(start, "start"),
        parse_bound(end, "end"),
        provider,
        None if as_of is None else parse_instant(as_of),
        None if known_as_of is None else parse_instant(known_as_of),
        limit,
        offset,
    )
    return _respond(trades(_lake(request), question), wire)


@router.get(
    "/explain/{event_id:path}",
    responses=_answers(examples.EXPLANATION, tabular=False),
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
    node = lineage.explain(_lake(request), event_id)
    return Response(orjson.dumps(plain_value(node.document())), media_type="application/json")


@router.get(
    "/health", responses=_answers(examples.HEALTH, tabular=False), response_class=Response, summary="Whether the lake answers"
)
def get_health(request: Request) -> Response:
    """The snapshot of every table, and the batches that the gate holds."""
    lake = _lake(request)
    heads = {name: lake.head(name) for name in TABLES}
    holds = [hold.hold_id for head in heads.values() for hold in head.holds]
    body = {
        "status": "ok",
        "version": request.app.version,
        "tables": {name: {"snapshot": str(head.snapshot_id), "holds": len(head.holds)} for name, head in heads.items()},
        "holds": holds,
    }
    return Response(orjson.dumps(body), media_type="application/json", headers={"Cache-Control": "no-store"})


def _lake(request: Request) -> Lake:
    lake: Lake = request.app.state.lake
    return lake


def _format(asked: Wire | None, accept: str | None) -> Format:
    """The format parameter, else the first media type of Accept that we write, else JSON."""
    if asked is not None:
        return Format(asked.value)
    for part in (accept or "").split(","):
        found = _BY_MEDIA_TYPE.get(part.partition(";")[0].strip().lower())
        if found is not None:
            return found
    return Format.JSON


def _respond(answered: Answered, format_: Format) -> Response:
    plain = {name: plain_value(value) for name, value in answered.metadata.items()}
    headers = {
        "Tickhouse-Snapshots": ",".join(f"{name}={snapshot}" for name, snapshot in answered.metadata["snapshots"].items()),  # type: ignore[attr-defined]
        "Tickhouse-Basis": str(plain["basis"]),
        "Tickhouse-Fresh": str(plain["fresh"] or ""),
        "Tickhouse-Source": str(plain["source"]),
        "Vary": "Accept",
    }
    return Response(encode(answered.table, format_, plain), media_type=MEDIA_TYPES[format_], headers=headers)
