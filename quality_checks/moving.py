"""Moving: what is told and published beside derived rows that belong to another instrument since a join or change was told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl
import pyarrow as pa

from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import to_datetime
from lake.publish import stage
from lake.scan import read
from lake.staging import Increment
from lake.tables import table_named
from lake.values import Vector, instrument_id_of
from quality_checks.differences import MOVED_TO
from quality_checks.naming import NAMES, belonging_at, owned, renamed_between
from quality_checks.news import stamped
from quality_checks.publishing import run_name, settle
from transforms.belonging import NAMED_BY, Belonging, Filed
from transforms.steps import Finding, finding_rows

RESTATED = "instrument_restated"
"""What a finding about moved rows is called."""
_OWNER, _ROWS = "names", "rows"
_INSTRUMENTS, _LISTINGS = "reference.instruments", "reference.listings"


def publish_owners(lake: Lake, tables: Sequence[str], before: Vector, after: Vector) -> None:
    """Publish instruments and listings that rows of `tables` belong to by what was told between two positions.

    What main knows already stays. They take name, class and currency from the instrument the rows were filed under. Safe to
    repeat.
    """
    renamed = renamed_between(lake, before, after)
    if not renamed:
        return
    with lake.state.lease(_INSTRUMENTS), lake.state.lease(_LISTINGS):
        whose = belonging_at(lake, after)
        _publish_unknown(lake, whose, _owners(lake, tables, whose, renamed))


def _publish_unknown(lake: Lake, whose: Belonging, owners: set[int]) -> None:
    """Publish what main does not know of some owners of rows."""
    filed = {row["instrument_id"]: row for row in read(lake, _INSTRUMENTS).to_pylist()}
    listed = {(row["instrument_id"], row["provider"], row["symbol"]): row for row in read(lake, _LISTINGS).to_pylist()}
    instruments: dict[int, dict[str, object]] = {}
    listings: dict[Filed, dict[str, object]] = {}
    for key, name in sorted(whose.names.items()):
        for era in whose.eras.eras.get(name, ()):
            owner = instrument_id_of(era.identity)
            if owner not in owners or key not in listed or key[0] not in filed:
                continue
            if (owner, *key[1:]) not in listed:
                listings[owner, key[1], key[2]] = {**listed[key], "instrument_id": owner}
            if owner not in filed:
                instruments.setdefault(owner, {**filed[key[0]], "instrument_id": owner, "identity": era.identity})
    _publish(lake, _INSTRUMENTS, list(instruments.values()))
    _publish(lake, _LISTINGS, list(listings.values()))


def _owners(lake: Lake, tables: Sequence[str], whose: Belonging, renamed: set[int]) -> set[int]:
    """Return the instruments that rows filed under some instruments, or under a name of theirs, belong to."""
    found: set[int] = set()
    mine = Where("instrument_id", "in", sorted(whose.sources(renamed)))
    for table in tables:
        columns = [name for name in table_named(table).column_names if name in NAMED_BY]
        found.update(owned(lake, read(lake, table, columns, [mine]), whose)["instrument_id"].unique().to_pylist())
    return found


def _publish(lake: Lake, table: str, found: Sequence[dict[str, object]]) -> None:
    if not found:
        return
    rows = pa.Table.from_pylist(list(found), schema=table_named(table).arrow_schema())
    before = lake.head(table).vector(_OWNER)
    after = {_ROWS: before.get(_ROWS, 0) + rows.num_rows}
    run_id = run_name(table, _OWNER, before, after)
    staged = stage(
        lake, Increment(table, _OWNER, stamped(table, rows, run_id), before, after, run_id, (), {_ROWS: rows.num_rows})
    )
    settle(lake, staged, may_hold=False)


def moved_findings(lake: Lake, table: str, parts: Iterable[pa.Table], position: Vector) -> pa.Table:
    """Return a finding for each instrument whose derived rows belong to another since: how many, of when, by which name.

    parts   rows of `table` about to be published; those with `moved_to` left their instrument
    """
    wanted = ["instrument_id", MOVED_TO, "symbol", "session_date"]
    frames = [pl.DataFrame({name: pl.from_arrow(rows[name]) for name in wanted}) for rows in parts if rows.num_rows]
    moved = pl.concat(frames).drop_nulls(MOVED_TO) if frames else pl.DataFrame()
    if not len(moved):
        return table_named("quality.findings").arrow_schema().empty_table()
    identities = dict(zip(*(c.to_pylist() for c in read(lake, _INSTRUMENTS, ["instrument_id", "identity"]).columns), strict=True))
    told = ".".join(str(position[name]) for name in NAMES if name in position)
    day = pl.col("session_date")
    groups = moved.group_by("instrument_id", MOVED_TO).agg(
        pl.len().alias("count"), pl.col("symbol").unique().sort(), day.min().alias("first"), day.max().alias("last")
    )
    findings = [
        Finding(
            f"{table}/{row['instrument_id']}/{row[MOVED_TO]}/{told}", RESTATED, "warning", table, None, row["instrument_id"],
            f"{row['count']} bars of {', '.join(row['symbol'])} from {row['first']} to {row['last']} are "
            f"{identities.get(row[MOVED_TO])}'s, no more {identities.get(row['instrument_id'])}'s: "
            "a join of instruments or a change of symbols was told after they came",
        )
        for row in groups.sort("instrument_id", MOVED_TO).iter_rows(named=True)
    ]  # fmt: skip
    return finding_rows(findings, "", to_datetime(lake.clock()))
