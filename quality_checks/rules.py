"""Row rules: what a row must be on its own, checked in one vectorised pass before the gate.

A refused row has one reason, the first rule of its table that it breaks, and goes to quality.quarantine; in = kept + refused.
What is odd but real stays and becomes a finding. A null breaks only the rule `required`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from lake.tables import Table, table_named
from lake.tables.status import KINDS as STATUS_KINDS
from transforms.feeds import Feed

MOST_AHEAD = timedelta(days=1)
"""An event this far ahead of its receipt has a wrong date: no clock drifts so far."""

_PRICE_RULE = "price_not_positive"
_Mask = Callable[[pa.Table], pa.ChunkedArray]


@dataclass(frozen=True, slots=True)
class Rule:
    """`breaks` tells which rows break it (null counts as no); `shown` is the column quoted as the value found."""

    name: str
    breaks: _Mask
    shown: str
    expected: str


@dataclass(frozen=True, slots=True)
class Ruled:
    """kept: rows as given; refused: rows of quality.quarantine; findings: rows of quality.findings."""

    kept: pa.Table
    refused: pa.Table
    findings: pa.Table


def apply_rules(
    table_name: str, rows: pa.Table, feed: Feed, recorded_at: datetime, run_id: str, instruments: pa.Table | None = None
) -> Ruled:
    """Return `rows` of a normalized table parted into kept and refused, with findings about the kept.

    rows        one feed's rows in the table's schema, any order; the kept keep it
    instruments   rows of reference.instruments: a price of 0 or less is real where the feed says so of their asset class
    recorded_at, run_id   stamped into refused rows and findings
    """
    table = table_named(table_name)
    reasons = pa.nulls(rows.num_rows, pa.int32())
    rules = [*_required(table), *_overflow(table), *_RULES.get(table_name, ())]
    if table_name == "normalized.quotes" and not feed.is_crossed_normal:
        rules.append(_CROSSED)
    may_be_negative = _of_signed_classes(rows, feed, instruments)
    for number, rule in enumerate(rules):
        broken = pc.fill_null(rule.breaks(rows), False)
        if rule.name == _PRICE_RULE:
            broken = pc.and_not(broken, may_be_negative)
        reasons = pc.if_else(pc.and_(pc.is_null(reasons), broken), pa.scalar(number, pa.int32()), reasons)
    refused = [
        _refused(table_name, rows.filter(pc.fill_null(pc.equal(reasons, number), False)), rules[number], recorded_at, run_id)
        for number in pc.unique(reasons).drop_null().to_pylist()
    ]
    kept = rows.filter(pc.is_null(reasons))
    schema = table_named("quality.quarantine").arrow_schema()
    findings = _crossed_findings(kept, recorded_at, run_id) if table_name == "normalized.quotes" else _no_findings()
    return Ruled(kept, pa.concat_tables(refused) if refused else schema.empty_table(), findings)


def event_ids(rows: pa.Table) -> pa.Array:
    """Return the event ids of rows that have capture_id, message_seq and ordinal."""
    parts = [pc.cast(rows[name], pa.string()) for name in ("capture_id", "message_seq", "ordinal")]
    joined = pc.binary_join_element_wise(*parts, ":")
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def quarantine_rows(
    table_name: str, rows: pa.Table, rule: str, values: pa.Array, expected: str, recorded_at: datetime, run_id: str
) -> pa.Table:
    """Return rows of quality.quarantine that refuse `rows` of a normalized table for one reason.

    values   the value found of each row, as text
    """
    schema = table_named("quality.quarantine").arrow_schema()
    count = rows.num_rows
    columns = {
        "event_id": event_ids(rows),
        "table_name": constant(table_name, count),
        "provider": rows["provider"],
        "feed": rows["feed"],
        "rule": constant(rule, count),
        "value": values,
        "expected": constant(expected, count),
        "capture_id": rows["capture_id"],
        "message_seq": rows["message_seq"],
        "ordinal": rows["ordinal"],
        "recorded_at": constant(recorded_at, count, schema.field("recorded_at").type),
        "run_id": constant(run_id, count),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def finding_rows(
    ids: pa.Array,
    kind: str,
    severity: str,
    table_name: str,
    detail: pa.Array,
    recorded_at: datetime,
    run_id: str,
    *,
    provider: pa.Array | None = None,
    instrument_id: pa.Array | None = None,
) -> pa.Table:
    """Return rows of quality.findings: one for each event id."""
    schema = table_named("quality.findings").arrow_schema()
    count = len(ids)
    columns = {
        "event_id": ids,
        "kind": constant(kind, count),
        "severity": constant(severity, count),
        "table_name": constant(table_name, count),
        "provider": pa.nulls(count, pa.string()) if provider is None else provider,
        "instrument_id": pa.nulls(count, pa.int64()) if instrument_id is None else instrument_id,
        "detail": detail,
        "recorded_at": constant(recorded_at, count, schema.field("recorded_at").type),
        "run_id": constant(run_id, count),
    }
    return pa.table([columns[name] for name in schema.names], schema=schema)


def constant(value: object, count: int, kind: pa.DataType | None = None) -> pa.Array:
    """Return an array of `count` times `value`; text where no type is told."""
    return pa.repeat(pa.scalar(value, kind or pa.string()), count)


def as_text(values: pa.ChunkedArray) -> pa.Array:
    """Return values as text a person reads: decimals with all their digits, never in powers of ten; null stays null."""
    if pa.types.is_decimal(values.type):
        return pa.array([None if value is None else format(value, "f") for value in values.to_pylist()], pa.string())
    return pc.cast(values, pa.string()).combine_chunks()


def _refused(table_name: str, rows: pa.Table, rule: Rule, recorded_at: datetime, run_id: str) -> pa.Table:
    return quarantine_rows(table_name, rows, rule.name, as_text(rows[rule.shown]), rule.expected, recorded_at, run_id)


def _no_findings() -> pa.Table:
    return table_named("quality.findings").arrow_schema().empty_table()


def _crossed_findings(kept: pa.Table, recorded_at: datetime, run_id: str) -> pa.Table:
    crossed = kept.filter(pc.fill_null(_CROSSED.breaks(kept), False))
    if crossed.num_rows == 0:
        return _no_findings()
    detail = pc.binary_join_element_wise(as_text(crossed["bid_price"]), as_text(crossed["ask_price"]), " > ")
    return finding_rows(
        event_ids(crossed), "crossed_quote", "info", "normalized.quotes", detail, recorded_at, run_id,
        provider=crossed["provider"], instrument_id=crossed["instrument_id"],
    )  # fmt: skip


# --- the rules


def _required(table: Table) -> list[Rule]:
    def is_null(name: str) -> _Mask:
        return lambda rows: pc.is_null(rows[name])

    return [Rule("required", is_null(column.name), column.name, f"{column.name}") for column in table.columns if column.required]


def _overflow(table: Table) -> list[Rule]:
    """Arrow does not check the precision of a decimal that a kernel wrote into a buffer."""

    def beyond(name: str, limit: Decimal) -> _Mask:
        return lambda rows: pc.greater(pc.abs(rows[name]), pa.scalar(limit, rows.schema.field(name).type))

    found = []
    for column in table.columns:
        if column.type.startswith("decimal("):
            kind = column.arrow_type
            limit = Decimal((0, (9,) * kind.precision, -kind.scale))
            found.append(Rule("overflow", beyond(column.name, limit), column.name, f"{column.name} of {column.type}"))
    return found


def _compare(op: Callable[..., pa.ChunkedArray], left: str, right: str) -> _Mask:
    return lambda rows: op(rows[left], rows[right])


def _below(name: str, zero_breaks: bool) -> _Mask:
    def breaks(rows: pa.Table) -> pa.ChunkedArray:
        kind = rows.schema.field(name).type
        zero = pa.scalar(Decimal(0) if pa.types.is_decimal(kind) else 0, kind)
        return (pc.less_equal if zero_breaks else pc.less)(rows[name], zero)

    return breaks


def _positive(*names: str) -> list[Rule]:
    return [Rule(_PRICE_RULE, _below(name, True), name, f"{name} > 0") for name in names]


def _of_signed_classes(rows: pa.Table, feed: Feed, instruments: pa.Table | None) -> pa.ChunkedArray | pa.Scalar:
    """Return which rows are of an instrument whose price may be 0 or less: a future, a spread."""
    if instruments is None or not feed.signed_classes or "instrument_id" not in rows.column_names:
        return pa.scalar(False)
    classes = pa.array(sorted(feed.signed_classes), pa.string())
    signed = instruments.filter(pc.is_in(instruments["asset_class"], value_set=classes))
    return pc.is_in(rows["instrument_id"], value_set=signed["instrument_id"].combine_chunks())


def _not_negative(*names: str) -> list[Rule]:
    return [Rule("size_negative", _below(name, False), name, f"{name} >= 0") for name in names]


def _one_of(rule: str, name: str, *words: str) -> Rule:
    known = pa.array(words)
    return Rule(
        rule,
        lambda rows: pc.and_(pc.is_valid(rows[name]), pc.invert(pc.is_in(rows[name], value_set=known))),
        name,
        f"{name} in {', '.join(words)}",
    )


def _all_null(*names: str) -> _Mask:
    def breaks(rows: pa.Table) -> pa.ChunkedArray:
        mask = pc.is_null(rows[names[0]])
        for name in names[1:]:
            mask = pc.and_(mask, pc.is_null(rows[name]))
        return mask

    return breaks


def _quote_empty(rows: pa.Table) -> pa.ChunkedArray:
    """Sizes of 0 on both sides say that nobody quotes: a fact. No price without that word is none."""
    sizes = [pc.fill_null(pc.equal(rows[name], pa.scalar(0, rows.schema.field(name).type)), False) for name in _QUOTE_SIZES]
    return pc.and_(_all_null("bid_price", "ask_price")(rows), pc.invert(pc.and_(*sizes)))


def _level_incomplete(rows: pa.Table) -> pa.ChunkedArray:
    is_level = pc.is_null(rows["action"])
    lacking = pc.or_(pc.or_(pc.is_null(rows["side"]), pc.is_null(rows["price"])), pc.is_null(rows["size"]))
    return pc.and_(is_level, lacking)


def _order_unnamed(rows: pa.Table) -> pa.ChunkedArray:
    return pc.and_(pc.not_equal(rows["action"], "clear"), pc.is_null(rows["order_id"]))


def _ahead() -> Rule:
    def breaks(rows: pa.Table) -> pa.ChunkedArray:
        return pc.greater(rows["ts_event"], pc.add(rows["ts_recv"], pa.scalar(MOST_AHEAD)))

    return Rule("event_ahead_of_receipt", breaks, "ts_event", "ts_event <= ts_recv + 1 day")


def _where(kind: str, *conditions: _Mask) -> _Mask:
    """Return a mask: rows of an action kind, not rescinded, for which any condition holds."""

    def breaks(rows: pa.Table) -> pa.ChunkedArray:
        concerned = pc.and_(pc.equal(rows["kind"], kind), pc.not_equal(rows["status"], "rescinded"))
        broken = pc.fill_null(conditions[0](rows), False)
        for condition in conditions[1:]:
            broken = pc.or_(broken, pc.fill_null(condition(rows), False))
        return pc.and_(concerned, broken)

    return breaks


def _null(name: str) -> _Mask:
    return lambda rows: pc.is_null(rows[name])


_QUOTE_SIZES = ("bid_size", "ask_size")
_CROSSED = Rule("crossed_quote", _compare(pc.greater, "bid_price", "ask_price"), "bid_price", "bid_price <= ask_price")
_REVERSED = Rule("sequence_reversed", _compare(pc.greater, "first_sequence", "sequence"), "first_sequence", "first <= last")
_SIDE = _one_of("side_unknown", "side", "buy", "sell")
_RANGE: Sequence[Rule] = [
    Rule("bar_outside_range", _compare(op, left, right), left, f"{left} {word} {right}")
    for left, op, right, word in (
        ("low", pc.greater, "high", "<="),
        ("open", pc.less, "low", ">="),
        ("open", pc.greater, "high", "<="),
        ("close", pc.less, "low", ">="),
        ("close", pc.greater, "high", "<="),
    )
]

_RULES: dict[str, tuple[Rule, ...]] = {
    "normalized.trades": (*_positive("price"), *_not_negative("size"), _SIDE, _ahead()),
    "normalized.quotes": (
        Rule("quote_empty", _quote_empty, "bid_price", "a bid or an ask, or sizes of 0"),
        *_positive("bid_price", "ask_price"),
        *_not_negative("bid_size", "ask_size"),
        _ahead(),
    ),
    "normalized.book_events": (
        *_positive("price"),
        *_not_negative("size"),
        _SIDE,
        _one_of("event_unknown", "event", "snapshot", "update"),
        Rule("level_incomplete", _level_incomplete, "price", "side, price and size of a level"),
        Rule("order_unnamed", _order_unnamed, "action", "the id of the order"),
        _one_of("action_unknown", "action", "add", "modify", "replace", "cancel", "delete", "execute", "fill", "clear"),
        _REVERSED,
        _ahead(),
    ),
    "normalized.bars": (
        Rule("bar_empty", _all_null("open", "high", "low", "close"), "close", "a price"),
        *_positive("open", "high", "low", "close"),
        *_not_negative("volume", "trade_count"),
        *_RANGE,
        _one_of("basis_unknown", "basis", "as_traded", "split_adjusted", "fully_adjusted"),
        _one_of("price_type_unknown", "price_type", "trade", "bid", "ask", "mid", "nav", "index"),
    ),
    "normalized.corporate_actions": (
        _one_of("kind_unknown", "kind", "split", "cash_dividend"),
        _one_of("status_unknown", "status", "announced", "confirmed", "rescinded"),
        Rule("ratio_invalid", _where("split", _null("ratio_old"), _below("ratio_old", True)), "ratio_old", "ratio_old > 0"),
        Rule("ratio_invalid", _where("split", _null("ratio_new"), _below("ratio_new", True)), "ratio_new", "ratio_new > 0"),
        Rule("amount_invalid", _where("cash_dividend", _null("amount"), _below("amount", True)), "amount", "amount > 0"),
        Rule("share_basis_unknown", _where("cash_dividend", _null("share_basis")), "share_basis", "as_paid or split_adjusted"),
        _one_of("share_basis_unknown", "share_basis", "as_paid", "split_adjusted"),
    ),
    "normalized.trade_events": (
        _one_of("kind_unknown", "kind", "correction", "cancel", "break"),
        *_positive("price", "new_price"),
        *_not_negative("size", "new_size"),
    ),
    "normalized.status_events": (
        _one_of("kind_unknown", "kind", *STATUS_KINDS),
        *_not_negative("size", "imbalance_size"),
        _SIDE,
        _ahead(),
    ),
    "normalized.fx_rates": (
        *_positive("rate"),
        _one_of("rate_kind_unknown", "rate_kind", "reference", "spot", "end_of_day"),
        Rule("same_currency", _compare(pc.equal, "base_currency", "quote_currency"), "symbol", "two currencies"),
    ),
    "normalized.fundamentals": (
        Rule("value_missing", _all_null("value", "text_value"), "item", "a number or a text"),
        _one_of("period_unknown", "period", "annual", "quarterly", "ttm", "point"),
    ),
    "normalized.alternative": (Rule("value_missing", _all_null("value", "text_value"), "measure", "a number or a text"),),
    "normalized.option_open_interest": (*_not_negative("open_interest", "day_volume", "implied_volatility"),),
}  # fmt: skip
