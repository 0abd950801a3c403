"""Which feed reads which files of the data folder: one line each. A decoder that lands adds its lines here.

`files` is a glob below the data folder, and each file it finds is handed to the feed by name; ending in "/", it is a folder,
of which the feed takes what it recognises. A file may be taken by several lines (bars and actions of one table). A file
that no line takes is unexplained.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Line:
    """Files, the feed that reads them, the mapping that CSV needs, and when they were delivered where that is known."""

    files: str
    provider: str
    feed: str
    mapping: str | None = None
    received_at: str | None = None


def _of(provider: str, files: str, *feeds: str) -> tuple[Line, ...]:
    return tuple(Line(files, provider, feed) for feed in feeds)


LINES: tuple[Line, ...] = (
    Line("crypto_ws/binance_spot_*", "binance", "spot"),
    Line("crypto_ws/binance_usdm_*", "binance", "usdm"),
    *_of("yahoo", "yahoo/", "chart"),
    *_of("finnhub", "finnhub/", "quote", "trades"),
    *_of("alpha_vantage", "alpha_vantage/", "stocks", "currencies"),
    *_of("alpaca", "alpaca/", "sip", "opra", "crypto", "actions", "news", "screener", "contracts", "reference"),
    *_of("polygon", "polygon/", "market", "actions", "reference"),
    *_of("tiingo", "tiingo/", "daily", "iex", "crypto"),
    *_of("iex_cloud", "iex_cloud/", "market", "stock", "reference"),
    Line("adjustment/ice_reorg/reorg.*", "ice", "reorg"),
)

NOT_DATA = ("README.md", "_manifest.json", "LICENSE")
"""What lies beside the data and speaks about it."""
