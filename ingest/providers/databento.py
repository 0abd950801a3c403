"""Databento's historical API: a range of records as a DBN file, its cost before, symbology, what refusals mean. Machine: no I/O.

The key goes as the user of HTTP Basic, in the address's credentials. A range may be large, so it is downloaded into a file and
imported by the container path (`ingest/containers/dbn.py`). Source: PROVIDERS.md section 8, databento/databento-python.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation

import orjson

from ingest.asks import Credentials, Request, Response
from ingest.verdicts import Reading, Verdict
from lake.errors import InvalidValueError
from lake.instants import check_window

PROVIDER = "databento"
ADDRESS = "https://hist.databento.com"
METADATA = "metadata"
"""The feed of answers that are no files: prices, symbology, refusals."""
KEY_VARIABLES = ("DATABENTO_API_KEY",)
SCHEMAS = (
    "trades", "mbo", "mbp-1", "mbp-10", "tbbo", "bbo-1s", "bbo-1m", "cmbp-1", "cbbo-1s", "cbbo-1m", "tcbbo", "ohlcv-1s",
    "ohlcv-1m", "ohlcv-1h", "ohlcv-1d", "definition", "statistics", "status", "imbalance",
)  # fmt: skip
SYMBOL_KINDS = ("raw_symbol", "instrument_id", "parent", "continuous")
MOST_SYMBOLS = 2_000
_DATASET = re.compile(r"[A-Z0-9]{2,8}\.[A-Z0-9]{2,8}\Z")
_SYMBOL = re.compile(r"[A-Za-z0-9.:/ \-]{1,40}\Z")
_AUTH = re.compile(r"auth", re.IGNORECASE)
_UNKNOWN = re.compile(r"symbolog|did not resolve|no data found|unknown symbol", re.IGNORECASE)
_OUT_OF_RANGE = re.compile(r"available_(start|end)|after_available|before_available|start_before|end_after", re.IGNORECASE)


def credentials(key: str) -> Credentials:
    """Return the key as the user of HTTP Basic, without a password."""
    return Credentials(headers=(("Authorization", "Basic " + base64.b64encode(f"{key}:".encode()).decode()),))


def range_request(
    dataset: str, schema: str, symbols: Sequence[str], start: datetime, end: datetime, *, stype_in: str = "raw_symbol"
) -> Request:
    """Return the request for the records of `[start, end)` as DBN in zstd. Raises InvalidValueError."""
    params = (*_of(dataset, schema, symbols, start, end, stype_in), ("encoding", "dbn"), ("compression", "zstd"))
    return Request("GET", "/v0/timeseries.get_range", params, (), "timeseries.get_range", symbols=tuple(symbols))


def cost_request(
    dataset: str, schema: str, symbols: Sequence[str], start: datetime, end: datetime, *, stype_in: str = "raw_symbol"
) -> Request:
    """Return the request for the price of a range, in US dollars. Raises InvalidValueError."""
    params = _of(dataset, schema, symbols, start, end, stype_in)
    return Request("GET", "/v0/metadata.get_cost", params, (), "metadata.get_cost", symbols=tuple(symbols))


def resolve_request(dataset: str, symbols: Sequence[str], start: date, end: date, *, stype_in: str = "raw_symbol") -> Request:
    """Return the request for the instrument numbers that symbols had on the days `[start, end)`. Raises InvalidValueError."""
    _check(dataset, symbols, stype_in)
    if not start < end:
        raise InvalidValueError(f"symbology from {start} to {end}: expected a day before another")
    params = (
        *(("dataset", dataset), ("symbols", ",".join(symbols)), ("stype_in", stype_in), ("stype_out", "instrument_id")),
        *(("start_date", start.isoformat()), ("end_date", end.isoformat())),
    )
    return Request("GET", "/v0/symbology.resolve", params, (), "symbology.resolve", symbols=tuple(symbols))


def _check(dataset: str, symbols: Sequence[str], stype_in: str) -> None:
    if not _DATASET.match(dataset):
        raise InvalidValueError(f"dataset {dataset!r} is not one of Databento's; expected like XNAS.ITCH or GLBX.MDP3")
    if stype_in not in SYMBOL_KINDS:
        raise InvalidValueError(f"symbols by {stype_in}: expected {', '.join(SYMBOL_KINDS)}")
    if not 1 <= len(symbols) <= MOST_SYMBOLS or not all(_SYMBOL.match(symbol) for symbol in symbols):
        raise InvalidValueError(f"{len(symbols)} symbols: expected 1 to {MOST_SYMBOLS}, like AAPL, or ESM4")


def _of(
    dataset: str, schema: str, symbols: Sequence[str], start: datetime, end: datetime, stype_in: str
) -> tuple[tuple[str, str], ...]:
    _check(dataset, symbols, stype_in)
    if schema not in SCHEMAS:
        raise InvalidValueError(f"schema {schema}: expected one of {', '.join(SCHEMAS)}")
    check_window(start, end)
    window = tuple((name, at.astimezone(UTC).isoformat().replace("+00:00", "Z")) for name, at in (("start", start), ("end", end)))
    return (("dataset", dataset), ("schema", schema), ("symbols", ",".join(symbols)), ("stype_in", stype_in), *window)


def read_cost(response: Response) -> tuple[Reading, Decimal | None]:
    """Return what an answer about the price means, and the price. Any bytes give a reading."""
    if response.status != 200 or not response.is_complete:
        return read_refusal(response), None
    try:
        dollars = Decimal(response.body.decode("ascii").strip())
    except (UnicodeDecodeError, InvalidOperation):
        return Reading(Verdict.MALFORMED, f"no price: {_words(response.body)}"), None
    if not dollars.is_finite() or dollars < 0:
        return Reading(Verdict.MALFORMED, f"no price: {_words(response.body)}"), None
    return Reading(Verdict.OK, f"{dollars} USD"), dollars


def read_resolution(response: Response) -> Reading:
    """Return what an answer about symbols means: those that were never known are told. Any bytes give a reading."""
    if response.status not in (200, 206) or not response.is_complete:
        return read_refusal(response)
    try:
        found = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}")
    result = found.get("result") if isinstance(found, dict) else None
    if not isinstance(result, dict) or not all(isinstance(told, list) for told in result.values()):
        return Reading(Verdict.MALFORMED, f"no mappings: {_words(response.body)}")
    count, missing = sum(map(len, result.values())), found.get("not_found")
    names = [str(name) for name in missing] if isinstance(missing, list) else []
    detail = f"{count} mappings" + (f"; not found: {', '.join(names)[:200]}" if names else "")
    if count == 0:
        return Reading(Verdict.UNKNOWN_SYMBOL if names else Verdict.EMPTY_VALID, detail)
    return Reading(Verdict.OK, detail)


def read_refusal(response: Response) -> Reading:
    """Return what an answer without records means, by its status and the case it names. Any bytes give a reading."""
    words, told = _words(response.body), response.headers.get("retry-after", "")
    wait_s = float(told) if re.match(r"\d{1,6}\Z", told) else None
    if response.status == 429:
        return Reading(Verdict.THROTTLED, words, wait_s)
    if (broken := response.broken(words, wait_s)) is not None:
        return broken
    case = _case(response.body)
    if response.status == 401 or (response.status in (400, 403) and _AUTH.match(case)):
        return Reading(Verdict.AUTH, words)
    if response.status in (402, 403):
        return Reading(Verdict.NOT_ENTITLED, words)
    if response.status in (400, 404, 422) and _OUT_OF_RANGE.search(case):
        return Reading(Verdict.OUT_OF_RANGE, words)
    if response.status in (400, 404, 422) and (_UNKNOWN.search(case) or _UNKNOWN.search(words)):
        return Reading(Verdict.UNKNOWN_SYMBOL, words)
    return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}")


def _case(body: bytes) -> str:
    """Return the name of the case that an error's `detail` tells; empty where it is plain words."""
    try:
        found = orjson.loads(body)
    except orjson.JSONDecodeError:
        return ""
    detail = found.get("detail") if isinstance(found, dict) else None
    return str(detail.get("case", "")) if isinstance(detail, dict) else ""


def _words(body: bytes) -> str:
    return " ".join(body[:300].decode("utf-8", "replace").split())
