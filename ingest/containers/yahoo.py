"""Saved files of Yahoo: which feed a file is of, and the request that the name of a downloaded history tells.

A browser saves `AAPL.csv`; libraries' archives write `AAPL_2020-01-01_2020-01-03_status200.csv`, `GOOG_5Y_W.csv`,
`AAPL_1wk.csv`: the symbol, then words after `_`, among them the interval and the status.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import quote

from ingest.containers.source import Piece, Source, Told
from ingest.containers.splitters import whole_document

_HEADS = (b"Date,Open,High,Low,Close,", b"Date,Dividends", b"Date,StockSplits")
_WORDS = re.compile(rb"\d{3}[A-Z][A-Za-z]{2,30}:")
_ENCODED = re.compile(rb"C[gh][A-Za-z0-9+/]{20,2000}={0,2}(\s|\Z)")
_LENGTHS = {"D": "1d", "W": "1wk", "M": "1mo", "1d": "1d", "5d": "5d", "1wk": "1wk", "1mo": "1mo", "3mo": "3mo"}
_STATUS = re.compile(r"status(\d{3})\Z")


def _is_quote(packed: bytes) -> bool:
    is_screener = packed.startswith(b'{"finance":{"result":[') and b'"quotes":[' in packed
    return packed.startswith((b'{"quoteResponse":', b'{"optionChain":')) or is_screener


def _is_search(packed: bytes) -> bool:
    return packed.startswith((b'{"explains":', b'{"count":')) and b'"quotes":[' in packed


def _is_download(packed: bytes) -> bool:
    return packed.startswith(_HEADS) or (_WORDS.match(packed) is not None and b"startDate=" in packed)


def _is_stream(packed: bytes) -> bool:
    return b'"type":"pricing"' in packed


_LOOKS: dict[str, Callable[[bytes], bool]] = {
    "quote": _is_quote,
    "search": _is_search,
    "download": _is_download,
    "stream": _is_stream,
}
YAHOO_FEEDS = tuple(_LOOKS)


def is_yahoo(feed: str) -> Callable[[str, bytes], bool]:
    """Return whether a file is of Yahoo's `quote`, `search`, `download` or `stream`: by what it holds."""

    def is_one(name: str, beginning: bytes) -> bool:
        if feed == "stream" and _ENCODED.match(beginning.lstrip()):
            return True
        return _LOOKS[feed](b"".join(beginning[:4096].split()))

    return is_one


def download_request(name: str) -> tuple[str, int | None]:
    """Return the path and query, and the status, that the name of a downloaded history tells."""
    symbol, *words = name.removesuffix(".gz").removesuffix(".csv").split("_")
    interval = next((_LENGTHS[word] for word in words if word in _LENGTHS), None)
    status = next((int(found[1]) for word in words if (found := _STATUS.match(word))), None)
    query = "" if interval is None else f"?interval={interval}"
    return f"/v7/finance/download/{quote(symbol)}{query}", status


def downloaded(source: Source, told: Told) -> Iterator[Piece]:
    """Yield a downloaded history with its request: by the manifest, else by the file's name."""
    path, status = download_request(told.file)
    for piece in whole_document("text/csv")(source, told):
        request = dict(piece.request or {})
        if "url" not in request:
            request |= {"method": "GET", "url": f"https://query1.finance.yahoo.com{path}"}
        yield replace(piece, request=request, status=status if piece.status is None else piece.status)
