"""POST /sql: one SELECT in the sandbox of `serving.sql`, bounded in time, rows, bytes, and in how many run at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from lake.errors import BusyError
from serving import sql
from serving.answers import Answered, told
from serving.reference import fresh_of
from serving.web import more_examples as examples
from serving.web.parameters import Accept, Wire, format_of, instant
from serving.web.responses import answers, lake_of, problems_of, respond

router = APIRouter()
AT_ONCE = 4
"""Each takes up to two threads and its memory."""
MEMORY = "512MB"
MAX_BYTES = 256 << 20
MAX_ROWS, MAX_SECONDS = 1_000_000, 60.0


class SqlQuestion(BaseModel):
    """One SELECT over the tables of the dictionary."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.SQL_QUESTION]})

    query: str = Field(description="One SELECT, SHOW TABLES, or DESCRIBE schema.table.", min_length=1, max_length=100_000)
    as_of: str | None = Field(None, description="Only what this lake had published by then.", max_length=64)
    known_as_of: str | None = Field(None, description="Only what the market could know by then.", max_length=64)
    format: Wire | None = Field(None, description="Overrides the Accept header; json without both.")
    max_rows: int = Field(100_000, ge=1, le=MAX_ROWS, description="Rows beyond are cut off; `truncated` says so.")
    timeout_s: float = Field(30.0, ge=0.1, le=MAX_SECONDS, description="Seconds the query may run.")


class Places:
    """How many queries may run at once."""

    def __init__(self, count: int) -> None:
        self._free = threading.BoundedSemaphore(count)

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Hold one place. Raises BusyError when none is free: a queue would only hide it."""
        if not self._free.acquire(blocking=False):
            raise BusyError(f"{AT_ONCE} SQL queries are running; try again in a moment")
        try:
            yield
        finally:
            self._free.release()


@router.post(
    "/sql", responses={**answers(examples.SQL_ANSWER), **problems_of(400)}, response_class=Response, summary="Ask in SQL"
)
def post_sql(request: Request, question: SqlQuestion, accept: Accept = None) -> Response:
    """One read-only SELECT (DuckDB's dialect) over every table and the integration views; nothing outside can be reached."""
    lake = lake_of(request)
    places: Places = request.app.state.sql_places
    at, known = instant(question.as_of), instant(question.known_as_of)
    limits = sql.Limits(question.max_rows, question.timeout_s, MEMORY, bytes=MAX_BYTES)
    with places.taken():
        found = sql.answer(lake, question.query, at, known, limits)
    snapshots = {name: str(snapshot) for name, snapshot in found.snapshots.items()}
    metadata = told(
        lake,
        snapshots,
        fresh_of(lake, *found.snapshots),
        "as_selected",
        at,
        known,
        truncated=found.truncated,
        elapsed_s=round(found.elapsed_s, 4),
    )
    return respond(request, Answered(found.table, metadata), format_of(question.format, accept))
