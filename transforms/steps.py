"""The list of steps that make rows from rows, each with the version that lineage and rebuilds name.

A version changes when the same inputs may give other rows. Derived rows are named here too: `table/key…`, instants as
`2020-08-31T20:00:00Z`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import polars as pl
import pyarrow as pa

from lake.errors import NotFoundError
from lake.tables import Table
from lake.tables.ops import LINEAGE
from lake.tables.quality import FINDINGS
from transforms.calendars import STAMP
from transforms.decode.decoded import BARS, CORPORATE_ACTIONS, FACTS, QUOTES, TRADE_EVENTS, TRADES

_INSTANT = "%Y-%m-%dT%H:%M:%S%.fZ"


@dataclass(frozen=True, slots=True)
class Step:
    """One named step: rows of `inputs` in, rows of `outputs` out."""

    name: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    doc: str

    @property
    def identity(self) -> str:
        """Name and version, like `agree/1`: what ops.lineage calls the step."""
        return f"{self.name}/{self.version}"


_PRICED = (BARS, CORPORATE_ACTIONS)
BUILT_FROM = (TRADES, TRADE_EVENTS, QUOTES)

STEPS = (
    Step("decode", 1, ("raw.messages",), FACTS, "Payload bytes to candidate rows; float images restored to decimals."),
    Step("normalize", 1, ("raw.messages",), FACTS, "Identity, session and knowledge time of each candidate."),
    Step("revise", 1, FACTS, FACTS, "Redeliveries collapse, differing deliveries become versions."),
    Step("as_traded", 1, _PRICED, (), "A provider's split adjustment undone by best knowledge."),
    Step("agree", 1, _PRICED, ("adjusted.agreed_bars",), "One feed wins the whole bar; the others agree or not."),
    Step(
        "factors",
        1,
        ("adjusted.agreed_bars", CORPORATE_ACTIONS),
        ("adjusted.factors",),
        "The effect of each action along known_at.",
    ),
    Step("adjust", 1, ("adjusted.agreed_bars", "adjusted.factors"), ("adjusted.bars_1d",), "Exact products, rounded once."),
    Step("build", 1, BUILT_FROM, ("adjusted.built_bars",), "Bars of a feed's trades and quotes, by session and condition."),
)
"""Every step, in the order of the data."""


def step_named(name: str) -> Step:
    """Return the step called `name`. Raises NotFoundError."""
    for step in STEPS:
        if step.name == name:
            return step
    raise NotFoundError(f"no step {name!r}; there are {', '.join(step.name for step in STEPS)}")


def derived_ids(table: Table, rows: pa.Table) -> pa.Array:
    """Return the event id of each derived row: its table and key values, joined by slashes.

    For example `adjusted.factors/9090215904647546179/2020-08-31/split/2020-07-30T04:00:00Z`.
    """
    frame = pl.DataFrame({name: pl.from_arrow(rows[name]) for name in table.key})
    parts = [
        pl.col(name).dt.to_string(_INSTANT) if table.column(name).type == "timestamptz" else pl.col(name).cast(pl.String)
        for name in table.key
    ]
    return frame.select(pl.concat_str(pl.lit(table.name), *parts, separator="/"))[:, 0].to_arrow().cast(pa.string())


@dataclass(slots=True)
class Lineage:
    """Inputs of derived rows while they are collected."""

    step: str
    table: str
    outputs: list[int]
    input_tables: list[str]
    inputs: list[str]
    roles: list[str]

    @classmethod
    def of(cls, step: str, table: str) -> Lineage:
        """Return an empty collection for the outputs of a step."""
        return cls(step_named(step).identity, table, [], [], [], [])

    def add(self, output: int, input_table: str, input_id: str, role: str) -> None:
        """Say that output row number `output` used an input row."""
        self.outputs.append(output)
        self.input_tables.append(input_table)
        self.inputs.append(input_id)
        self.roles.append(role)

    def add_all(self, outputs: Iterable[int], input_table: str, input_ids: Sequence[str], role: str) -> None:
        """Say that each output row used one input row of the same table, in the same role."""
        self.outputs.extend(outputs)
        self.input_tables.extend([input_table] * len(input_ids))
        self.inputs.extend(input_ids)
        self.roles.extend([role] * len(input_ids))

    def rows(self, output_ids: pa.Array, run_id: str, recorded_at: datetime) -> pa.Table:
        """Return rows of ops.lineage; `output_ids` names the output rows by number."""
        count = len(self.outputs)
        columns = {
            "run_id": pa.array([run_id] * count, pa.string()),
            "step": pa.array([self.step] * count, pa.string()),
            "table_name": pa.array([self.table] * count, pa.string()),
            "output_event_id": output_ids.take(pa.array(self.outputs, pa.int64())),
            "input_table": pa.array(self.input_tables, pa.string()),
            "input_event_id": pa.array(self.inputs, pa.string()),
            "role": pa.array(self.roles, pa.string()),
            "recorded_at": pa.array([recorded_at] * count, STAMP),
        }
        return pa.Table.from_arrays([columns[name] for name in LINEAGE.column_names], schema=LINEAGE.arrow_schema())


@dataclass(frozen=True, slots=True)
class Finding:
    """Something kept that deserves a look; becomes a row of quality.findings."""

    event_id: str
    kind: str
    severity: str
    table: str
    provider: str | None
    instrument_id: int
    detail: str


def finding_rows(findings: Sequence[Finding], run_id: str, recorded_at: datetime) -> pa.Table:
    """Return rows of quality.findings, each (event_id, kind) once."""
    rows = {
        (one.event_id, one.kind): {
            "event_id": one.event_id,
            "kind": one.kind,
            "severity": one.severity,
            "table_name": one.table,
            "provider": one.provider,
            "instrument_id": one.instrument_id,
            "detail": one.detail,
            "recorded_at": recorded_at,
            "run_id": run_id,
        }
        for one in findings
    }
    return pa.Table.from_pylist(list(rows.values()), schema=FINDINGS.arrow_schema())
