"""The simulator's files: Databento's ranges and prices, IEX's HIST list and captures; whole or in ranges, with their versions."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ingest.simulator.keyed import Keys
from ingest.simulator.recorded import FOLDER

JSON = "application/json"
_HIST_NAME = "20180127_IEXTP1_TOPS1.6.pcap.gz"
_HIST_PATH = "/download/storage/v1/b/iex/o/data/feeds/20180127/" + _HIST_NAME
_RANGE = re.compile(r"bytes=(\d+)-\Z")
_RESOLVED = {"d0": "2020-12-28", "d1": "2020-12-29", "s": "6155"}
_DATASET, _SYMBOLS = "XNAS.ITCH", frozenset({"NVDA", "AAPL", "MSFT"})


def file_routes(keys: Keys) -> list[Route]:
    """Return the routes of the providers that give files."""

    async def databento(request: Request) -> Response:
        return databento_answer(request.path_params["call"], request.query_params, request.headers, keys)

    async def hist(request: Request) -> Response:
        return hist_list(request.query_params.get("date", ""))

    async def hist_file(request: Request) -> Response:
        return in_ranges((FOLDER / "iex" / _HIST_NAME).read_bytes(), request.headers, "application/gzip")

    return [
        Route("/v0/{call}", databento), Route("/api/1.0/hist", hist), Route(_HIST_PATH, hist_file),
    ]  # fmt: skip


def databento_refusal(path: str, status: int) -> tuple[int, bytes, str] | None:
    """Return the (status, body, content type) with which Databento refuses; None for another provider's path."""
    if not path.startswith("/v0/") or status not in (402, 429):
        return None
    words = {402: "Your account has insufficient funds for this request.", 429: "Too many requests."}[status]
    return status, orjson.dumps({"detail": words}), JSON


def databento_answer(call: str, query: Mapping[str, str], headers: Mapping[str, str], keys: Keys) -> Response:
    """Return Databento's answer to a call."""
    known = "Basic " + base64.b64encode(f"{keys.databento_key}:".encode()).decode()
    if headers.get("authorization") != known:
        return _case(401, "auth_authentication_failed", "Authentication failed.")
    if query.get("dataset") != _DATASET:
        return _case(422, "data_invalid_dataset", f"Invalid dataset: {query.get('dataset', '')}.")
    if not set(query.get("symbols", "").split(",")) & _SYMBOLS:
        return _case(422, "symbology_invalid_request", "None of the symbols could be resolved.")
    if call == "symbology.resolve":
        return _resolved(query)
    if query.get("start", "") < "2018-05-01":
        return _case(422, "data_start_before_available_start", "The dataset begins at 2018-05-01.")
    if call == "metadata.get_cost":
        return Response(b"0.000173", media_type=JSON)
    if call == "timeseries.get_range" and query.get("schema") == "trades":
        return in_ranges((FOLDER / "databento" / "trades.dbn.zst").read_bytes(), headers, "application/octet-stream")
    return _case(404, "not_found", "Not found.")


def _resolved(query: Mapping[str, str]) -> Response:
    """Return the number that the recorded file tells of its symbol and day; any other symbol and day has none."""
    asked = query.get("symbols", "").split(",")
    is_within = query.get("start_date", "") <= _RESOLVED["d0"] < query.get("end_date", "")
    result = {symbol: [_RESOLVED] for symbol in asked if symbol == "NVDA" and is_within}
    missing = [symbol for symbol in asked if symbol not in result]
    told = {name: query.get(name) for name in ("stype_in", "stype_out", "start_date", "end_date")}
    whole = {"message": "Not found" if missing else "OK", "status": 2 if missing else 0}
    return Response(
        orjson.dumps({"result": result, "symbols": asked, **told, "partial": [], "not_found": missing, **whole}), media_type=JSON
    )


def hist_list(day: str) -> Response:
    """Return IEX's list of a day's files: the address is the provider's, whoever plays it."""
    if day != _HIST_NAME[:8]:
        return Response(b"Not Found", 404, media_type="text/html")
    body = (FOLDER / "iex" / _HIST_NAME).read_bytes()
    path = _HIST_PATH.replace("data/feeds/", quote("data/feeds/", safe="")).replace(f"{day}/{day}", f"{day}%2F{day}")
    link = f"https://www.googleapis.com{path}?generation=1517101215560431&alt=media"
    entry = {"link": link, "date": day, "feed": "TOPS", "version": "1.6", "protocol": "IEXTP1", "size": str(len(body))}
    return Response(orjson.dumps([entry]), media_type=JSON)


def in_ranges(body: bytes, headers: Mapping[str, str], media_type: str) -> Response:
    """Return a file, or the rest of it where the client has its beginning in the same version."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    told = {"etag": tag, "accept-ranges": "bytes"}
    wanted = _RANGE.match(headers.get("range", ""))
    if wanted is None or headers.get("if-range", tag) != tag:
        return Response(body, 200, told, media_type=media_type)
    first = int(wanted[1])
    if first >= len(body):
        return Response(b"", 416, {**told, "content-range": f"bytes */{len(body)}"})
    told["content-range"] = f"bytes {first}-{len(body) - 1}/{len(body)}"
    return Response(body[first:], 206, told, media_type=media_type)


def _case(status: int, case: str, words: str) -> Response:
    detail: dict[str, Any] = {"case": case, "message": words, "status_code": status}
    return Response(orjson.dumps({"detail": detail}), status, media_type=JSON)
