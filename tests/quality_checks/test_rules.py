"""Row rules: kept and refused are the whole, and a refused row names the first rule that it breaks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.values import NumberKind
from quality_checks.rules import Ruled, apply_rules
from tests.quality_checks import samples
from transforms.decode.decoded import Decoded
from transforms.feeds import Feed

AT = datetime(2024, 6, 1, tzinfo=UTC)
NORMALIZED = sorted(name for name in samples.GOOD if name.startswith("normalized."))


def nothing(messages: pa.Table) -> Decoded:
    raise AssertionError(f"rules decode nothing; got {messages.num_rows} messages")


def feed(crossed: bool = False) -> Feed:
    return Feed("binance", "spot", NumberKind.EXACT, "rows by hand", tuple(NORMALIZED), nothing, is_crossed_normal=crossed)


def ruled(table: str, rows: pa.Table, crossed: bool = False) -> Ruled:
    found = apply_rules(table, rows, feed(crossed), AT, "r1")
    assert found.kept.num_rows + found.refused.num_rows == rows.num_rows
    assert len(set(found.refused["event_id"].to_pylist())) == found.refused.num_rows
    return found


@pytest.mark.parametrize("table", NORMALIZED)
def test_good_rows_are_kept_as_they_are(table):
    rows = samples.GOOD[table]()
    found = ruled(table, rows)
    assert found.kept.equals(rows) and found.refused.num_rows == 0 and found.findings.num_rows == 0


BROKEN = [
    ("normalized.trades", {"price": Decimal(0)}, "price_not_positive", "0.000000000"),
    ("normalized.trades", {"price": None}, "required", None),
    ("normalized.trades", {"size": Decimal(-1), "price": Decimal(-1)}, "price_not_positive", "-1.000000000"),
    ("normalized.trades", {"size": Decimal(-1)}, "size_negative", "-1.00000000"),
    ("normalized.trades", {"side": "x"}, "side_unknown", "x"),
    ("normalized.trades", {"ts_event": samples.NOON + timedelta(days=9)}, "event_ahead_of_receipt", None),
    ("normalized.quotes", {"bid_price": Decimal(102)}, "crossed_quote", "102.000000000"),
    ("normalized.quotes", {"bid_price": None, "ask_price": None}, "quote_empty", None),
    ("normalized.book_events", {"first_sequence": 6}, "sequence_reversed", "6"),
    ("normalized.book_events", {"event": "image"}, "event_unknown", "image"),
    ("normalized.book_events", {"size": None}, "level_incomplete", "100.000000000"),
    ("normalized.book_events", {"action": "execute"}, "order_unnamed", "execute"),
    ("normalized.book_events", {"action": "vanish", "order_id": "1"}, "action_unknown", "vanish"),
    ("normalized.status_events", {"kind": "weather"}, "kind_unknown", "weather"),
    ("normalized.status_events", {"imbalance_size": Decimal(-1)}, "size_negative", None),
    ("normalized.bars", {"close": Decimal("102.000000001")}, "bar_outside_range", "102.000000001"),
    ("normalized.bars", {"low": Decimal("100.5")}, "bar_outside_range", "100.000000000"),
    ("normalized.bars", {"open": None, "high": None, "low": None, "close": None}, "bar_empty", None),
    ("normalized.corporate_actions", {"ratio_old": 0, "kind": "split"}, "ratio_invalid", "0"),
    ("normalized.corporate_actions", {"kind": "cash_dividend", "amount": None}, "amount_invalid", None),
    ("normalized.corporate_actions", {"kind": "spinoff"}, "kind_unknown", "spinoff"),
]


@pytest.mark.parametrize(("table", "changes", "rule", "value"), BROKEN)
def test_a_broken_row_goes_to_quarantine_with_its_first_rule_and_value(table, changes, rule, value):
    found = ruled(table, samples.GOOD[table](**changes))
    assert found.kept.num_rows == 0
    assert set(found.refused["rule"].to_pylist()) == {rule}
    if value is not None:
        assert found.refused["value"][0].as_py() == value
    assert found.refused["expected"].null_count == 0 and set(found.refused["run_id"].to_pylist()) == {"r1"}


def test_crossed_quotes_are_kept_as_findings_where_they_are_real():
    found = ruled("normalized.quotes", samples.quotes(bid_price=[Decimal(102)] + [Decimal(100)] * 9), crossed=True)
    assert found.kept.num_rows == 10
    assert found.findings["kind"].to_pylist() == ["crossed_quote"]
    assert found.findings["detail"].to_pylist() == ["102.000000000 > 101.000000000"]


def test_sizes_of_zero_say_that_nobody_quotes():
    found = ruled("normalized.quotes", samples.quotes(bid_price=None, ask_price=None, bid_size=Decimal(0), ask_size=Decimal(0)))
    assert found.kept.num_rows == 10


def test_an_event_that_names_its_order_need_not_repeat_side_price_and_size():
    told = {"action": "delete", "order_id": "7", "side": None, "price": None, "size": None}
    assert ruled("normalized.book_events", samples.book_events(**told)).kept.num_rows == 10


def test_a_rescinded_action_needs_no_amount():
    found = ruled("normalized.corporate_actions", samples.corporate_actions(status="rescinded", amount=None, ratio_new=None))
    assert found.refused.num_rows == 0


PRICES = st.one_of(st.none(), st.decimals(min_value=-5, max_value=5, places=2))


@given(st.lists(st.tuples(PRICES, PRICES, PRICES, PRICES), min_size=1, max_size=12))
def test_a_bar_is_kept_exactly_when_it_is_a_bar(prices):
    columns = {
        name: list(values) for name, values in zip(("open", "high", "low", "close"), zip(*prices, strict=True), strict=True)
    }
    found = ruled("normalized.bars", samples.bars(len(prices), **columns))
    good = []
    for number, (opened, high, low, close) in enumerate(prices):
        told = [price for price in (opened, high, low, close) if price is not None]
        pairs = [(low, high), (low, opened), (low, close), (opened, high), (close, high)]
        if told and min(told) > 0 and all(a <= b for a, b in pairs if a is not None and b is not None):
            good.append(number)
    assert found.kept["ordinal"].to_pylist() == good
