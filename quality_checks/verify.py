"""Verify: prove that nothing was lost, doubled or made up between the log and the adjusted tables.

Every check counts something in two independent ways: the log against raw, raw against the ledger, the ledger against the
rows, the rows against raw bytes and lineage. Reads only; takes no lease, so beside a running pipeline a check may fail once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from lake.as_of import Settled, ledger
from lake.catalog import Lake
from lake.conditions import Where
from lake.dropped import dropped_of
from lake.epochs import TAG as EPOCH_TAG
from lake.errors import TickhouseError
from lake.fences import fences_of
from lake.heads import Act
from lake.log.log import Log
from lake.publish import held_rows
from lake.scan import misplaced_files, read
from lake.tables import TABLES, PublishedBy, table_named
from lake.values import Vector
from quality_checks.adjusting import ACTIONS, AGREED, BARS, FACTORS
from quality_checks.built_proof import built_bars_add_up
from quality_checks.holds import left_for_good
from quality_checks.promotion import adds_up, tables_of
from quality_checks.raw_proofs import as_frame, captures_known, landed, messages_dense, payloads
from transforms.decode.decoded import FACTS
from transforms.steps import derived_ids

GATED = tuple(name for name in TABLES if name.partition(".")[0] in ("normalized", "adjusted", "reference"))
_SETTLED = (Act.PUBLISH, Act.ADVANCE, Act.RELEASE, Act.REJECT)
_EVENT = ("capture_id", "message_seq", "ordinal")


@dataclass(frozen=True, slots=True)
class Check:
    """One thing proved, or not: how much was looked at, and the first of what is wrong."""

    name: str
    is_ok: bool
    count: int
    faults: tuple[str, ...] = ()


@dataclass(slots=True)
class VerifyReport:
    """Every check, the rows of every table, and what retention dropped of it."""

    checks: list[Check] = field(default_factory=list)
    rows: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, list[dict[str, object]]] = field(default_factory=dict)

    @property
    def is_ok(self) -> bool:
        """True when every check holds."""
        return all(check.is_ok for check in self.checks)

    @property
    def failed(self) -> list[Check]:
        """The checks that do not hold."""
        return [check for check in self.checks if not check.is_ok]

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {
            "is_ok": self.is_ok,
            "checks": [asdict(check) for check in self.checks],
            "rows": self.rows,
            "dropped": self.dropped,
        }


def verify(lake: Lake, log: Log | None = None) -> VerifyReport:
    """Return the report of all checks; with `log` also what was captured against what has landed.

    Never raises for what a check finds: a table that cannot be read is a fault of the checks that read it.
    """
    report = VerifyReport()
    checks: list[tuple[str, Callable[[], tuple[int, Iterable[str]]]]] = [
        ("messages_dense", lambda: messages_dense(lake)),
        ("payloads_unchanged", lambda: payloads(lake)),
        ("captures_known", lambda: captures_known(lake)),
        ("everything_promoted", lambda: _promoted(lake)),
        ("intervals_settled_once", lambda: _settled_once(lake)),
        ("messages_counted", lambda: _messages_counted(lake)),
        ("facts_counted", lambda: _facts_counted(lake)),
        ("facts_once", lambda: _facts_once(lake)),
        ("keys_unique", lambda: _keys_unique(lake)),
        ("rows_published", lambda: _rows_published(lake)),
        ("publications_audited", lambda: _audited(lake)),
        ("holds_readable", lambda: _holds_readable(lake)),
        ("instruments_known", lambda: _instruments_known(lake)),
        ("lineage_complete", lambda: _lineage(lake)),
        ("built_bars_add_up", lambda: built_bars_add_up(lake)),
        ("files_in_their_partition", lambda: _placed(lake)),
        ("no_audit_branch", lambda: _branches(lake)),
    ]
    if log is not None:
        given = log
        checks.insert(0, ("captured_is_landed", lambda: landed(lake, given)))
    for name, check in checks:
        try:
            count, found = check()
            faults = tuple(found)
        except TickhouseError as error:
            count, faults = 0, (f"{type(error).__name__}: {error}",)
        report.checks.append(Check(name, not faults, count, faults[:10]))
    gone = {name: [one.document() for one in dropped_of(lake.table(name))] for name in TABLES}
    report.dropped = {name: told for name, told in gone.items() if told}
    report.rows = {name: read(lake, name, [TABLES[name].column_names[0]]).num_rows for name in TABLES}
    return report


# --- raw and the ledger


def _owners(lake: Lake) -> Iterator[tuple[str, str, Vector]]:
    for table in FACTS:
        for owner, vector in lake.head(table).position.items():
            yield table, owner, vector


def _places(lake: Lake, provider: str) -> pl.DataFrame:
    rows = read(lake, "raw.messages", ["log_partition", "log_offset"], [Where("provider", "=", provider)])
    return as_frame(rows)


def _is_before(places: pl.DataFrame, position: Mapping[str, int]) -> pl.Series:
    partition = [int(key) for key in position]
    reached = pl.DataFrame(
        {"log_partition": partition, "reached": list(position.values())}, schema={"log_partition": pl.Int32, "reached": pl.Int64}
    )
    joined = places.join(reached, on="log_partition", how="left", maintain_order="left")
    return (joined["log_offset"] < joined["reached"].fill_null(0)).alias("is_before")


def _promoted(lake: Lake) -> tuple[int, list[str]]:
    faults, count = [], 0
    for owner in read(lake, "raw.messages", ["provider"])["provider"].unique().to_pylist():
        places = _places(lake, owner)
        if not tables_of(owner):
            faults.append(f"{len(places)} messages of {owner} wait: no feed reads them")
        for table in tables_of(owner):
            behind = _is_before(places, lake.head(table).vector(owner))
            count += len(behind)
            waiting = len(behind) - int(behind.sum())
            if waiting:
                faults.append(f"{table}: {waiting} messages of {owner} wait for promotion")
    return count, faults


def _settled_once(lake: Lake) -> tuple[int, list[str]]:
    """Ledger and open holds together cover [0, position) of each owner, each offset once."""
    faults, count = [], 0
    for table, owner, position in _owners(lake):
        intervals = [(one.before, one.after) for one in ledger(lake, table) if one.owner == owner and one.act in _SETTLED]
        intervals += [(hold.before, hold.after) for hold in lake.head(table).holds if hold.owner == owner]
        by_start = {_plain(before): _plain(after) for before, after in intervals}
        reached, steps = _plain({}), 0
        while reached in by_start and steps < len(intervals):
            reached, steps = by_start[reached], steps + 1
        count += len(intervals)
        if reached != _plain(position) or steps != len(intervals):
            faults.append(
                f"{table}: of {len(intervals)} intervals of {owner}, {steps} join up to {dict(reached)}, not to {position}"
            )
    return count, faults


def _dropped(lake: Lake, table: str, provider: str) -> int:
    """Return how many rows of a provider retention dropped from a table."""
    return sum(one.rows for one in dropped_of(lake.table(table)) if one.provider == provider)


def _plain(vector: Mapping[str, int]) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((key, value) for key, value in vector.items() if value))


def _counts(lake: Lake, table: str, owner: str) -> Counter[str]:
    """Return the counts of all settled intervals and open holds of an owner, added up."""
    total: Counter[str] = Counter()
    for one in _settled(lake, table, owner):
        total.update(one.counts)
    for hold in lake.head(table).holds:
        if hold.owner == owner:
            total.update(hold.counts)
            total.update(
                {"held": hold.counts.get("rows", 0) - hold.counts.get("moved", 0), "held_moved": hold.counts.get("moved", 0)}
            )
    return total


def _settled(lake: Lake, table: str, owner: str) -> list[Settled]:
    return [one for one in ledger(lake, table) if one.owner == owner and one.act in _SETTLED]


def _messages_counted(lake: Lake) -> tuple[int, list[str]]:
    faults, count = [], 0
    for table, owner, position in _owners(lake):
        told = _counts(lake, table, owner)["messages"]
        # Retention drops a message only when every table has read it.
        found = int(_is_before(_places(lake, owner), position).sum()) + _dropped(lake, "raw.messages", owner)
        count += found
        if told != found:
            faults.append(f"{table}: {told} messages of {owner} counted, raw.messages has {found} before its position")
    return count, faults


def _facts_counted(lake: Lake) -> tuple[int, list[str]]:
    """decoded = rows - moved + repeated + quarantined + held, and each of them is really there."""
    faults, count = [], 0
    for table, owner, _ in _owners(lake):
        counts = _counts(lake, table, owner)
        count += counts["decoded"]
        if not adds_up(counts):
            faults.append(f"{table}: counts of {owner} do not add up: {dict(counts)}")
        on_main = read(lake, table, ["provider"], [Where("provider", "=", owner)]).num_rows
        told = counts["rows"] - counts["held"] - counts["held_moved"]
        gone = _dropped(lake, table, owner)
        if on_main + gone != told:
            faults.append(f"{table}: {told} rows of {owner} published, main has {on_main}, retention dropped {gone}")
        refused = left_for_good(lake, table, owner)
        if len(refused) != counts["quarantined"]:
            faults.append(f"{table}: {counts['quarantined']} facts of {owner} counted as quarantined, {len(refused)} are there")
    return count, faults


# --- rows


def _facts_once(lake: Lake) -> tuple[int, list[str]]:
    """No fact stands twice, and none both on main and in quarantine."""
    faults, count = [], 0
    quarantined = as_frame(read(lake, "quality.quarantine", [*_EVENT, "table_name"]))
    for table in FACTS:
        per_run = ["run_id"] if "run_id" in table_named(table).column_names else []
        rows = as_frame(read(lake, table, [*_EVENT, *per_run]))
        count += len(rows)
        twice = len(rows) - rows.select([*_EVENT, *per_run]).n_unique()
        if twice:
            faults.append(f"{table}: {twice} rows stand twice")
        both = rows.join(quarantined.filter(pl.col("table_name") == table), on=list(_EVENT), how="semi")
        if len(both):
            faults.append(f"{table}: {len(both)} rows are on main and in quarantine, the first {both.row(0)}")
    return count, faults


def _keys_unique(lake: Lake) -> tuple[int, list[str]]:
    """A key stands once; in tables whose rows carry their run, once a run: the one published last is in force."""
    faults, count = [], 0
    for name in GATED:
        table = table_named(name)
        per_run = ["run_id"] if table.published_by is PublishedBy.RUN and name != "adjusted.bars_1d" else []
        keys = [*table.key, *per_run]
        rows = as_frame(read(lake, name, keys)).drop_nulls([*table.telling_key, *per_run])
        count += len(rows)
        twice = len(rows) - (rows.n_unique() if len(rows) else 0)
        if twice:
            faults.append(f"{name}: {twice} rows repeat a key {', '.join(keys)}")
    return count, faults


def _rows_published(lake: Lake) -> tuple[int, list[str]]:
    """The ledger says of every row when it was published."""
    faults, count = [], 0
    for name in GATED:
        rows = read(lake, name, ["published_at"])
        count += rows.num_rows
        if rows["published_at"].null_count:
            faults.append(f"{name}: {rows['published_at'].null_count} rows that the ledger does not know")
    return count, faults


def _audited(lake: Lake) -> tuple[int, list[str]]:
    """Every publication passed the gate."""
    runs = read(lake, "quality.gate_runs", ["table_name", "run_id", "verdict"])
    passed = {(t, r) for t, r, v in zip(*(column.to_pylist() for column in runs.columns), strict=True) if v == "passed"}
    faults, count = [], 0
    for name in GATED:
        for one in ledger(lake, name):
            if one.act not in (Act.PUBLISH, Act.RELEASE):
                continue
            count += 1
            run_id = one.run_id if one.act is Act.PUBLISH else f"{one.run_id}-release"
            if (name, run_id) not in passed:
                faults.append(f"{name}: run {run_id} was published without a passed audit")
    return count, faults


def _holds_readable(lake: Lake) -> tuple[int, list[str]]:
    faults, count = [], 0
    for name in FACTS:
        for hold in lake.head(name).holds:
            count += 1
            found = held_rows(lake, hold).num_rows
            if found != hold.row_count:
                faults.append(f"hold {hold.hold_id} lists {hold.row_count} rows, its files hold {found}")
    return count, faults


def _instruments_known(lake: Lake) -> tuple[int, list[str]]:
    known = read(lake, "reference.instruments", ["instrument_id"])["instrument_id"].combine_chunks()
    faults, count = [], 0
    for name in (*FACTS, AGREED, FACTORS, "adjusted.bars_1d", "adjusted.built_bars"):
        used = read(lake, name, ["instrument_id"])["instrument_id"].unique().drop_null()
        count += len(used)
        unknown = used.filter(pc.invert(pc.is_in(used, value_set=known)))
        if len(unknown):
            faults.append(f"{name}: {len(unknown)} instruments are not in reference.instruments, the first {unknown[0]}")
    return count, faults


def _lineage(lake: Lake) -> tuple[int, list[str]]:
    """Every agreed bar and factor names its inputs, and each input is a row."""
    told = as_frame(read(lake, "ops.lineage", ["output_event_id", "input_table", "input_event_id"])).unique()
    outputs = {name: set(derived_ids(table_named(name), read(lake, name)).to_pylist()) for name in (AGREED, FACTORS)}
    faults = []
    made = set(told["output_event_id"].to_list())
    for name, ids in outputs.items():
        lost = ids - made
        if lost:
            faults.append(f"{name}: {len(lost)} rows without lineage, the first {min(lost)}")
    published = outputs[AGREED] | outputs[FACTORS]
    told = told.filter(pl.col("output_event_id").is_in(list(published)))
    inputs = {AGREED: outputs[AGREED], **{name: set(_event_ids(lake, name)) for name in (BARS, ACTIONS)}}
    for (name,), part in told.group_by("input_table"):
        lost = set(part["input_event_id"].to_list()) - inputs.get(str(name), set())
        if lost:
            faults.append(f"{len(lost)} inputs named in {name} are not there, the first {min(lost)}")
    return len(published), faults


def _event_ids(lake: Lake, table: str) -> list[str]:
    rows = read(lake, table, list(_EVENT))
    return pc.binary_join_element_wise(*(pc.cast(rows[name], pa.string()) for name in _EVENT), ":").to_pylist()  # type: ignore[no-any-return]


def _placed(lake: Lake) -> tuple[int, list[str]]:
    """Every data file holds rows of its own partition only: others would be missed by every question that prunes."""
    faults = [f"{name}: {path} holds rows of other partitions" for name in TABLES for path in misplaced_files(lake, name)]
    return len(TABLES), faults


def _branches(lake: Lake) -> tuple[int, list[str]]:
    tables = {name: lake.table(name).metadata for name in GATED}
    left = [(name, ref) for name, now in tables.items() for ref in now.refs if ref not in ("main", EPOCH_TAG, *fences_of(now))]
    return len(GATED), [f"{name}: branch {ref} was left behind" for name, ref in left]
