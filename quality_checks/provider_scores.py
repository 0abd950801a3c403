"""How good each provider's rows were so far: the share that the row rules and the gate kept. Routing prefers the better."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

import polars as pl

from lake.catalog import Lake
from lake.conditions import Where
from lake.scan import read


def provider_scores(lake: Lake, since: datetime) -> Mapping[str, float]:
    """Return kept rows over all rows, 0 to 1, by provider with history since then.

    A row refused by a rule and every row of an increment that the gate did not pass count against it.
    """
    recently = [Where("recorded_at", ">=", since)]
    runs = pl.DataFrame(pl.from_arrow(read(lake, "quality.gate_runs", ["provider", "verdict", "row_count"], recently)))
    refused = pl.DataFrame(pl.from_arrow(read(lake, "quality.quarantine", ["provider"], recently)))
    rows = runs.with_columns(kept=pl.when(pl.col("verdict") == "passed").then(pl.col("row_count")).otherwise(0))
    judged = rows.group_by("provider").agg(pl.col("row_count").sum(), pl.col("kept").sum())
    out = refused.group_by("provider").agg(refused=pl.len().cast(pl.Int64))
    both = judged.join(out, on="provider", how="full", coalesce=True).fill_null(0)
    whole = pl.col("row_count") + pl.col("refused")
    scored = both.filter(whole > 0).select("provider", score=pl.col("kept") / whole)
    return dict(scored.sort("provider").iter_rows())
