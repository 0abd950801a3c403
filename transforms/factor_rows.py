"""Effects of actions as tables: rows of adjusted.factors, their lineage, and what was refused."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import date, datetime
from fractions import Fraction
from typing import Any

import pyarrow as pa

from lake.tables.adjusted import AGREED_BARS, FACTORS
from lake.tables.quality import QUARANTINE
from transforms.actions import SPLIT, Version
from transforms.exact import from_unscaled, times
from transforms.steps import Finding, Lineage, derived_ids, finding_rows

ACTIONS = "normalized.corporate_actions"
_FACTOR_SCALE = 18


@dataclass(frozen=True, slots=True)
class Blocked:
    """An action whose factor is impossible; `ratio_old` and `ratio_new` are 0 where it tells no ratio."""

    instrument_id: int
    ex_date: date
    kind: str
    value: str
    event_id: str
    ratio_old: int = 0
    ratio_new: int = 0

    @property
    def is_ratio(self) -> bool:
        """Whether it could be applied if somebody said so."""
        return self.ratio_old > 0 and self.ratio_new > 0

    def document(self) -> dict[str, object]:
        """Return it as JSON values."""
        return {**asdict(self), "ex_date": self.ex_date.isoformat()}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> Blocked:
        """Return what `document` tells of."""
        return cls(**{**document, "ex_date": date.fromisoformat(document["ex_date"])})


@dataclass(frozen=True, slots=True)
class Factors:
    """The outcome.

    rows       rows of adjusted.factors, ordered by instrument, ex_date, kind and known_at
    lineage    rows of ops.lineage
    findings   rows of quality.findings: feeds that contradict each other
    refused    rows of quality.quarantine: actions in force that give no factor (impossible, no reference close, ...)
    waiting    the impossible factors: nothing of their instruments may be published until they are resolved
    """

    rows: pa.Table
    lineage: pa.Table
    findings: pa.Table
    refused: pa.Table
    waiting: tuple[Blocked, ...]

    @property
    def blocked(self) -> frozenset[int]:
        """The instruments with an impossible factor."""
        return frozenset(one.instrument_id for one in self.waiting)


@dataclass(frozen=True, slots=True)
class Effect:
    """What an event does, as believed at one moment; `versions[0]` names the row."""

    kind: str
    ex_date: date
    status: str
    price: Fraction
    volume: Fraction
    method: str
    ratio_old: int | None = None
    ratio_new: int | None = None
    amount_e9: int | None = None
    ref_close_e9: int | None = None
    ref_session: date | None = None
    versions: tuple[Version, ...] = field(default=(), compare=False)
    compared: tuple[Version, ...] = field(default=(), compare=False)
    ref_row: int | None = field(default=None, compare=False)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why an event gives no factor now."""

    rule: str
    value: str
    expected: str
    versions: tuple[Version, ...]
    is_blocking: bool = False


@dataclass(slots=True)
class Outcome:
    """What walking the actions of many instruments gave: (instrument_id, known_at, effect), refusals, findings."""

    effects: list[tuple[int, datetime, Effect]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)


def as_tables(outcome: Outcome, daily: pa.Table, run_id: str, recorded_at: datetime) -> Factors:
    """Return the tables of an outcome; `daily` holds the agreed bars that `ref_row` counts."""
    effects = sorted(outcome.effects, key=lambda item: (item[0], item[2].ex_date, item[2].kind, item[1]))
    rows = _factor_rows(effects, run_id)
    lineage = Lineage.of("factors", FACTORS.name)
    used = sorted({effect.ref_row for _, _, effect in effects if effect.ref_row is not None})
    names = dict(zip(used, derived_ids(AGREED_BARS, daily.take(pa.array(used, pa.int64()))).to_pylist(), strict=True))
    for number, (_, _, effect) in enumerate(effects):
        for version in effect.versions:
            lineage.add(number, ACTIONS, version.event_id, "split" if version.kind == SPLIT else "dividend")
        for version in effect.compared:
            lineage.add(number, ACTIONS, version.event_id, "compared")
        if effect.ref_row is not None:
            lineage.add(number, AGREED_BARS.name, names[effect.ref_row], "reference_close")
    return Factors(
        rows=rows,
        lineage=lineage.rows(derived_ids(FACTORS, rows), run_id, recorded_at),
        findings=finding_rows(outcome.findings, run_id, recorded_at),
        refused=_quarantine(outcome.refusals, run_id, recorded_at),
        waiting=tuple(_blocked(one) for one in outcome.refusals if one.is_blocking),
    )


def _blocked(refusal: Refusal) -> Blocked:
    first = refusal.versions[0]
    ratio = first.ratio if first.kind == SPLIT else None
    old, new = (0, 0) if ratio is None else (ratio.denominator, ratio.numerator)
    return Blocked(first.instrument_id, first.ex_date, first.kind, refusal.value, first.event_id, old, new)


def _factor_rows(effects: list[tuple[int, datetime, Effect]], run_id: str) -> pa.Table:
    """Return rows of adjusted.factors."""
    told = [effect for _, _, effect in effects]
    firsts = [effect.versions[0] for effect in told]
    unit = 10**_FACTOR_SCALE

    def factor(values: Iterable[Fraction]) -> pa.Array:
        return from_unscaled([times([unit], value)[0] for value in values], FACTORS.column("price_factor").arrow_type)

    made: Mapping[str, object] = {
        "instrument_id": [instrument_id for instrument_id, _, _ in effects],
        "ex_date": [effect.ex_date for effect in told],
        "kind": [effect.kind for effect in told],
        "status": [effect.status for effect in told],
        "price_factor": factor(effect.price for effect in told),
        "volume_factor": factor(effect.volume for effect in told),
        "ratio_old": [effect.ratio_old for effect in told],
        "ratio_new": [effect.ratio_new for effect in told],
        "amount": from_unscaled([effect.amount_e9 for effect in told], FACTORS.column("amount").arrow_type),
        "ref_close": from_unscaled([effect.ref_close_e9 for effect in told], FACTORS.column("ref_close").arrow_type),
        "ref_session_date": [effect.ref_session for effect in told],
        "method": [effect.method for effect in told],
        "inputs_hash": [_inputs_hash(effect) for effect in told],
        "known_at": [known_at for _, known_at, _ in effects],
        "provider": [version.provider for version in firsts],
        "action_key": [version.action_key for version in firsts],
        "capture_id": [version.capture_id for version in firsts],
        "message_seq": [version.message_seq for version in firsts],
        "ordinal": [version.ordinal for version in firsts],
        "run_id": [run_id] * len(effects),
    }
    arrays = [
        pa.array(made[column.name], column.arrow_type) if isinstance(made[column.name], list) else made[column.name]
        for column in FACTORS.columns
    ]
    return pa.Table.from_arrays(arrays, schema=FACTORS.arrow_schema())


def _inputs_hash(effect: Effect) -> str:
    """Return the SHA-256 of the values an effect follows from; ids of captures are none of them."""
    values = (effect.method, effect.status, effect.kind, effect.ex_date, effect.ratio_old, effect.ratio_new)
    values_of_cash = (effect.amount_e9, effect.ref_close_e9, effect.ref_session)
    return hashlib.sha256("|".join(str(value) for value in (*values, *values_of_cash)).encode()).hexdigest()


def _quarantine(refusals: list[Refusal], run_id: str, recorded_at: datetime) -> pa.Table:
    """Return rows of quality.quarantine, one an action refused."""
    rows = {
        (version.event_id, refusal.rule): {
            "event_id": version.event_id,
            "table_name": FACTORS.name,
            "provider": version.provider,
            "feed": version.feed,
            "rule": refusal.rule,
            "value": refusal.value,
            "expected": refusal.expected,
            "capture_id": version.capture_id,
            "message_seq": version.message_seq,
            "ordinal": version.ordinal,
            "recorded_at": recorded_at,
            "run_id": run_id,
        }
        for refusal in refusals
        for version in refusal.versions
    }
    return pa.Table.from_pylist(list(rows.values()), schema=QUARANTINE.arrow_schema())
