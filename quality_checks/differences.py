"""Differences: what to write so that readers of an adjusted table see the computed rows, and where each row comes from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import polars as pl
import pyarrow as pa

from lake.tables import Table, table_named
from transforms.steps import derived_ids

FACTORS, BARS_1D = "adjusted.factors", "adjusted.bars_1d"
MOVED_TO = "moved_to"


@dataclass(frozen=True, slots=True)
class Change:
    """Rows to append so that the effective rows become the computed ones, and where each comes from.

    source   for each row: the number of the computed row it copies, or null for a row that takes an effect back
    """

    rows: pa.Table
    source: pa.Array


def changes(table: Table, computed: pa.Table, existing: pa.Table, moved: pa.Table | None = None) -> Change:
    """Return what to append beside the effective `existing` rows so that readers see the `computed` ones.

    moved   columns of `table` that tell which rows belong elsewhere by now, and `moved_to`: the instrument; None: nobody moved

    New and differing rows are appended. A key that is not computed any more cannot be deleted: what is in force at its
    known_at is said again under it, so that reading along known_at gives the computed answer; where nothing is in force
    then, a factor is rescinded, a bar that belongs elsewhere is said again with that instrument, and another stays as it was.
    """
    keys = list(table.key)
    chain = [name for name in keys if name != "known_at"]
    new = _frame(table, computed).with_columns(source=pl.int_range(pl.len(), dtype=pl.Int64))
    old = _frame(table, existing).with_columns(old=pl.int_range(pl.len(), dtype=pl.Int64))
    fresh = new.join(old, on=list(table.business_columns), how="anti", nulls_equal=True, maintain_order="left")
    gone = old.join(new, on=keys, how="anti", maintain_order="left").select(*keys, "old")
    in_force = gone.sort("known_at").join_asof(
        new.sort("known_at").select(*keys, "source"), on="known_at", by=chain, strategy="backward", check_sortedness=False
    )
    replaced = in_force.filter(pl.col("source").is_not_null())
    again = _with_known_at(computed.take(replaced["source"].to_arrow()), replaced["known_at"].to_arrow())
    again, is_new = _differing(table, again, old)
    rows = [computed.take(fresh["source"].to_arrow()), again]
    source = [fresh["source"], replaced["source"].filter(is_new)]
    left = existing.take(in_force.filter(pl.col("source").is_null())["old"].to_arrow())
    if table.name == FACTORS or moved is not None:
        taken_back = _rescinded(left) if moved is None or table.name == FACTORS else _moved(left, moved)
        taken_back, _ = _differing(table, taken_back, old)
        rows.append(taken_back)
        source.append(pl.Series("source", [None] * taken_back.num_rows, pl.Int64))
    return Change(pa.concat_tables(rows), pl.concat(source).to_arrow())


def _differing(table: Table, rows: pa.Table, old: pl.DataFrame) -> tuple[pa.Table, pl.Series]:
    """Return the rows that do not stand in `old` as they are, and which they are."""
    frame = _frame(table, rows).with_columns(row=pl.int_range(pl.len(), dtype=pl.Int64))
    kept = frame.join(old, on=list(table.business_columns), how="anti", nulls_equal=True, maintain_order="left")["row"]
    mask = pl.Series("kept", range(rows.num_rows), pl.Int64).is_in(kept.to_list())
    return rows.take(kept.to_arrow()), mask


def _frame(table: Table, rows: pa.Table) -> pl.DataFrame:
    return pl.DataFrame({name: pl.from_arrow(rows[name]) for name in table.business_columns})


def _with_known_at(rows: pa.Table, known_at: pa.Array) -> pa.Table:
    at = rows.schema.get_field_index("known_at")
    return rows.set_column(at, rows.schema.field(at), known_at.cast(rows.schema.field(at).type))


def _rescinded(rows: pa.Table) -> pa.Table:
    for name, value in (("status", "rescinded"), ("price_factor", Decimal(1)), ("volume_factor", Decimal(1))):
        at = rows.schema.get_field_index(name)
        rows = rows.set_column(at, rows.schema.field(at), pa.repeat(pa.scalar(value, rows.schema.field(at).type), rows.num_rows))
    return rows


def _moved(rows: pa.Table, moved: pa.Table) -> pa.Table:
    """Return those of the rows that belong elsewhere, with the instrument they belong to: the first of several."""
    by = [name for name in moved.column_names if name != MOVED_TO]
    told = pl.DataFrame({name: pl.from_arrow(moved[name]) for name in moved.column_names})
    frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in (*by, "instrument_id")}).with_row_index("row")
    found = frame.join(told, on=by).group_by("row", "instrument_id").agg(pl.col(MOVED_TO).min(), is_own=pl.col(MOVED_TO))
    found = found.filter(~pl.col("is_own").list.contains(pl.col("instrument_id"))).sort("row")
    at = rows.schema.get_field_index(MOVED_TO)
    return rows.take(found["row"].to_arrow()).set_column(at, rows.schema.field(at), found[MOVED_TO].to_arrow())


def lineage_of(
    definition: Table, new: pa.Table, source: pa.Array, computed: pa.Table, lineage: pa.Table, run_id: str
) -> pa.Table:
    """Return the lineage of appended rows: that of the computed row each copies, under its own event id."""
    named = pl.DataFrame(
        {
            "output_event_id": pl.from_arrow(derived_ids(definition, computed)),
            "source": pl.Series(range(computed.num_rows), dtype=pl.Int64),
        }
    )
    made = pl.DataFrame({"source": pl.from_arrow(source), "made": pl.from_arrow(derived_ids(definition, new))})
    frame = pl.DataFrame({name: pl.from_arrow(lineage[name]) for name in lineage.column_names})
    joined = frame.join(named, on="output_event_id").join(made, on="source")
    columns = {**{name: joined[name] for name in lineage.column_names}, "output_event_id": joined["made"]}
    told = pa.table({name: columns[name].to_arrow() for name in lineage.column_names}).cast(lineage.schema)
    return named_run(told, run_id)


def named_run(rows: pa.Table, run_id: str) -> pa.Table:
    """Return rows under the name of a run."""
    at = rows.schema.get_field_index("run_id")
    return rows.set_column(at, rows.schema.field(at), pa.repeat(run_id, rows.num_rows))


# --- bars_1d


def with_kept_runs(rows: pa.Table, existing: pa.Table) -> pa.Table:
    """Return rows of adjusted.bars_1d; those that stand already keep the run that first wrote them."""
    definition = table_named(BARS_1D)
    business = list(definition.business_columns)
    old = _frame(definition, existing).with_columns(kept=pl.Series(pl.from_arrow(existing["run_id"])))
    frame = _frame(definition, rows).with_columns(run_id=pl.Series(pl.from_arrow(rows["run_id"])))
    joined = frame.join(old, on=business, how="left", nulls_equal=True, maintain_order="left")
    at = rows.schema.get_field_index("run_id")
    runs = joined.select(pl.coalesce("kept", "run_id"))[:, 0].to_arrow().cast(pa.string())
    return rows.set_column(at, rows.schema.field(at), runs)


def vanished(rows: pa.Table, existing: pa.Table, blocked: Iterable[int]) -> set[int]:
    """Return instruments with existing sessions that are not computed any more; blocked ones stay as they are."""
    keys = ["instrument_id", "session_date"]
    old, new = (pl.DataFrame({name: pl.from_arrow(table[name]) for name in keys}) for table in (existing, rows))
    return set(old.join(new, on=keys, how="anti")["instrument_id"].to_list()) - set(blocked)
