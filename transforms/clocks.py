"""One instant told in two units: the same trade in milliseconds by a provider's stream, in nanoseconds by its history.

A feed says so (`Feed.coarse_ns`), whoever its provider is. Of such a feed two instants are one when the one that is whole in the
unit is the other cut to it; where an id says that it is the same fact, also the other rounded to it. All else that is told must
be equal; instants that both are finer never are one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import polars as pl

from lake.instants import EPOCH

CLOCK = ("ts_event", "ts_event_nanos")
"""The columns that tell an instant: microseconds, and the nanoseconds beyond them."""
Units = Mapping[tuple[str, str], int]
"""(provider, feed) -> the coarsest unit of its clocks in nanoseconds; who is not named has one clock."""
_NANOS = 1_000


def cut(at: datetime, unit_ns: int) -> datetime:
    """Return an instant cut to a unit: to the microsecond at least."""
    unit = timedelta(microseconds=max(1, unit_ns // _NANOS))
    return EPOCH + (at - EPOCH) // unit * unit


def instant_ns(before: str = "") -> pl.Expr:
    """Return nanoseconds since 1970 of the clock columns, whose names may have something before them; null without an instant."""
    stamp, nanos = (pl.col(before + name) for name in CLOCK)
    return stamp.dt.epoch("us") * _NANOS + nanos.fill_null(0)


def is_same_instant(one: pl.Expr, other: pl.Expr, units: Units) -> pl.Expr:
    """True where two instants in nanoseconds are one, in the unit of each row's provider and feed."""
    unit = pl.lit(1, pl.Int64)
    for (provider, feed), unit_ns in units.items():
        unit = pl.when((pl.col("provider") == provider) & (pl.col("feed") == feed)).then(unit_ns).otherwise(unit)
    return ((one - other).abs() < unit) & ((one % unit == 0) | (other % unit == 0))


def paired(
    told: pl.DataFrame, held: pl.DataFrame, content: Sequence[str], unit_ns: int, *, may_round: bool = False
) -> pl.DataFrame:
    """Return pairs of rows that tell one fact: told, held (their numbers), is_exact. A row stands in one pair at most.

    told, held   rows with `row`, `ns` (not null) and `content`; the first of several alike pair first
    may_round    a whole instant may be the finer one rounded too

    Equal instants pair first, then whole ones with finer ones that cut give them, then with those that rounded do.
    """
    found = [pl.DataFrame(schema={"told": pl.Int64, "held": pl.Int64, "is_exact": pl.Boolean})]
    ns, is_whole = pl.col("ns"), pl.col("ns") % unit_ns == 0
    ways = [(ns, True), (ns // unit_ns, False), ((ns + unit_ns // 2) // unit_ns, False)]
    for place, is_exact in ways if may_round else ways[:2]:
        keys = [*content, "_place", "_side"]
        sides = [
            frame.select(*content, "row", _place=place, _side=side).with_columns(_copy=pl.int_range(pl.len()).over(keys))
            for frame, side in ((told, is_whole), (held, is_whole if is_exact else ~is_whole))
        ]
        pairs = sides[0].join(sides[1], on=[*keys, "_copy"], nulls_equal=True, suffix="_held")
        found.append(pairs.select(told=pl.col("row").cast(pl.Int64), held=pl.col("row_held").cast(pl.Int64), is_exact=is_exact))
        told = told.join(pairs.select("row"), on="row", how="anti")
        held = held.join(pairs.select(row="row_held"), on="row", how="anti")
    return pl.concat(found)


def told_otherwise(frame: pl.DataFrame, content: Sequence[str], units: Units, repeated: pl.Series) -> pl.Series:
    """Return the new rows without a natural key that another capture tells already, in a finer or a coarser unit.

    frame      rows with `content` (provider and feed among it), CLOCK, ts_recv, capture_id, message_seq, ordinal, and `row`:
               below 0 where it stands already
    repeated   the new rows that are repetitions to the last digit

    What was heard first stands. Within a capture every row counts, and of captures the larger count, as of equal instants.
    """
    found = [pl.Series("row", [], pl.Int64)]
    for (provider, feed), unit_ns in units.items():
        mine = frame.filter((pl.col("provider") == provider) & (pl.col("feed") == feed)).with_columns(ns=instant_ns())
        mine = _near(mine, content, unit_ns).sort("ts_recv", "capture_id", "message_seq", "ordinal")
        standing, new = mine.filter(pl.col("row") < 0), mine.filter(pl.col("row") >= 0)
        for told in new.partition_by("capture_id", maintain_order=True):
            others = standing.filter(pl.col("capture_id") != told["capture_id"][0])
            again = paired(told, others, content, unit_ns).filter(~pl.col("is_exact"))["told"]
            found.append(again)
            standing = pl.concat([standing, told.filter(~pl.col("row").is_in(pl.concat([again, repeated]).to_list()))])
    told_again = pl.concat(found).unique()
    return told_again.filter(~told_again.is_in(repeated.to_list()))


def as_held(told: pl.DataFrame, held: pl.DataFrame, content: Sequence[str], unit_ns: int) -> pl.DataFrame:
    """Return facts with the instants by which others tell them: what then differs is another fact.

    told, held   facts with `content`, the columns of CLOCK among it where it tells instants
    """
    if unit_ns == 1 or not set(CLOCK) <= set(content):
        return told
    mine, theirs = (frame.with_row_index("row").with_columns(ns=instant_ns()) for frame in (told, held))
    others = [name for name in content if name not in CLOCK]
    pairs = paired(mine, theirs, others, unit_ns, may_round=True).join(
        theirs.select(held=pl.col("row").cast(pl.Int64), **{f"{name}_held": name for name in CLOCK}), on="held"
    )
    joined = mine.with_columns(pl.col("row").cast(pl.Int64)).join(pairs, left_on="row", right_on="told", how="left")
    return joined.with_columns(pl.coalesce(f"{name}_held", name).alias(name) for name in CLOCK).select(told.columns)


def _near(frame: pl.DataFrame, content: Sequence[str], unit_ns: int) -> pl.DataFrame:
    """Return the rows that may be told in two units: whole instants, and finer ones that cut give one of those."""
    ns, keys = pl.col("ns"), [*content, "_whole"]
    placed = frame.with_columns(_whole=ns // unit_ns * unit_ns)
    whole, finer = placed.filter(ns % unit_ns == 0), placed.filter(ns % unit_ns != 0)
    met = finer.join(whole, on=keys, how="semi", nulls_equal=True)
    return pl.concat([whole.join(met, on=keys, how="semi", nulls_equal=True), met]).drop("_whole")
