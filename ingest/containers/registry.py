"""The registry of containers: how files of each feed are recognised and cut, one line a feed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ingest.containers.alpaca import alpaca_answer, is_alpaca, is_alpaca_market
from ingest.containers.alpha_vantage import ALPHA_VANTAGE_FEEDS, is_alpha_vantage
from ingest.containers.answers import iex_answer_or_events, is_iex_cloud, is_polygon, is_tiingo, polygon_answer
from ingest.containers.captures import capture_packets, is_capture_of
from ingest.containers.dbn import dbn_batches, file_feed, is_dbn, is_reference_lines, reference_lines
from ingest.containers.finnhub import FINNHUB_FEEDS, is_finnhub, named_answer, ticks_or_frames
from ingest.containers.fix import fix_messages, is_fix
from ingest.containers.ibkr import history_records, is_history, is_wire, wire_messages
from ingest.containers.itch import is_itch, itch_messages
from ingest.containers.reference import REFERENCE_FEEDS, is_reference
from ingest.containers.source import Piece, Source, Told
from ingest.containers.splitters import csv_chunks, json_lines, recorded_frames, whole_document
from ingest.containers.taq import is_taq, taq_records
from ingest.containers.yahoo import YAHOO_FEEDS, downloaded, is_yahoo
from lake.errors import NotFoundError
from transforms.decode import iex
from transforms.decode.csv_columns import MARKED


def _looks_like_binance(beginning: bytes) -> frozenset[str]:
    if not re.match(rb'(\d{19} )?\{"(stream|lastUpdateId|e)"', beginning):
        return frozenset()
    is_usdm = b'"pu":' in beginning or b'"X":"' in beginning
    is_spot = b'"M":' in beginning
    if is_usdm == is_spot:
        return frozenset({"spot", "usdm"})
    return frozenset({"usdm" if is_usdm else "spot"})


@dataclass(frozen=True, slots=True)
class Container:
    """How files of one feed are recognised and cut."""

    split: Callable[[Source, Told], Iterator[Piece]]
    is_one: Callable[[str, bytes], bool]
    """By file name and first bytes."""
    feed_of: Callable[[Source], str | None] | None = None
    """Where the feed is one of a family (`transforms.feeds.FAMILIES`): the name of a file's own."""


def _is_chart(name: str, beginning: bytes) -> bool:
    return beginning.lstrip().startswith(b'{"chart"')


def _is_csv(name: str, beginning: bytes) -> bool:
    return name.lower().removesuffix(".gz").endswith(".csv")


def _is_reorg(name: str, beginning: bytes) -> bool:
    return b"TEXT#" in beginning and b"ENT:" in beginning


def _begins(*words: bytes) -> Callable[[str, bytes], bool]:
    """Return whether a file's first kilobyte, blanks left out, has any of `words`."""

    def is_one(name: str, beginning: bytes) -> bool:
        packed = b"".join(beginning[:1024].split())
        return any(word in packed for word in words)

    return is_one


_YAHOO_SPLITS = {
    "quote": whole_document("application/json"),
    "search": whole_document("application/json"),
    "download": downloaded,
    "stream": json_lines,
}

CONTAINERS: dict[tuple[str, str], Container] = {
    ("binance", "spot"): Container(recorded_frames, lambda _, beginning: "spot" in _looks_like_binance(beginning)),
    ("binance", "usdm"): Container(recorded_frames, lambda _, beginning: "usdm" in _looks_like_binance(beginning)),
    ("yahoo", "chart"): Container(whole_document("application/json"), _is_chart),
    **{("yahoo", feed): Container(_YAHOO_SPLITS[feed], is_yahoo(feed)) for feed in YAHOO_FEEDS},
    **{("csv", kind): Container(csv_chunks, _is_csv) for kind in MARKED},
    **{("nyse_taq", feed): Container(taq_records, is_taq(feed)) for feed in ("trades", "quotes")},
    ("fix", "market"): Container(fix_messages, is_fix),
    ("ibkr", "wire"): Container(wire_messages, is_wire),
    ("ibkr", "history"): Container(history_records, is_history),
    ("databento", "dbn"): Container(dbn_batches, is_dbn, file_feed),
    ("databento", "reference"): Container(reference_lines, is_reference_lines),
    ("tradier", "market"): Container(
        whole_document("application/json"),
        _begins(b'{"options":', b'{"quotes":{"quote"', b'{"history":{"day"', b'{"expirations":{"date"'),
    ),
    ("ice", "reorg"): Container(whole_document("text/plain"), _is_reorg),
    **{
        ("alpaca", feed): Container(alpaca_answer, is_alpaca_market(feed))
        for feed in ("iex", "sip", "opra", "indicative", "crypto")
    },
    ("alpaca", "actions"): Container(whole_document("application/json"), _begins(b'"corporate_actions":', b'"ca_type":')),
    **{("alpaca", feed): Container(alpaca_answer, is_alpaca(feed)) for feed in ("news", "screener", "contracts", "reference")},
    **{
        ("finnhub", feed): Container(ticks_or_frames if feed == "trades" else named_answer, is_finnhub(feed))
        for feed in FINNHUB_FEEDS
    },
    **{("polygon", feed): Container(polygon_answer, is_polygon(feed)) for feed in ("market", "actions", "reference")},
    **{("tiingo", feed): Container(whole_document("application/json"), is_tiingo(feed)) for feed in ("daily", "iex", "crypto")},
    ("iex", "tops"): Container(capture_packets, is_capture_of(iex.TOPS)),
    ("iex", "deep"): Container(capture_packets, is_capture_of(iex.DEEP)),
    ("nasdaq", "itch"): Container(itch_messages, is_itch),
    **{("iex_cloud", feed): Container(iex_answer_or_events, is_iex_cloud(feed)) for feed in ("market", "stock", "reference")},
    **{("reference", feed): Container(whole_document("text/plain"), is_reference(feed)) for feed in REFERENCE_FEEDS},
    **{
        ("alpha_vantage", feed): Container(whole_document("application/json"), is_alpha_vantage(feed))
        for feed in ALPHA_VANTAGE_FEEDS
    },
}
"""How files of each feed are cut: one line a feed."""


def container_named(provider: str, feed: str) -> Container:
    """Return how files of a feed are cut. Raises NotFoundError that lists what can be imported of the provider."""
    found = CONTAINERS.get((provider, feed))
    if found is None:
        feeds = [name for owner, name in sorted(CONTAINERS) if owner == provider]
        known = f"of {provider} there are {', '.join(feeds)}" if feeds else f"providers are {', '.join(sorted(_providers()))}"
        raise NotFoundError(f"no import for feed {provider} {feed}; {known}; `tickhouse feeds` tells what each reads")
    return found


def _providers() -> set[str]:
    return {provider for provider, _ in CONTAINERS}
