"""Which version of a fact holds: the chain of its versions, as the publications put them on main one after the other.

Of rows with one key the one published last is in force; of a fact's rows in force the one known last holds. A version that
arrives late and was known earlier than the one that holds is told and taken back at once: it never held here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from lake.tables import Table
from lake.values import event_id
from serving import formats
from transforms.steps import derived_ids

SOURCE = ("capture_id", "message_seq", "ordinal")
Chain = tuple[object, ...]
"""What the versions of one fact share: the key but for known_at; without known_at in the key, the event id."""


@dataclass(frozen=True, slots=True)
class Version:
    """One row as a version of its fact; `revision` is its number in the chain, `row` its place in the table given."""

    event_id: str
    revision: int
    known_at: object
    at: object
    row: int
    is_new: bool


@dataclass(frozen=True, slots=True)
class Turn:
    """What a new version does: it takes the place of `before`, or is late and leaves `holding` where it is."""

    version: Version
    before: Version | None = None
    holding: Version | None = None


def ids_of(table: Table, rows: pa.Table) -> list[str]:
    """Return the event id of each row: of a fact where it came from, of a derived row its table and key."""
    if table.namespace == "normalized":
        columns = [rows[name].to_pylist() for name in SOURCE]
        return [event_id(capture, seq, ordinal) for capture, seq, ordinal in zip(*columns, strict=True)]
    found: list[str] = derived_ids(table, rows).to_pylist()
    return found


def has_chains(table: Table) -> bool:
    """Return whether facts of a table have versions."""
    return "known_at" in table.key


def chains(table: Table, rows: pa.Table, ranks: Mapping[str, int], new_from: int) -> dict[Chain, list[Version]]:
    """Return the versions of each fact in the order published; rows of runs without a rank are left out.

    ranks      run id -> number of its publication
    new_from   versions published as this number or later are new
    """
    names = [name for name in table.key if name != "known_at"]
    stamp = "ts_open" if "ts_open" in table.column_names else "known_at"
    frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in [*names, "known_at", "run_id"]}).with_columns(
        event_id=pl.Series(ids_of(table, rows), dtype=pl.String),
        at=pl.Series(formats.columns(rows.select([stamp]))[stamp], dtype=pl.String),
        row=pl.int_range(pl.len()),
    )
    ranked = pl.DataFrame({"run_id": list(ranks), "rank": list(ranks.values())}, schema={"run_id": pl.String, "rank": pl.Int64})
    frame = frame.join(ranked, on="run_id", how="inner").sort("rank", "known_at", "event_id")
    found: dict[Chain, list[Version]] = {}
    columns = [*names, "event_id", "known_at", "at", "row", "rank"]
    for *chain, name, known_at, at, row, rank in frame.select(columns).iter_rows():
        versions = found.setdefault(tuple(chain), [])
        versions.append(Version(name, len(versions), known_at, at, row, rank >= new_from))
    return found


def turns(versions: list[Version]) -> Iterator[Turn]:
    """Yield what each new version of a chain does, in order."""
    holding: Version | None = None
    for version in versions:
        is_late = holding is not None and _known(version) < _known(holding)
        if version.is_new:
            yield Turn(version, holding=holding) if is_late else Turn(version, before=holding)
        if not is_late:
            holding = version


def holding_of(versions: list[Version]) -> Version | None:
    """Return the version of a chain that holds."""
    holding: Version | None = None
    for version in versions:
        if holding is None or _known(version) >= _known(holding):
            holding = version
    return holding


def _known(version: Version) -> float:
    return version.known_at.timestamp()  # type: ignore[attr-defined, no-any-return]  # a datetime, required in every chain
