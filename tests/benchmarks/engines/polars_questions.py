"""The questions' arithmetic in Polars, for those who bring rows and leave it to the user."""

from __future__ import annotations

from datetime import datetime

import polars as pl


def bars_query(rows: pl.DataFrame | pl.LazyFrame) -> pl.LazyFrame:
    """Return one-minute bars of trades in order of time."""
    price, size = pl.col("price"), pl.col("size")
    return (
        rows.lazy()
        .group_by("instrument_id", pl.col("ts_event").dt.truncate("1m").alias("ts_open"))
        .agg(
            open=price.first(),
            high=price.max(),
            low=price.min(),
            close=price.last(),
            volume=size.sum(),
            trade_count=pl.len(),
        )
    )


def bars(rows: pl.DataFrame | pl.LazyFrame) -> int:
    """Return the number of one-minute bars, made and handed over as Arrow."""
    return len(bars_query(rows).collect().to_arrow())


def as_of(left: pl.DataFrame, right: pl.DataFrame) -> int:
    """Return the number of rows on the left, each with the last of the right before it."""
    ordered = left.sort("ts_event"), right.sort("ts_event")
    return len(ordered[0].join_asof(ordered[1], on="ts_event", suffix="_other").to_arrow())


def last(rows: pl.DataFrame | pl.LazyFrame, until: datetime | None = None) -> int:
    """Return the number of instruments, the last trade of each, up to an instant."""
    frame = rows.lazy() if until is None else rows.lazy().filter(pl.col("ts_event") <= until)
    return len(frame.group_by("instrument_id").agg(pl.col("ts_event", "price", "size").last()).collect().to_arrow())
