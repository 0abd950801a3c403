"""A client of the HTTP interface: questions in Python, answers as Arrow, polars or pandas, errors as tickhouse's own.

from serving.client import Client

with Client("http://127.0.0.1:8000", key="th_…") as client:
    client.bars("AAPL", start="2020-08-03", adjustment="splits").polars()
    for message in client.stream([{"symbol": "BTCUSDT", "kind": "trades", "provider": "binance"}]):
        print(message["type"], message["row_count"])
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from types import TracebackType
from typing import Any, Self

import httpx
import orjson
import polars as pl
import pyarrow as pa
import pyarrow.ipc
import websockets.exceptions
import websockets.sync.client

from lake.errors import AccessError, InvalidValueError, ProtocolError, ProviderUnavailableError, QualityError, TickhouseError
from serving.formats import MEDIA_TYPES, Format
from serving.outcomes import OUTCOMES

TIMEOUT_S = 90.0
"""Longer than the longest SQL query may run."""
_RETRY_AFTER_S = 1.0
_BY_TYPE = {outcome.type: kind for kind, outcome in OUTCOMES.items()}
_MAX_MESSAGE_BYTES = 64 << 20


class ServerError(ProtocolError):
    """The server failed or answered what is no answer of tickhouse: report it."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Rows of an answer and its metadata: snapshots, freshness, basis, source."""

    table: pa.Table
    metadata: dict[str, Any]

    def polars(self) -> pl.DataFrame:
        """Return the rows as a polars frame; decimals stay decimals."""
        found = pl.from_arrow(self.table)
        assert isinstance(found, pl.DataFrame)
        return found

    def pandas(self) -> Any:
        """Return the rows as a pandas frame. Raises InvalidValueError where pandas is not installed."""
        try:
            return self.table.to_pandas()
        except ImportError as error:
            raise InvalidValueError("pandas is not installed; `pip install pandas`, or use .polars() or .table") from error


class Client:
    """One server, asked over one pool of connections; safe between threads; `close` when done.

    Every method raises the error that the server would have raised here: NotFoundError, InvalidValueError, DemandError …;
    AccessError for a key that is missing or lacks the scope, ProviderUnavailableError when nobody answers.
    """

    def __init__(self, address: str = "http://127.0.0.1:8000", key: str | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._headers = {} if key is None else {"Authorization": f"Bearer {key}"}
        self._address = address.rstrip("/")
        self._http = httpx.Client(base_url=f"{self._address}/api/v1/", headers=self._headers, timeout=timeout_s)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close every connection."""
        self._http.close()

    def bars(
        self,
        symbol: str,
        interval: str = "1d",
        start: date | datetime | str | None = None,
        end: date | datetime | str | None = None,
        adjustment: str = "none",
        **more: object,
    ) -> Answer:
        """Return bars in `[start, end)`; more: as_of, known_as_of, provider, max_age, min_quality."""
        return self.ask(f"bars/{symbol}", interval=interval, start=start, end=end, adjustment=adjustment, **more)

    def trades(
        self, symbol: str, start: date | datetime | str | None = None, end: date | datetime | str | None = None, **more: object
    ) -> Answer:
        """Return trades in `[start, end)`; more: limit, offset, provider, as_of, known_as_of, max_age, min_quality."""
        return self.ask(f"trades/{symbol}", start=start, end=end, **more)

    def quotes(
        self, symbol: str, start: date | datetime | str | None = None, end: date | datetime | str | None = None, **more: object
    ) -> Answer:
        """Return quotes in `[start, end)`; more: as for trades."""
        return self.ask(f"quotes/{symbol}", start=start, end=end, **more)

    def snapshot(self, symbols: Sequence[str], **more: object) -> Answer:
        """Return last trade, quote and daily bar of each symbol."""
        return self.ask("snapshot", symbols=",".join(symbols), **more)

    def ask(self, path: str, **params: object) -> Answer:
        """Return the answer of any tabular route below /api/v1, like `ask("gaps", only_open=True)`."""
        written = {name: _text(value) for name, value in params.items() if value is not None}
        response = self._send("GET", path, params=written)
        return _answer(response)

    def sql(
        self,
        query: str,
        as_of: date | datetime | str | None = None,
        known_as_of: date | datetime | str | None = None,
        max_rows: int = 100_000,
        timeout_s: float = 30.0,
    ) -> Answer:
        """Return the rows of one SELECT; `metadata["truncated"]` says whether rows were cut off."""
        body: dict[str, object] = {"query": query, "max_rows": max_rows, "timeout_s": timeout_s}
        for name, value in (("as_of", as_of), ("known_as_of", known_as_of)):
            if value is not None:
                body[name] = _text(value)
        return _answer(self._send("POST", "sql", json=body))

    def document(self, path: str, **params: object) -> dict[str, Any]:
        """Return the JSON document of a route that is no table: health, quality, explain/…, integration/status/…."""
        written = {name: _text(value) for name, value in params.items() if value is not None}
        found: dict[str, Any] = orjson.loads(self._send("GET", path, params=written).content)
        return found

    def stream(self, subscriptions: Sequence[Mapping[str, object]]) -> Iterator[dict[str, Any]]:
        """Yield messages of /stream: a snapshot for each subscription, then updates without a hole, until the server ends.

        subscriptions   symbol, kind (trades, quotes, bars, corporate_actions); optional provider, rows, and `position` of the
                        last message seen, to go on after a break

        Raises ServerError with the server's reason when it closes, like a reader that is too slow.
        """
        address = "ws" + self._address.removeprefix("http") + "/api/v1/stream"
        try:
            with websockets.sync.client.connect(address, additional_headers=self._headers, max_size=_MAX_MESSAGE_BYTES) as socket:
                for number, one in enumerate(subscriptions):
                    socket.send(orjson.dumps({"action": "subscribe", "id": str(number), **one}).decode())
                for text in socket:
                    message: dict[str, Any] = orjson.loads(text)
                    if message["type"] == "error":
                        raise _BY_TYPE.get(message["problem"], ServerError)(message["detail"])
                    yield message
        except websockets.exceptions.InvalidStatus as error:
            raise _problem(error.response.status_code, bytes(error.response.body or b"")) from error
        except websockets.exceptions.ConnectionClosedError as error:
            raise ServerError(f"the stream was closed: {error.rcvd.reason if error.rcvd else error}") from error
        except OSError as error:
            raise ProviderUnavailableError(f"{address} does not answer: {error}", _RETRY_AFTER_S) from error

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._http.request(method, path, headers={"Accept": _ACCEPT}, **options)
        except httpx.InvalidURL as error:
            raise InvalidValueError(f"{path!r} is no address: {error}") from error
        except httpx.TransportError as error:
            raise ProviderUnavailableError(f"{self._address} does not answer: {error}", _RETRY_AFTER_S) from error
        if response.is_success:
            return response
        raise _problem(response.status_code, response.content)


_ACCEPT = f"{MEDIA_TYPES[Format.ARROW]}, application/json;q=0.5"


def _answer(response: httpx.Response) -> Answer:
    try:
        table = pa.ipc.open_stream(response.content).read_all()
    except pa.ArrowInvalid as error:
        raise ServerError(f"{response.url} answered {response.headers.get('content-type')}, expected Arrow") from error
    told = (table.schema.metadata or {}).get(b"tickhouse")
    return Answer(table.replace_schema_metadata(None), {} if told is None else orjson.loads(told))


def _problem(status: int, body: bytes) -> TickhouseError:
    """Return the error that a problem document tells."""
    try:
        document: dict[str, Any] = orjson.loads(body)
        detail = str(document["detail"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return ServerError(f"HTTP {status}: {body[:200]!r}")
    if status in (401, 403):
        return AccessError(detail)
    kind = _BY_TYPE.get(str(document.get("type")))
    if kind is None:
        return InvalidValueError(detail) if status in (400, 405) else ServerError(f"HTTP {status}: {detail}")
    if kind is ProviderUnavailableError:
        return ProviderUnavailableError(detail, float(document.get("retry_after_s", _RETRY_AFTER_S)))
    return QualityError(detail, document.get("report", {})) if kind is QualityError else kind(detail)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)
