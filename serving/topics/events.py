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


Body = Callable[[Values], tuple[object, dict[str, Any]]]
"""From a row to its timestamp and the body of its event."""


def event(body: Body, row: Values, event_id: str, revision: int, supersedes: str | None, publication: str) -> dict[str, Any]:
    """Return the confirmed event of a row.

    event_id     what the row is called; with `revision` and `status` unique in the topic
    revision     grows along the versions of a fact; of one event id a higher one replaces a lower one
    supersedes   event id of the version that this one takes the place of, null for none
    publication  table@snapshot: the publication of the lake that the event belongs to
    """
    timestamp, told = body(row)
    return {
        "event_id": event_id,
        "timestamp": timestamp,
        "status": CONFIRMED,
        "revision": revision,
        "supersedes": supersedes,
        "publication": publication,
        **told,
    }


def withdrawal(
    event_id: str, timestamp: object, revision: int, superseded_by: str | None, publication: str, **more: object
) -> dict[str, Any]:
    """Return the event that takes an earlier one of the same id back, at this revision or a lower one: no body.

    superseded_by   event id of the version that holds instead, null where nothing does
    """
    return {
        "event_id": event_id,
        "timestamp": timestamp,
        "status": WITHDRAWN,
        "revision": revision,
        "superseded_by": superseded_by,
        "publication": publication,
        **more,
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
        "event_type": "CorporateActionRescinded" if row["status"] == "rescinded" else "CorporateActionApplied",
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


def delivered_ready(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of normalized.bars as it was delivered: intraday bars are not agreed, nor adjusted.

    `basis` says on which shares its prices stand; adjusted values are null, and `validation_passed` is the gate's.
    """
    how = ("feed", "symbol", "mic", "currency", "session_date", "basis", "price_type", "is_final", "known_at")
    nothing = {f"adjusted_{name}": None for name in ("open", "high", "low", "close")}
    return row["ts_open"], {
        "analysis_data": {
            "instrument_id": str(row["instrument_id"]),
            "timeframe": row["interval"],
            "price_data": {**{name: row[name] for name in ("open", "high", "low", "close", "vwap")}, **nothing},
            "volume_data": {
                "volume": row["volume"],
                "adjusted_volume": None,
                "dollar_volume": None,
                "trade_count": row["trade_count"],
            },
            "corporate_actions": [],
            "quality_score": None,
            "processing_metadata": {
                "source": row["provider"],
                "processing_time_ms": None,
                "validation_passed": True,
                **{name: row[name] for name in how},
            },
        }
    }


def finding(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of quality.findings; the time is when it was found."""
    instrument = row["instrument_id"]
    return row["recorded_at"], {
        "event_type": "QualityFinding",
        "quality_data": {
            "instrument_id": None if instrument is None else str(instrument),
            "type": row["kind"],
            "severity": row["severity"],
            "description": row["detail"],
            "metadata": {"table": row["table_name"], "provider": row["provider"], "event_id": row["event_id"]},
        },
    }


def health(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a row of ops.health_events; the time is when it happened."""
    return row["recorded_at"], {
        "event_type": "SystemHealth",
        "health_data": {name: row[name] for name in ("kind", "provider", "endpoint", "verdict", "detail")},
    }


def held(row: Values) -> tuple[object, dict[str, Any]]:
    """Return (timestamp, body) of a hold, as `holds.py` tells it; the time is when the gate refused the batch."""
    told = ("hold_id", "table", "provider", "run_id", "row_count", "failed_checks")
    return row["held_at"], {
        "event_type": "BatchHeld",
        "quality_data": {
            "instrument_id": None,
            "type": "hold",
            "severity": "error",
            "description": row["description"],
            "metadata": {name: row[name] for name in told},
        },
    }


class _Names(dict[str, Any]):
    """A row whose every value is the name of its column: what a form is read from."""

    def __missing__(self, name: str) -> str:
        return f"<{name}>"


def example_of(body: Body, table: str) -> dict[str, object]:
    """Return the form of an event, a column's name standing for its value."""
    return event(body, _Names(), "<event_id>", 0, None, f"{table}@<snapshot>")
