"""The five views of the Data Integration Service, made of the lake's own tables and of the jobs in its state.

What nobody measures is null, not made up: quality scores, processing times of single rows, dollar volumes.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import Any

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of as publications
from lake import scan
from lake.catalog import Lake
from lake.instants import to_datetime
from lake.scan import PUBLISHED_AT, Where
from lake.tables import TABLES
from lake.values import event_id
from serving.answers import range_of
from serving.bars import AGREED, FACTORS, bars_1d_at, in_force
from serving.integration.jobs import jobs
from serving.reference import newest_actions, newest_factors

View = Callable[[Lake, datetime | None, datetime | None], pa.Table]
SCHEMA = "integration"
_STAMP = pa.timestamp("us", "UTC")
_SCORE = pa.float64()
_TYPES = {"normalized.corporate_actions": "CORPORATE_ACTIONS", "reference": "REFERENCE_DATA"}
_JOBS = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "source", "data_type", "status")),
        *((name, pa.int64()) for name in ("instruments_count", "processed_count", "failed_count")),
        ("quality_score", _SCORE),
        *((name, _STAMP) for name in ("started_at", "completed_at")),
        ("error_message", pa.string()),
        ("created_at", _STAMP),
    ]
)
_ACTIONS = pa.schema(
    [
        ("id", pa.string()),
        ("instrument_id", pa.int64()),
        ("action_type", pa.string()),
        *((name, pa.date32()) for name in ("action_date", "ex_date", "record_date")),
        ("adjustment_factor", pa.decimal128(38, 18)),
        ("cash_amount", pa.decimal128(18, 9)),
        ("description", pa.string()),
        ("processed", pa.bool_()),
        ("created_at", _STAMP),
    ]
)
_QUALITY = pa.schema(
    [
        ("id", pa.string()),
        ("instrument_id", pa.int64()),
        ("timestamp", _STAMP),
        *((name, _SCORE) for name in ("completeness", "accuracy", "freshness", "consistency", "overall_score")),
        ("issues_count", pa.int64()),
        ("created_at", _STAMP),
    ]
)
_METRICS = pa.schema(
    [
        ("timestamp", _STAMP),
        *((name, pa.string()) for name in ("source", "data_type")),
        ("records_processed", pa.int64()),
        ("processing_time_ms", pa.int64()),
        ("error_count", pa.int64()),
        *((name, _SCORE) for name in ("quality_score", "throughput_per_second")),
    ]
)


def data_processing_jobs(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return every job, oldest first, as it stands now; as_of: those made by then."""
    rows = [
        {
            "id": job.request_id,
            "source": job.request.source,
            "data_type": job.request.data_type.value,
            "status": job.status.value,
            "instruments_count": len(job.request.instruments),
            "processed_count": job.processed_count,
            "failed_count": job.failed_count,
            "started_at": _moment(job.started_at_ns),
            "completed_at": _moment(job.completed_at_ns),
            "error_message": job.error_message,
            "created_at": _moment(job.created_at_ns),
        }
        for job in jobs(lake)
        if as_of is None or to_datetime(job.created_at_ns) <= as_of
    ]
    return pa.Table.from_pylist(rows, _JOBS)


def corporate_actions(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return the newest version of each announcement; `processed`: a factor made of it is in force."""
    factors = newest_factors(in_force(lake, FACTORS, (), as_of, known_as_of))
    rows = []
    for row in newest_actions(lake, [], as_of, known_as_of).to_pylist():
        factor = factors.get((row["instrument_id"], row["kind"], row["ex_date"]))
        rows.append(
            {
                "id": event_id(row["capture_id"], row["message_seq"], row["ordinal"]),
                "instrument_id": row["instrument_id"],
                "action_type": row["kind"].upper(),
                "action_date": row["announcement_date"] or row["ex_date"],
                "ex_date": row["ex_date"],
                "record_date": row["record_date"],
                "adjustment_factor": None if factor is None else factor["price_factor"],
                "cash_amount": row["amount"],
                "description": _described(row),
                "processed": factor is not None,
                "created_at": row[PUBLISHED_AT],
            }
        )
    return pa.Table.from_pylist(rows, _ACTIONS)


def data_quality_metrics(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return one row an instrument and UTC day with findings; scores are null: nobody computes them yet."""
    found = scan.read(lake, "quality.findings", ["instrument_id", "recorded_at"], as_of=as_of)
    counts: dict[tuple[int, Any], list[datetime]] = {}
    for row in found.to_pylist():
        if row["instrument_id"] is not None:
            counts.setdefault((row["instrument_id"], row["recorded_at"].date()), []).append(row["recorded_at"])
    rows = [
        {
            "id": f"{instrument_id}/{day}",
            "instrument_id": instrument_id,
            "timestamp": datetime.combine(day, time(), UTC),
            "issues_count": len(moments),
            "created_at": max(moments),
        }
        for (instrument_id, day), moments in sorted(counts.items())
    ]
    return pa.Table.from_pylist(rows, _QUALITY)


def processed_market_data_ts(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return agreed bars of every interval, the version in force, with the adjusted close where bars are daily."""
    agreed = in_force(lake, AGREED, (), as_of, known_as_of).sort_by("known_at")
    frame = pl.DataFrame({name: pl.from_arrow(agreed[name]) for name in agreed.column_names})
    frame = frame.unique(["instrument_id", "interval", "ts_open"], keep="last", maintain_order=True)
    is_past = as_of is not None or known_as_of is not None
    names = ["instrument_id", "session_date", "adj_close"]
    daily = bars_1d_at(lake, as_of, known_as_of).select(names) if is_past else scan.read(lake, "adjusted.bars_1d", names)
    adjusted = pl.DataFrame({name: pl.from_arrow(daily[name]) for name in names}).with_columns(interval=pl.lit("1d"))
    wanted = ["capture_id", "message_seq", "ordinal", "trade_count"]
    bars = scan.read(lake, "normalized.bars", wanted, as_of=as_of)
    counts = pl.DataFrame({name: pl.from_arrow(bars[name]) for name in wanted}).unique(wanted[:3])
    joined = frame.join(adjusted, on=["instrument_id", "session_date", "interval"], how="left").join(
        counts, on=wanted[:3], how="left"
    )
    return (
        joined.sort("instrument_id", "interval", "ts_open")
        .select(
            pl.col("ts_open").alias("timestamp"),
            "instrument_id",
            pl.col("interval").alias("timeframe"),
            *(pl.col(name).alias(f"{name}_price") for name in ("open", "high", "low", "close")),
            pl.col("adj_close").alias("adjusted_close"),
            "volume",
            pl.lit(None, pl.Decimal(38, 9)).alias("dollar_volume"),
            "trade_count",
            pl.lit(None, pl.Float64).alias("quality_score"),
            pl.lit(None, pl.Int64).alias("processing_time_ms"),
        )
        .to_arrow()
    )


def data_processing_metrics_ts(lake: Lake, as_of: datetime | None, known_as_of: datetime | None) -> pa.Table:
    """Return one row a publication of normalized data: what was published and what was refused with it."""
    rows = []
    for name in sorted(name for name in TABLES if name.startswith(("normalized.", "reference."))):
        for entry in publications.ledger(lake, name):
            if as_of is None or entry.published_at <= as_of:
                rows.append(
                    {
                        "timestamp": entry.published_at,
                        "source": entry.owner,
                        "data_type": _TYPES.get(name, _TYPES.get(name.partition(".")[0], "MARKET_DATA")),
                        "records_processed": entry.counts.get("rows", 0),
                        "error_count": entry.counts.get("quarantined", 0),
                    }
                )
    return pa.Table.from_pylist(rows, _METRICS).sort_by("timestamp")


def issues(lake: Lake, instrument_id: int, start: date | None, end: date | None) -> list[dict[str, object]]:
    """Return the Integration Service's quality records of an instrument: one a UTC day with findings, scores null.

    start, end   `[start, end)` by the instant recorded; a date means its midnight, UTC

    Raises InvalidValueError when `end` is before `start`.
    """
    bounds = [None if bound is None else _midnight(bound) for bound in (start, end)]
    where = [Where("instrument_id", "=", instrument_id), *range_of(bounds[0], bounds[1], "recorded_at")]
    found = scan.read(lake, "quality.findings", where=where).sort_by("recorded_at")
    days = pc.strftime(found["recorded_at"], "%Y-%m-%d").to_pylist()
    records: dict[str, dict[str, Any]] = {}
    for day, row in zip(days, found.to_pylist(), strict=True):
        scores = dict.fromkeys(("completeness", "accuracy", "freshness", "consistency", "overall_score"))
        record = records.setdefault(
            day, {"instrument_id": str(instrument_id), "timestamp": f"{day}T00:00:00Z", **scores, "issues": []}
        )
        issue = {"type": row["kind"], "severity": row["severity"], "description": row["detail"], "field": None, "value": None}
        record["issues"].append({**issue, "event_id": row["event_id"]})
    return list(records.values())


def _midnight(bound: date) -> datetime:
    return bound if isinstance(bound, datetime) else datetime.combine(bound, time(), UTC)


def _moment(instant_ns: int | None) -> datetime | None:
    return None if instant_ns is None else to_datetime(instant_ns)


def _described(row: dict[str, Any]) -> str:
    what = f"{row['ratio_new']}:{row['ratio_old']}" if row["ratio_old"] else f"{row['amount']} {row['currency'] or ''}".strip()
    return f"{row['kind'].replace('_', ' ')} {what} ({row['status']}, {row['provider']})"


VIEWS: dict[str, View] = {
    f"{SCHEMA}.{view.__name__}": view
    for view in (
        data_processing_jobs,
        corporate_actions,
        data_quality_metrics,
        processed_market_data_ts,
        data_processing_metrics_ts,
    )
}
"""By name in SQL; each is known without its schema too."""
