"""One row of a table as the event that consumers read: plain functions from values to a JSON document.

Decimals and instrument ids are strings (a JSON number is a binary float to most readers), instants ISO 8601 in UTC; what is
not known is null. Bodies as in DESIGN.md section 9.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Values = Mapping[str, Any]
"""One row, column by column, as `serving.formats.columns` writes it."""

CONFIRMED, WITHDRAWN = "confirmed", "withdrawn"
"""The gate has published it; it was confirmed before and does not hold any more. (`provisional` is for the hot path.)"""


def event(table: str, row: Values, event_id: str, revision: int, supersedes: str | None, publication: str) -> dict[str, Any]:
    """Return the confirmed event of a row.

    event_id     unique among the events of the topic, but for its own withdrawal
    revision     0 for the first version of a fact, higher ones replace lower ones
    supersedes   event id of the version before, which is withdrawn
    publication  table@snapshot: the publication of the lake that the event belongs to
    """
    timestamp, body = BODIES[table](row)
    return {
        "event_id": event_id,
        "timestamp": timestamp,
        "status": CONFIRMED,
        "revision": revision,
        "supersedes": supersedes,
        "publication": publication,
        **body,
    }


def withdrawal(event_id: str, timestamp: object, revision: int, superseded_by: str, publication: str) -> dict[str, Any]:
    """Return the event that takes an earlier one back: same event id, status withdrawn, no body."""
    return {
        "event_id": event_id,
        "timestamp": timestamp,
        "status": WITHDRAWN,
        "revision": revision,
        "superseded_by": superseded_by,
        "publication": publication,
    }


def _market(row: Values, prices: tuple[str, ...], volumes: tuple[str, ...], more: tuple[str, ...], at: str) -> dict[str, Any]:
    named = ("provider", "feed", "symbol", "mic", "currency", "session_date", *more, "capture_id", "message_seq", "ordinal")
    return {
        "market_data": {
            "instrument_id": str(row["instrument_id"]),
            "timestamp": row[at],
            "price_data": {name: row[name] for name in prices},
            "volume_data": {name: row[name] for name in volumes},
            "metadata": {name: row[name] for name in named},
        }
    }


def trade(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of normalized.trades."""
    more = ("ts_event_nanos", "ts_recv", "sequence", "trade_id", "conditions")
    return row["ts_event"], _market(row, ("price", "side"), ("size",), more, "ts_event")


def quote(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of normalized.quotes; without a venue's clock the time is ours."""
    at = "ts_recv" if row["ts_event"] is None else "ts_event"
    more = ("ts_event", "ts_event_nanos", "ts_recv", "sequence", "conditions")
    return row[at], _market(row, ("bid_price", "ask_price"), ("bid_size", "ask_size"), more, at)


def bar(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of normalized.bars; the time is the bar's open."""
    more = ("interval", "basis", "price_type", "is_final", "known_at")
    prices = ("open", "high", "low", "close", "vwap")
    return row["ts_open"], _market(row, prices, ("volume", "trade_count"), more, "ts_open")


def corporate_action(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of adjusted.factors; the time is when the market knew it."""
    told = ("ex_date", "status", "ratio_old", "ratio_new", "amount", "price_factor", "volume_factor")
    how = ("method", "ref_close", "ref_session_date", "provider", "action_key", "capture_id", "message_seq", "ordinal")
    return row["known_at"], {
        "event_type": "CorporateActionApplied",
        "corporate_action": {
            "instrument_id": str(row["instrument_id"]),
            "action_type": row["kind"],
            **{name: row[name] for name in told},
            "metadata": {name: row[name] for name in how},
        },
    }


def analysis_ready(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of adjusted.bars_1d.

    `dollar_volume`, `trade_count`, `quality_score` and `processing_time_ms` are null: nothing measures them yet.
    """
    adjusted = {f"adjusted_{name}": row[f"adj_{name}"] for name in ("open", "high", "low", "close")}
    how = ("split_factor", "all_factor", "volume_factor", "is_final", "known_at", "session_date", "symbol", "currency")
    return row["ts_open"], {
        "analysis_data": {
            "instrument_id": str(row["instrument_id"]),
            "timeframe": "1d",
            "price_data": {**{name: row[name] for name in ("open", "high", "low", "close")}, **adjusted},
            "volume_data": {
                "volume": row["volume"],
                "adjusted_volume": row["adj_volume"],
                "dollar_volume": None,
                "trade_count": None,
            },
            "corporate_actions": row["corporate_actions"],
            "quality_score": None,
            "processing_metadata": {
                "source": row["provider"],
                "processing_time_ms": None,
                "validation_passed": True,
                **{name: row[name] for name in how},
            },
        }
    }


BODIES: dict[str, Callable[[Values], tuple[object, dict[str, Any]]]] = {
    "normalized.trades": trade,
    "normalized.quotes": quote,
    "normalized.bars": bar,
    "adjusted.factors": corporate_action,
    "adjusted.bars_1d": analysis_ready,
}


class _Names(dict[str, Any]):
    """A row whose every value is the name of its column: what a form is read from."""

    def __missing__(self, name: str) -> str:
        return f"<{name}>"


EXAMPLES: dict[str, dict[str, object]] = {
    table: event(table, _Names(), "<event_id>", 0, None, f"{table}@<snapshot>") for table in BODIES
}
"""The form of each event, a column's name standing for its value."""
