"""The gate is fail-closed: whatever is wrong with rows, contract or Soda, the increment is not ok."""

from __future__ import annotations

import logging
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pyarrow as pa
import pytest

from lake.errors import InvalidValueError, QualityError
from lake.tables import TABLES
from quality_checks import gate
from quality_checks.contract import CONTRACTS, load_contract
from quality_checks.gate import ATTEMPTS, GateReport
from quality_checks.levels import BEFORE, newer_levels, no_levels
from tests.quality_checks import reference_samples, samples

TRADES = "normalized.trades"
QUOTES = "normalized.quotes"
NOTHING = BEFORE.empty_table()
audit = partial(gate.audit, before=NOTHING)
audit_to_the_end = partial(gate.audit_to_the_end, before=NOTHING)
failing_rows = partial(gate.failing_rows, before=NOTHING)


def altered(folder: Path, old: str, new: str, table: str = TRADES) -> Path:
    text = (CONTRACTS / f"{table}.yml").read_text()
    assert old in text
    (folder / f"{table}.yml").write_text(text.replace(old, new))
    return folder


def test_every_gated_table_has_a_contract_that_reads_whole():
    gated = [name for name in TABLES if name.partition(".")[0] in ("normalized", "adjusted", "reference")]
    assert sorted(gated) == sorted(path.stem for path in CONTRACTS.glob("*.yml")) == sorted(samples.GOOD)
    for name in gated:
        assert load_contract(name).checks_expected > len(load_contract(name).row_checks)


@pytest.mark.parametrize("table", sorted(samples.GOOD))
def test_good_rows_pass_with_every_check_evaluated(table):
    report = audit(table, samples.GOOD[table]())
    assert report.ok, report.as_dict()
    assert len(report.outcomes) == report.checks_expected == load_contract(table).checks_expected
    assert {item.outcome for item in report.outcomes} == {"PASSED"}


BAD = [
    (TRADES, {"price": [Decimal(100)] * 9 + [Decimal(10000)]}, "price_jump"),
    (TRADES, {"price": [Decimal(100)] * 9 + [Decimal(1)]}, "price_jump"),
    (TRADES, {"price": Decimal(0)}, "price_not_positive"),
    (TRADES, {"size": Decimal(-1)}, "size_negative"),
    (TRADES, {"trade_id": "same"}, "key_repeated"),
    (TRADES, {"message_seq": 3}, "event_repeated"),
    (TRADES, {"session_date": date(2024, 1, 9)}, "session_date_inconsistent"),
    (TRADES, {"side": "b"}, "side_unknown"),
    (TRADES, {"price": [Decimal(100)] * 9 + [None]}, "missing:price"),
    ("normalized.quotes", {"bid_price": [Decimal(100)] * 9 + [Decimal(10000)]}, "price_jump"),
    ("normalized.quotes", {"bid_price": None, "ask_price": None}, "quote_empty"),
    ("normalized.book_events", {"side": "buy", "price": [Decimal(100)] * 9 + [Decimal(10000)]}, "price_jump"),
    ("normalized.book_events", {"first_sequence": 6}, "sequence_reversed"),
    ("normalized.book_events", {"price": None}, "level_incomplete"),
    ("normalized.book_events", {"action": "delete"}, "order_unnamed"),
    ("normalized.book_events", {"action": "vanish", "order_id": "1"}, "action_unknown"),
    ("normalized.status_events", {"kind": "weather"}, "kind_unknown"),
    ("normalized.status_events", {"sequence": 5}, "key_repeated"),
    ("normalized.status_events", {"kind": "official_price", "price": Decimal(0)}, "price_not_positive"),
    ("normalized.bars", {"close": Decimal(103)}, "bar_outside_range"),
    ("normalized.bars", {"open": None, "high": None, "low": None, "close": [Decimal(1)] * 9 + [Decimal(1000)]}, "price_jump"),
    ("normalized.corporate_actions", {"ratio_new": [0, None]}, "ratio_invalid"),
    ("normalized.corporate_actions", {"amount": None}, "amount_invalid"),
    ("normalized.trade_events", {"new_price": None, "new_size": None}, "correction_empty"),
    ("normalized.fx_rates", {"quote_currency": "EUR"}, "same_currency"),
    ("normalized.fundamentals", {"value": None}, "value_missing"),
    ("normalized.news", {"headline": " "}, "headline_empty"),
    ("normalized.option_open_interest", {"delta": Decimal("1.5")}, "greeks_impossible"),
    ("reference.instruments", {"instrument_id": 7}, "key_repeated"),
    ("adjusted.factors", {"price_factor": Decimal(0)}, "factor_not_positive"),
    ("adjusted.bars_1d", {"all_factor": Decimal("0.5")}, "last_factor_not_one"),
    ("adjusted.built_bars", {"ts_end": samples.NOON + timedelta(days=1)}, "span_invalid"),
    ("adjusted.built_bars", {"quote_count": [3, 5]}, "kind_inconsistent"),
    ("adjusted.built_bars", {"interval": "7m"}, "kind_unknown"),
    ("adjusted.built_bars", {"close": Decimal(102)}, "bar_outside_range"),
    *reference_samples.BAD,
]


@pytest.mark.parametrize(("table", "changes", "check"), BAD)
def test_a_broken_promise_fails_its_check_and_nothing_else_errs(table, changes, check):
    report = audit(table, samples.GOOD[table](**changes))
    assert check in report.failed_checks
    assert not report.ok and not report.has_errors and report.verdict == "failed"


def test_twenty_years_of_growth_and_a_twenty_for_one_split_are_no_jump():
    closes = [Decimal(1) + Decimal(n) / 2 for n in range(200)] + [Decimal(5)]
    found = samples.bars(201, open=None, high=None, low=None, close=closes)
    assert audit("normalized.bars", found).ok


def test_far_levels_on_the_quiet_side_of_a_book_are_real():
    found = samples.book_events(side="sell", price=[Decimal(100)] * 9 + [Decimal(10000)])
    assert audit("normalized.book_events", found).ok


def test_stub_quotes_around_a_market_are_real_and_a_wrong_scale_is_not():
    stubs = {
        "bid_price": [Decimal("0.01")] * 6 + [Decimal(100)] * 4,
        "ask_price": [Decimal(101), None] + [Decimal(199999)] * 4 + [Decimal(101)] * 4,
    }
    assert audit(QUOTES, samples.quotes(**stubs)).ok
    wrong = {"bid_price": [Decimal(100)] * 9 + [Decimal(1)], "ask_price": [Decimal(101)] * 9 + [Decimal("1.01")]}
    assert audit(QUOTES, samples.quotes(**wrong)).failed_checks == ("price_jump",)


def test_failing_rows_are_named_exactly():
    found = samples.trades(price=[Decimal(100), Decimal(10000)] + [Decimal(100)] * 7 + [Decimal(1)], size=Decimal(-1))
    rows = failing_rows(TRADES, found, ["price_jump", "size_negative"])
    assert rows["price_jump"].to_pylist() == [1, 9]
    assert rows["size_negative"].to_pylist() == list(range(10))
    with pytest.raises(QualityError, match="names no rows"):
        failing_rows(TRADES, found, ["schema"])


def test_a_waived_check_lets_only_its_own_failure_pass():
    found = samples.trades(price=[Decimal(100)] * 9 + [Decimal(10000)])
    assert audit(TRADES, found, waive=["price_jump"]).ok
    assert not audit(TRADES, samples.trades(size=Decimal(-1)), waive=["price_jump"]).ok


# --- the level of the prices published before


def level(price: object, at: timedelta = timedelta(0), instrument_id: int = 7) -> pa.Table:
    """Return `before` with one price, that much later than noon."""
    values = {"instrument_id": [instrument_id], "price": [Decimal(str(price))], "ts_event": [samples.NOON + at]}
    return pa.table(values, schema=BEFORE)


@pytest.mark.parametrize(("table", "changes"), [(TRADES, {"price": Decimal(100)}), (QUOTES, {"ask_price": Decimal(100)})])
@pytest.mark.parametrize(
    ("before", "is_far"),
    [
        (level(100), False),
        (level(2000), False),
        (level(5), False),
        (level("2000.0000000010"), True),
        (level("4.9999999990"), True),
        (level(10000, timedelta(days=-2)), True),
        (level(10000, timedelta(days=3)), True),
        (level(10000, timedelta(days=3, seconds=10)), False),
        (level(10000, timedelta(days=-3, microseconds=-1)), False),
        (level(10000, instrument_id=8), False),
    ],
)
def test_a_whole_batch_twenty_times_off_the_last_price_fails(table, changes, before, is_far):
    found = samples.GOOD[table](**changes)
    report = gate.audit(table, found, before=before)
    assert not report.has_errors and report.failed_checks == (("price_level",) if is_far else ())
    rows = gate.failing_rows(table, found, ["price_level"], before=before)["price_level"].to_pylist()
    assert rows == (list(range(10)) if is_far else [])


@pytest.mark.parametrize("table", [TRADES, QUOTES])
def test_a_contract_that_names_what_is_not_registered_errs(table):
    report = gate.audit(table, samples.GOOD[table]())
    assert not report.ok and report.verdict == "error"


def test_the_newest_price_of_each_instrument_is_kept_whatever_came_last():
    found = samples.trades(4, instrument_id=[7, 7, 8, 8], price=[Decimal(1), Decimal(2), Decimal(3), Decimal(0)])
    first = newer_levels(no_levels(TRADES), TRADES, found)
    assert first["instrument_id"].to_pylist() == [7, 8] and first["price"].to_pylist() == [2, 3]
    late = samples.trades(1, price=Decimal(9), ts_event=samples.NOON - timedelta(hours=1))
    assert newer_levels(first, TRADES, late).equals(first)
    again = samples.trades(1, price=Decimal(9), ts_event=samples.NOON + timedelta(seconds=1))
    assert newer_levels(first, TRADES, again)["price"].to_pylist() == [9, 3]
    assert newer_levels(first, TRADES, found.slice(0, 0)).equals(first)
    sides = samples.quotes(4, instrument_id=[1, 2, 3, 4], bid_price=[Decimal(1), None, Decimal("1e-9"), Decimal("0.01")],
                           ask_price=[Decimal(2), Decimal(3), Decimal("2e-9"), Decimal(199999)])  # fmt: skip
    found = newer_levels(no_levels(QUOTES), QUOTES, sides)
    assert found["instrument_id"].to_pylist() == [1, 3], "one side alone and a stub tell no price"
    assert found["price"].to_pylist() == [Decimal("1.5"), Decimal("1.5e-9")]
    assert newer_levels(no_levels("normalized.bars"), "normalized.bars", samples.bars()) is None


# --- what can never publish

TYPING_ERRORS = [
    ("- missing:", "- mising:"),  # Soda: an error
    ("\nchecks:\n", "\nchekcs:\n"),  # Soda: passed, without any check of the table
    ("    checks:\n      - missing:", "    check:\n      - missing:"),  # Soda: passed, one check fewer
    ("  - row_count:", "  - row_count:\n      treshold:\n        must_be_greater_than: 5"),  # Soda: passed
    ("expression: size < 0", "expresion: size < 0"),
    ("data_type: bigint", "data_type: bigit"),
    ("  - schema:\n", ""),
    ("dataset: lake/main/increment", "dataset: lake/main/incerment"),
    ("columns:", "columns: ["),
]


@pytest.mark.parametrize(("old", "new"), TYPING_ERRORS)
def test_a_contract_with_a_typing_error_never_publishes(tmp_path, old, new):
    report = audit(TRADES, samples.trades(), folder=altered(tmp_path, old, new))
    assert not report.ok and report.verdict == "error" and report.errors
    with pytest.raises(InvalidValueError):
        load_contract(TRADES, tmp_path)


@pytest.mark.parametrize(
    ("old", "new"), [("expression: size < 0", "expression: siez < 0"), ("QUALIFY row_number", "QUALIFY rwo_number")]
)
def test_a_check_that_is_not_evaluated_never_publishes(tmp_path, old, new):
    report = audit(TRADES, samples.trades(), folder=altered(tmp_path, old, new))
    assert not report.ok and report.verdict == "error"
    assert report.evaluated < report.checks_expected


def test_an_empty_batch_never_publishes():
    report = audit(TRADES, samples.trades(0))
    assert not report.ok and report.verdict == "error" and "empty" in report.errors[0]


def test_a_missing_column_never_publishes():
    for column in ("price", "conditions"):
        assert not audit(TRADES, samples.trades().drop_columns([column])).ok


def test_a_column_of_another_type_never_publishes():
    found = samples.trades()
    wide = found.set_column(found.schema.get_field_index("price"), "price", found["price"].cast(pa.float64()))
    assert "schema" in audit(TRADES, wide).failed_checks


def test_a_table_without_a_contract_never_publishes(tmp_path):
    report = audit(TRADES, samples.trades(), folder=tmp_path)
    assert not report.ok and "no contract" in report.errors[0]


def test_a_silenced_logger_never_publishes():
    audit(TRADES, samples.trades())
    logger = logging.getLogger("soda")
    before = logger.level
    logging.disable(logging.CRITICAL)
    try:
        assert not audit(TRADES, samples.trades()).ok
    finally:
        logging.disable(logging.NOTSET)
    assert logger.level == before


def test_a_missing_result_never_publishes():
    whole = audit(TRADES, samples.trades())
    fewer = GateReport(whole.table, whole.row_count, whole.checks_expected, whole.outcomes[:-1], ())
    assert whole.ok and not fewer.ok and fewer.verdict == "error"


def test_an_audit_that_errs_is_run_again_then_raised_and_never_called_failed(tmp_path):
    seen: list[str] = []
    folder = altered(tmp_path, "expression: size < 0", "expression: siez < 0")
    with pytest.raises(QualityError, match="could not be finished") as raised:
        audit_to_the_end(
            TRADES, samples.trades(), {"run": "r1"}, folder=folder, recorded=lambda report: seen.append(report.verdict)
        )
    assert seen == ["error"] * ATTEMPTS
    assert raised.value.report["verdict"] == "error"
    failed = audit_to_the_end(TRADES, samples.trades(size=Decimal(-1)))
    assert failed.verdict == "failed"
