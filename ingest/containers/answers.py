"""Saved answers of REST providers: which feed a file is of, and the request that its name tells.

An answer often says less than its request: the symbol of `/v3/trades/AAPL` stands in the path alone. A manifest beside the file
says the URL; else names of files that are a path with its slashes written as `_`, like
`v2_aggs_ticker_AAPL_range_1_day_2005-04-01_2005-04-04.json`, `v3_trades_AAPL_limit=2.json` or `…_O;AAPL230616C00150000.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from ingest.containers.source import Piece, Source, Told
from ingest.containers.splitters import json_lines, whole_document

_POLYGON_PATH = re.compile(r"v[1-3]_[a-z]")
_TIINGO_STAMP = re.compile(rb'"date":"\d{4}-\d\d-\d\dT(\d\d:\d\d:\d\d)')
_IEX_MARKET = (
    *(b'"messageType":', b'"lastSaleTime":', b'"tradeId":', b'"isHalted":', b'"isSSR":', b'"securityEvent":', b'"systemEvent":"'),
    *(b'"priceType":', b'"auctionType":', b'"bids":[', b'{"status":"', b'"bidPrice":'),
)
_IEX_STOCK = (
    *(b'"changeOverTime":', b'"latestPrice":', b'"exDate":', b'"uOpen":', b'"unadjustedVolume":', b'"consensusEPS":'),
    *(
        b'"financials":[',
        b'"balancesheet":[',
        b'"income":[',
        b'"cashflow":[',
        b'"week52high":',
        b'"headline":',
        b'"strikePrice":',
    ),
    *(b'"CurrentShortInterest":', b'"priceTargetAverage":', b'"ratingBuy":', b'"rate":'),
)
_IEX_LISTS = (
    *(b'"iexId":', b'"isEnabled":', b'"RecordID":', b'"settlementDate":"', b'"exchangeSuffix":', b'"tapeId":', b'"companyName":'),
    *(b'"venueName":', b'"leadUnderwriters":', b'"adjHolding":', b'"entityName":', b'"fullName":', b'"delayedPriceTime":'),
    *(
        b'"protocol":"IEXTP1"',
        b'"routedVolume":',
        b'"averageDailyVolume":',
        b'"symbolsTraded":',
        b"iex/api/logos",
        b'"SymbolinINET',
    ),
    *(b'"currencies":[{"code"', b'"type":"sector"', b'"open":{"price":'),
)
_NOT_IEX = re.compile(
    rb'\[?\{"(chart|quoteResponse|optionChain|finance|quoteSummary|corporate_actions|news|bars|trades|quotes|snapshots|T|ticker|category)":'
    rb'|\{"data":\[\{"amount"|\{"symbol":"[^"]*","(majorDevelopment":|financials":\[\{"period":)'
)
_IEX_LAST = re.compile(rb'\[?\{"symbol":"[^"]*","price":[\d.]+,"size":\d+,"time":\d+')
_IEX_NAMES = re.compile(r"(Response|IEX\w+)\.json(\.gz)?\Z")
_POLYGON_ACTIONS = (b'"execution_date":', b'"ex_dividend_date":')
_POLYGON_LISTS = (
    *(b'"serverTime":', b'"status":"closed"', b'"status":"early-close"', b'"primary_exchange":', b'"cfi":', b'"sip_mapping":'),
    *(b'"operating_mic":', b'"asset_class":', b'"locale":', b'"branding":{'),
)
_POLYGON_PRICES = (
    *(b'"resultsCount":', b'"sip_timestamp":', b'"participant_timestamp":', b'"lastQuote":', b'"lastTrade":', b'"last":{'),
    *(b'"results":{"p":', b'"results":{"c":', b'"results":{"P":', b'"results":{"T":', b'"afterHours":', b'"preMarket":'),
    *(b'"last_quote":', b'"market_status":', b'"session":{', b'"data":{"ask', b'"data":{"bid', b'"adjusted":'),
)


def polygon_path(name: str) -> str | None:
    """Return the path and query that a file's name tells, like /v3/trades/AAPL?limit=2; None where it is no such name."""
    stem = name.removesuffix(".gz").removesuffix(".json").replace(";", ":")
    if not _POLYGON_PATH.match(stem):
        return None
    path, query = stem, ""
    if "=" in stem:
        cut = stem.rfind("_", 0, stem.index("="))
        path, query = stem[:cut], stem[cut + 1 :]
        query = "?" + re.sub(r"_(?=[a-z_.]+=)", "&", query)
    return "/" + path.replace("_", "/") + query


def polygon_answer(source: Source, told: Told) -> Iterator[Piece]:
    """Yield one answer of Polygon with its request: by the manifest, else by the file's name."""
    for piece in whole_document("application/json")(source, told):
        path = polygon_path(told.file)
        request: Mapping[str, object] = piece.request or {}
        if path is not None and "url" not in request:
            request = {**request, "method": "GET", "url": f"https://api.polygon.io{path}"}
        yield replace(piece, request=request)


def is_polygon(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of Polygon's `market`, `actions` or `reference`: by what its answer holds."""

    def is_one(name: str, beginning: bytes) -> bool:
        packed = b"".join(beginning.split())
        if not _POLYGON_PATH.match(name) and b'"request_id":' not in packed:
            return False
        return _polygon_feed(packed) == feed

    return is_one


def _polygon_feed(packed: bytes) -> str | None:
    if not packed.startswith((b"{", b"[")):
        return None
    if any(word in packed for word in _POLYGON_ACTIONS):
        return "actions"
    is_list = any(word in packed for word in _POLYGON_LISTS)
    if any(word in packed for word in _POLYGON_PRICES) and b'"serverTime":' not in packed:
        return "market"
    return "reference" if is_list else None


def is_tiingo(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of Tiingo's `daily`, `iex` or `crypto`; days are stamped at midnight, minutes hardly ever."""

    def is_one(name: str, beginning: bytes) -> bool:
        return _tiingo_feed(b"".join(beginning.split())) == feed

    return is_one


def _tiingo_feed(packed: bytes) -> str | None:
    if packed.startswith(b"date,") and b"splitFactor" in packed[:200]:
        return "daily"
    if packed.startswith(b"{") and b'"exchangeCode":' in packed and b'"startDate":' in packed:
        return "daily"
    if not packed.startswith(b"[{"):
        return None
    first = packed[:1024]
    if b'"baseCurrency":' in first and b'"quoteCurrency":' in first:
        return "crypto"
    if b'"tngoLast":' in first:
        return "iex"
    stamp = _TIINGO_STAMP.search(first)
    if stamp is None or b'"open":' not in first or b'"symbol":' in first:
        return None
    return "daily" if stamp[1] == b"00:00:00" else "iex"


def is_iex_cloud(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of IEX Cloud's or the IEX API's `market`, `stock` or `reference`: by what its answer holds."""

    def is_one(name: str, beginning: bytes) -> bool:
        return _iex_feed(name, b"".join(beginning.split())) == feed

    return is_one


def _iex_feed(name: str, packed: bytes) -> str | None:
    if packed.startswith((b"data:", b"event:", b":")) and b'"symbol":' in packed:
        return "market" if b"bidPrice" in packed or b"messageType" in packed or b'"price":' in packed else "stock"
    if not packed.startswith((b"{", b"[")):
        return "reference" if _IEX_NAMES.search(name) and packed else None
    if _POLYGON_PATH.match(name) or _NOT_IEX.match(packed):
        return None
    if _IEX_LAST.match(packed) or (b'"latestPrice":' not in packed[:1024] and any(word in packed for word in _IEX_MARKET)):
        return "market"
    if b'"latestPrice":' in packed and b'"bids":[' in packed:
        return "market"
    if any(word in packed for word in _IEX_STOCK):
        return "stock"
    return "reference" if any(word in packed for word in _IEX_LISTS) or _IEX_NAMES.search(name) else None


def iex_answer_or_events(source: Source, told: Told) -> Iterator[Piece]:
    """Yield one answer of IEX, or the messages of a recorded SSE stream: events parted by empty lines, or objects, one a line."""
    beginning = source.beginning().lstrip()
    if beginning.startswith((b"data:", b"event:", b":", b"id:")):
        yield from _events(source, told)
    elif beginning.split(b"\n", 1)[0].rstrip().endswith(b"}") and b"\n{" in beginning:
        yield from json_lines(source, told)
    else:
        yield from whole_document("application/json")(source, told)


def _events(source: Source, told: Told) -> Iterator[Piece]:
    lines: list[bytes] = []
    number = 0
    for line in (*source.lines(), b""):
        if line.strip():
            lines.append(line)
        elif lines:
            yield Piece(b"\n".join(lines), "text/event-stream", request=told.request(event=number))
            lines, number = [], number + 1
