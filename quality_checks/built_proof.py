"""The proof of built bars: what the day's bar counts, the minutes of its session count too, and no more than there are trades."""

from __future__ import annotations

import polars as pl

from lake.catalog import Lake
from lake.conditions import Where
from lake.scan import read
from lake.tables import table_named
from quality_checks.naming import belonging_now, owned
from quality_checks.raw_proofs import as_frame
from transforms.belonging import NAMED_BY
from transforms.built_bars import BUILT

_TRADES = table_named("normalized.trades")
_PART = ("instrument_id", "provider", "feed", "session_date")
_SUMS = ("volume", "trade_count", "dollar_volume")


def built_bars_add_up(lake: Lake) -> tuple[int, list[str]]:
    """Return how many days were compared, and those whose sums differ from their minutes' or from what is on main.

    Bars that moved to another instrument are not compared: that one's are.
    """
    names = [*_PART, "interval", "ts_open", "known_at", "published_at", *_SUMS]
    rows = as_frame(read(lake, BUILT, [*names, "moved_to"], [Where("price_type", "=", "trade")]))
    newest = rows.sort("known_at", "published_at").group_by(*_PART, "interval", "ts_open").last()
    newest = newest.filter(pl.col("moved_to").is_null())
    days = newest.filter(pl.col("interval") == "1d")
    minutes = newest.filter(pl.col("interval") == "1m").group_by(_PART).agg(pl.col(name).sum() for name in _SUMS)
    filed = read(lake, "normalized.trades", [name for name in _TRADES.column_names if name in {*_PART, *NAMED_BY}])
    trades = as_frame(owned(lake, filed, belonging_now(lake)).select(_PART)).group_by(_PART).agg(there=pl.len())
    both = days.join(minutes, on=_PART, how="left", suffix="_of_minutes").join(trades, on=_PART, how="left")
    differs = pl.any_horizontal(pl.col(name).ne_missing(pl.col(f"{name}_of_minutes")) for name in _SUMS)
    wrong = both.filter(differs | (pl.col("trade_count") > pl.col("there").fill_null(0)))
    shown = [
        f"{BUILT}: {row['provider']} {row['feed']} instrument {row['instrument_id']} on {row['session_date']}: the day counts "
        f"{row['trade_count']} trades, its minutes {row['trade_count_of_minutes']}, of {row['there']}"
        for row in wrong.iter_rows(named=True)
    ]
    return len(days), shown
