"""Which deliveries add a row: redeliveries collapse, revisions become rows, duplicates are counted once.

Everything here compares *effective* rows: of several rows with one key, the one published last counts (`effective`). A fact
that arrives late can thereby take a key over from a row that was published before, without any row being changed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from lake.tables import Table
from transforms.clocks import CLOCK, Units, instant_ns, is_same_instant, told_otherwise

ENTRY_DATED_FEEDS: tuple[tuple[str, str], ...] = (("ice", "reorg"), ("reference", "membership"))
"""Feeds whose messages say themselves when they were entered: their versions are ordered by known_at, not by delivery."""

_WHO = ("capture_id", "message_seq", "ordinal")
_NAMES = frozenset({"symbol", "mic"})
"""How a provider spells the instrument: a listing that moved to another exchange restates no bar."""


@dataclass(frozen=True, slots=True)
class Revisions:
    """The outcome of `resolve_revisions`: new rows in = (rows - moved) + repeated + refused.

    rows       rows to publish, in the table's schema, known_at final
    repeated   new rows that equal the version before them
    moved      rows of `rows` that were published before under an earlier known_at, which a late arrival takes over
    restated   those of `rows` that change a final version known before: what only tells more than it did changes nothing
    refused    new rows that differ from a version but cannot be ordered against it: no delivery instant is known
    """

    rows: pa.Table
    repeated: int
    moved: int
    restated: pa.Table
    refused: pa.Table


@dataclass(frozen=True, slots=True)
class Distinct:
    """The outcome of `distinct_facts`: new rows in = rows + repeated + conflicting."""

    rows: pa.Table
    repeated: int
    conflicting: pa.Table


def effective(table: Table, rows: pa.Table) -> pa.Table:
    """Return the rows in force: of each key the one published last; rows without a key all stay.

    rows   of `table`, with a column `published_at` more (null: being published now, so last); any order

    Returns the same columns, in the order of the first appearance of each key.
    """
    return rows.take(_last_published(table, rows))


def _last_published(table: Table, rows: pa.Table) -> pa.Array:
    keys = list(table.key)
    frame = _frame(rows, [*keys, "published_at"]).with_columns(row=pl.int_range(pl.len()))
    has_key = pl.all_horizontal(pl.col(name).is_not_null() for name in table.telling_key)
    keyed = (
        frame.filter(has_key)
        .sort("published_at", "row", nulls_last=True)
        .group_by(keys)
        .agg(pl.col("row").last(), first=pl.col("row").min())
    )
    keyless = frame.filter(~has_key).select("row", first=pl.col("row"))
    return pl.concat([keyed.select("row", "first"), keyless]).sort("first")["row"].to_arrow()


def collapsed(table: Table, rows: pa.Table) -> pa.Table:
    """Return effective rows without those that only repeat the version known before: what readers see change.

    Two histories of the same facts that landed in another order have equal collapsed rows.
    """
    chain, content = _chain(table), _content(table)
    frame = (
        _frame(rows, [*chain, *content, "known_at"])
        .with_columns(row=pl.int_range(pl.len()))
        .sort(*chain, "known_at", nulls_last=True)
    )
    return rows.take(frame.filter(~_repeats(chain, content))["row"].sort().to_arrow())


def resolve_revisions(
    new: pa.Table,
    existing: pa.Table,
    table: Table,
    entry_dated: Collection[tuple[str, str]] = ENTRY_DATED_FEEDS,
) -> Revisions:
    """Return the rows to publish so that bars or actions hold every version once.

    new        normalized rows of `table` (normalized.bars or .corporate_actions), any order
    existing   effective rows of the same chains (more do no harm), any order; columns beyond the table's are ignored

    A chain is what shares the key but for known_at. Its versions are ordered by arrival: the later of known_at and
    delivered_at (entry-dated feeds: known_at), then capture, message and ordinal. A delivery equal to the version before adds
    nothing. The first version keeps its known_at, and so does one whose known_at is later than the version before, like the
    final bar after a partial one; any other differing version became known when it was delivered.

    The order within one call never matters. Over several calls the `collapsed` rows end the same in any order too, with one
    exception: a version that arrives late, between a version and a repetition of it that added no row (1, then 2 late, after
    1 was seen again), stays the last, for nothing tells any more that 1 came back. Promote a backlog in one call.
    """
    schema = table.arrow_schema()
    names = list(table.column_names)
    both = pa.concat_tables([existing.select(names).cast(schema), new.select(names).cast(schema)])
    chain, content = _chain(table), _content(table)
    held = existing.num_rows
    columns = [*dict.fromkeys([*chain, *content, "provider", "feed", "known_at", "delivered_at", *_WHO])]
    frame = _frame(both, columns).with_columns(row=pl.int_range(pl.len()))
    frame = frame.with_columns(is_new=pl.col("row") >= held, arrival=_arrival(entry_dated), is_final=_is_final(table))
    touched = frame.filter(pl.col("is_new")).select(chain).unique()
    frame = frame.join(touched, on=chain, how="semi", nulls_equal=True).sort(*chain, "arrival", "is_new", *_WHO, nulls_last=False)
    starts = pl.struct(chain).rle_id()
    frame = frame.select(
        "row", "is_new", "known_at", "delivered_at", "is_final",
        chain=starts, is_repeat=_repeats(chain, content), adds_only=_adds_only(chain, content),
    )  # fmt: skip
    return _published(both, new.num_rows, frame)


def _published(both: pa.Table, new_count: int, frame: pl.DataFrame) -> Revisions:
    """Walk the versions chain by chain and place each on the timeline of knowledge."""
    rows: list[int] = []
    known: list[object] = []
    moved = refused_count = 0
    restated: list[int] = []
    refused: list[int] = []
    current = -1
    last_known = None
    was_final = was_refused = False
    runs = frame.with_columns(
        run=((~pl.col("is_repeat")) | (pl.col("chain") != pl.col("chain").shift(1))).fill_null(True).cum_sum()
    )
    members = runs.group_by("run", maintain_order=True).agg(
        pl.all().first(),
        pl.col("known_at").min().alias("natural"),
        held_at=pl.col("known_at").filter(~pl.col("is_new")),
        new=pl.col("row").filter("is_new"),
    )
    for run in members.iter_rows(named=True):
        is_first = run["chain"] != current
        if is_first:
            current, last_known, was_final, was_refused = run["chain"], None, False, False
        natural = run["natural"] if is_first else run["known_at"]
        if last_known is None or natural > last_known:
            placed = natural
        elif run["delivered_at"] is not None and run["delivered_at"] > last_known:
            placed = run["delivered_at"]
        else:
            refused += run["new"]
            refused_count += len(run["new"])
            was_refused = True
            continue
        if placed not in run["held_at"]:
            rows.append(run["row"])
            known.append(placed)
            moved += not run["is_new"]
            if was_final and (was_refused or not run["adds_only"]):
                restated.append(len(rows) - 1)
        last_known, was_final, was_refused = placed, run["is_final"], False
    published = both.take(pa.array(rows, pa.int64()))
    place = published.schema.get_field_index("known_at")
    published = published.set_column(place, published.schema.field(place), pa.array(known, published.schema.field(place).type))
    return Revisions(
        rows=published,
        repeated=new_count - (len(rows) - moved) - refused_count,
        moved=moved,
        restated=published.take(pa.array(restated, pa.int64())),
        refused=both.take(pa.array(refused, pa.int64())),
    )


def distinct_facts(
    new: pa.Table,
    existing: pa.Table,
    table: Table,
    state_feeds: Collection[tuple[str, str]] = frozenset(),
    units: Units | None = None,
) -> Distinct:
    """Return the new trades, quotes or book events, each once.

    new           normalized rows, any order
    existing      rows of `table` that may be met again (at least the key and business columns), effective
    state_feeds   (provider, feed) whose messages each tell what stands, not what happened (`Feed.tells_state`)
    units         of feeds whose clocks differ by channel: an instant and the same told coarser are one (transforms/clocks.py)

    With a natural key: the same key and content is a repetition, the same key and other content a conflict; the row that stands
    already wins, then the lowest (ts_recv, capture, message, ordinal). Without one: every row of a capture counts (of a state
    feed: of a message, for the next one tells the same state again), and over captures (messages) the largest multiplicity of
    the same content, never the sum; a row without a venue clock is never a repetition. What stands keeps the instant it has.
    """
    units = {} if units is None else units
    keys, content = list(table.key), [name for name in table.business_columns if name not in table.key]
    names = [*keys, *content, *_WHO, "ts_recv"]
    frame = pl.concat([_frame(existing, names), _frame(new, names)]).with_columns(row=pl.int_range(pl.len()) - existing.num_rows)
    has_key = pl.all_horizontal(pl.col(name).is_not_null() for name in table.telling_key)
    telling = [name for name in keys if frame[name].n_unique() > 1] or keys[:1]  # a constant tells no key from another
    keyed = _rivals(frame.filter(has_key), telling)
    firsts = keyed.filter(pl.int_range(pl.len()).over(telling) == 0)
    judged = keyed.filter(pl.col("row") >= 0).join(
        firsts.select(*telling, pl.col("row").alias("winner"), *(pl.col(name).alias(f"won_{name}") for name in content)),
        on=telling,
        nulls_equal=True,
    )
    judged = judged.filter(pl.col("row") != pl.col("winner"))
    is_same = _is_same(content, units)
    repeated = judged.filter(is_same)["row"]
    conflicting = judged.filter(~is_same)["row"]
    keyless = frame.filter(~has_key & pl.col("ts_event").is_not_null())
    again = _beyond_multiplicity(keyless, [*keys, *content], state_feeds)
    if units:
        told = [name for name in (*keys, *content) if name not in CLOCK]
        again = pl.concat([again.cast(pl.Int64), told_otherwise(keyless, told, units, again)])
    dropped = pl.concat([repeated, conflicting, again]).cast(pl.Int64)
    kept = pl.Series("row", range(new.num_rows), pl.Int64) if len(dropped) else None
    rows = new if kept is None else new.take(kept.filter(~kept.is_in(dropped.to_list())).to_arrow())
    return Distinct(rows, len(repeated) + len(again), new.take(conflicting.sort().cast(pl.Int64).to_arrow()))


def _is_same(content: Sequence[str], units: Units) -> pl.Expr:
    """True where a row tells what the row that won its key tells: all equal, and its instant, if not equal, coarser or finer."""
    alike = {name: pl.col(name).eq_missing(pl.col(f"won_{name}")) for name in content}
    if not units:
        return pl.all_horizontal(alike.values())
    near = is_same_instant(instant_ns(), instant_ns("won_"), units).fill_null(False)
    rest = pl.all_horizontal(same for name, same in alike.items() if name not in CLOCK)
    return rest & (pl.all_horizontal(alike[name] for name in CLOCK) | near)


def _rivals(frame: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Return the rows whose key may stand more than once, those that stand first. Equal keys hash alike; the caller compares."""
    hashed = frame.with_columns(hash=pl.struct(keys).hash())
    rivals = hashed.filter(pl.col("hash").is_duplicated()).drop("hash")
    return rivals.with_columns(is_new=pl.col("row") >= 0).sort("is_new", "ts_recv", *_WHO)


def _beyond_multiplicity(frame: pl.DataFrame, content: list[str], state_feeds: Collection[tuple[str, str]]) -> pl.Series:
    """Return the new rows without a natural key that another capture, or another telling of the same state, holds already.

    The rows that stand are the copies 0, 1, 2 ... of their content. What is told anew counts from where its own capture
    (message) left off, so a batch may end anywhere within a capture.
    """
    told_in = [*content, "capture_id", "telling"]
    ordered = _rivals(frame, content).with_columns(telling=pl.when(_is_of(state_feeds)).then("message_seq"))
    standing = ordered.with_columns(copy=pl.when(~pl.col("is_new")).then(pl.int_range(pl.len()).over(content)))
    counted = standing.with_columns(
        copy=pl.when(pl.col("is_new"))
        .then(pl.int_range(pl.len()).over([*told_in, "is_new"]) + (pl.col("copy").max().over(told_in) + 1).fill_null(0))
        .otherwise("copy")
    )
    later = counted.filter(pl.int_range(pl.len()).over([*content, "copy"]) > 0)
    return later.filter(pl.col("row") >= 0)["row"]


def _chain(table: Table) -> list[str]:
    return [name for name in table.key if name != "known_at"]


def _content(table: Table) -> list[str]:
    return [name for name in table.business_columns if name not in table.key and name not in _NAMES]


def _frame(rows: pa.Table, names: Sequence[str]) -> pl.DataFrame:
    return pl.DataFrame({name: pl.from_arrow(rows[name]) for name in names})


def _repeats(chain: list[str], content: list[str]) -> pl.Expr:
    """True where a row, sorted within its chain, equals the row before it."""
    return pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).shift(1)) for name in [*chain, *content]) & (
        pl.int_range(pl.len()) > 0
    )


def _adds_only(chain: list[str], content: list[str]) -> pl.Expr:
    """True where a row, sorted within its chain, tells all that the row before it told, and nothing else of it."""
    before = {name: pl.col(name).shift(1) for name in [*chain, *content]}
    return pl.all_horizontal(was.is_null() | pl.col(name).eq_missing(was) for name, was in before.items()) & (
        pl.int_range(pl.len()) > 0
    )


def _arrival(entry_dated: Collection[tuple[str, str]]) -> pl.Expr:
    return pl.when(_is_of(entry_dated)).then("known_at").otherwise(pl.max_horizontal("known_at", "delivered_at"))


def _is_of(feeds: Collection[tuple[str, str]]) -> pl.Expr:
    return pl.any_horizontal(
        pl.lit(False), *((pl.col("provider") == provider) & (pl.col("feed") == feed) for provider, feed in feeds)
    )


def _is_final(table: Table) -> pl.Expr:
    return pl.col("is_final") if "is_final" in table.column_names else pl.lit(True)
