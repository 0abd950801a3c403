"""Parameters that several routes take, as FastAPI reads and documents them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from fastapi import Depends, Header, Path, Query

from lake.instants import parse_instant
from serving.answers import parse_bound
from serving.best_answer import Mode
from serving.demands import Demands
from serving.formats import MEDIA_TYPES, Format
from serving.paged import MAX_LIMIT, Paged

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
Limit = Annotated[int, Query(ge=1, le=MAX_LIMIT, description="Most rows of this answer.")]
Offset = Annotated[int, Query(ge=0, le=2**40, description="Rows to skip; `has_more` says whether to go on.")]


def instant(text: str | None) -> datetime | None:
    """Return the instant a caller wrote, or None. Raises InvalidValueError."""
    return None if text is None else parse_instant(text)


def format_of(asked: Wire | None, accept: str | None) -> Format:
    """Return the format parameter, else the first media type of Accept that we write, else JSON."""
    if asked is not None:
        return Format(asked.value)
    for part in (accept or "").split(","):
        found = _BY_MEDIA_TYPE.get(part.partition(";")[0].strip().lower())
        if found is not None:
            return found
    return Format.JSON


def _wire(format_: AnswerFormat = None, accept: Accept = None) -> Format:
    return format_of(format_, accept)


def _demands(
    max_age: Annotated[
        float | None,
        Query(ge=0, le=1e12, allow_inf_nan=False, description="Most seconds since the newest row; older is refused with 412."),
    ] = None,
    min_quality: Annotated[
        float | None,
        Query(ge=0, le=1, allow_inf_nan=False, description="Least quality score. Scores do not exist yet: refused with 412."),
    ] = None,
) -> Demands:
    return Demands(max_age, min_quality)


def _paged(
    symbol: Symbol,
    start: Start = None,
    end: End = None,
    as_of: AsOf = None,
    known_as_of: KnownAsOf = None,
    provider: Provider = None,
    limit: Limit = 1_000,
    offset: Offset = 0,
) -> Paged:
    bounds = parse_bound(start, "start"), parse_bound(end, "end")
    return Paged(symbol, *bounds, provider, instant(as_of), instant(known_as_of), limit, offset)


def _mode(
    read_through: Annotated[
        bool | None,
        Query(description="Ask a provider when this is missing here or older than max_age; by default as configured."),
    ] = None,
    last_known: Annotated[
        bool, Query(description="When no provider answers, the last known rather than an error: it says `is_stale` and its age.")
    ] = False,
) -> Mode:
    return Mode(read_through, last_known)


PagedQuestion = Annotated[Paged, Depends(_paged)]
WireFormat = Annotated[Format, Depends(_wire)]
Demanded = Annotated[Demands, Depends(_demands)]
ReadMode = Annotated[Mode, Depends(_mode)]
