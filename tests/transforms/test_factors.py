from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.making import ACTIONS, AGREED, FACTORS, STAMPS, agreed, at, dividend, of, split
from transforms.factors import Factors, factors
from transforms.steps import derived_ids

ICE = {"provider": "ice", "feed": "reorg", "mic": None, "status": "announced"}
MARCH = [agreed(f"2021-03-{day:02}", price) for day, price in [(1, 100), (2, 101), (3, 102), (4, 103), (5, 104)]]


def factor(*actions: dict[str, object], bars: list[dict[str, object]] = MARCH) -> Factors:
    return factors(of(AGREED, *bars), of(ACTIONS, *actions), **STAMPS)


def told(found: Factors) -> list[tuple[object, ...]]:
    return [
        (row["ex_date"].isoformat()[5:], row["kind"], row["status"], str(row["price_factor"].normalize()), row["known_at"])
        for row in found.rows.to_pylist()
    ]


def test_a_split_is_known_when_announced_and_confirmed_later():
    announced = split("2021-03-04", 4, **ICE, action_key="7", known_at=at("2021-02-01"))
    found = factor(announced, split("2021-03-04", 4))
    assert told(found) == [
        ("03-04", "split", "announced", "0.25", at("2021-02-01")),
        ("03-04", "split", "confirmed", "0.25", at("2021-03-04", 4)),
    ]
    first = found.rows.to_pylist()[0]
    assert (first["volume_factor"], first["ratio_old"], first["ratio_new"], first["provider"]) == (4, 1, 4, "ice")


def test_an_ex_date_that_moves_twice_leaves_rescinded_rows():
    """The chain of NHMPF in the ICE files of July and September 2020."""
    moves = [("2020-07-27", "2020-07-27"), ("2020-07-24", "2020-07-28"), ("2020-09-18", "2020-09-18")]
    chain = [
        split(ex_date, 1, 3, **ICE, action_key="2102159", known_at=at(entered, 4), message_seq=number)
        for number, (ex_date, entered) in enumerate(moves)
    ]
    found = factor(*chain, bars=[])
    assert told(found) == [
        ("07-24", "split", "announced", "3", at("2020-07-28", 4)),
        ("07-24", "split", "rescinded", "1", at("2020-09-18", 4)),
        ("07-27", "split", "announced", "3", at("2020-07-27", 4)),
        ("07-27", "split", "rescinded", "1", at("2020-07-28", 4)),
        ("09-18", "split", "announced", "3", at("2020-09-18", 4)),
    ]
    assert found.rows["message_seq"].to_pylist() == [1, 2, 0, 1, 2]  # a rescission names the message that made it


def test_a_dividend_needs_the_close_before_and_is_known_on_the_day():
    found = factor(dividend("2021-03-04", "0.51", known_at=at("2021-02-01")))
    assert told(found) == [("03-04", "cash_dividend", "confirmed", "0.995", at("2021-03-04", 5))]
    (row,) = found.rows.to_pylist()
    assert (row["amount"], row["ref_close"], row["ref_session_date"].day) == (Decimal("0.51"), 102, 3)
    roles = {one["role"]: one["input_event_id"] for one in found.lineage.to_pylist()}
    assert roles["reference_close"] == derived_ids(AGREED, of(AGREED, MARCH[2]))[0].as_py()
    assert found.lineage["output_event_id"].to_pylist()[0] == derived_ids(FACTORS, found.rows)[0].as_py()


def test_a_close_restated_later_is_a_later_factor():
    restated = agreed("2021-03-03", 204, known_at=at("2021-03-20"))
    rows = factor(dividend("2021-03-04", "0.51"), bars=[*MARCH, restated])
    assert [(row[3], row[4]) for row in told(rows)] == [("0.995", at("2021-03-04", 5)), ("0.9975", at("2021-03-20"))]


def test_dividends_of_one_day_are_summed_and_the_same_one_told_twice_is_not():
    special = dividend("2021-03-04", "0.30", action_key="special")
    assert told(factor(dividend("2021-03-04", "0.21"), special))[0][3] == "0.995"
    other = [dividend("2021-03-04", "0.51", provider="z", known_at=at("2021-03-05"))]
    found = factor(dividend("2021-03-04", "0.51"), *other)
    assert [row[3] for row in told(found)] == ["0.995"]
    assert found.findings.num_rows == 0


def test_feeds_that_contradict_each_other_are_a_finding_and_the_first_stands():
    found = factor(split("2021-03-04", 4, **ICE, known_at=at("2021-02-01")), split("2021-03-04", 5))
    assert [row[3] for row in told(found)] == ["0.25"]
    assert found.findings["kind"].to_pylist() == ["action_conflict"]


def test_the_same_ratio_some_days_apart_is_pointed_at():
    found = factor(split("2021-03-02", 4, **ICE), split("2021-03-04", 4))
    assert found.findings["kind"].to_pylist() == ["possible_duplicate_action"]


def test_a_split_of_the_same_day_comes_first():
    found = factor(split("2021-03-04", 2), dividend("2021-03-04", "0.255"))
    assert {row[1]: row[3] for row in told(found)} == {"split": "0.5", "cash_dividend": "0.995"}
    cash = next(row for row in found.rows.to_pylist() if row["kind"] == "cash_dividend")
    assert (cash["ratio_old"], cash["ratio_new"]) == (1, 2)


@pytest.mark.parametrize(
    ("actions", "rule", "is_blocked"),
    [
        ([dividend("2021-03-04", "102")], "impossible_factor", True),
        ([dividend("2021-03-04", "-1")], "impossible_factor", True),
        ([split("2021-03-04", 1, 11)], "impossible_factor", True),
        ([split("2021-03-04", 0)], "impossible_factor", True),
        ([dividend("2021-03-04", "1", currency="EUR")], "currency_mismatch", False),
        ([dividend("2021-03-04", "1", share_basis=None)], "unknown_share_basis", False),
        ([dividend("2021-03-26", "1")], "no_reference_close", False),
    ],
)
def test_what_gives_no_factor_is_refused(actions, rule, is_blocked):
    found = factor(*actions)
    assert found.rows.num_rows == 0
    assert found.refused["rule"].to_pylist() == [rule]
    assert found.blocked == (frozenset({1}) if is_blocked else frozenset())


def test_a_corrected_impossible_factor_blocks_no_more():
    wrong = dividend("2021-03-04", "510")
    found = factor(wrong, wrong | {"amount": "0.51", "known_at": at("2021-03-06"), "message_seq": 2})
    assert told(found) == [("03-04", "cash_dividend", "confirmed", "0.995", at("2021-03-06"))]
    assert (found.blocked, found.refused.num_rows) == (frozenset(), 0)


def test_a_dividend_before_the_first_session_changes_nothing_and_is_not_refused():
    found = factor(dividend("2021-03-01", "0.5"))
    assert (found.rows.num_rows, found.refused.num_rows) == (0, 0)


def test_pence_and_pounds_are_one_currency():
    pence = [agreed("2021-03-03", 1020, currency="GBp")]
    found = factor(dividend("2021-03-04", "0.051", currency="GBP", mic="XLON"), bars=pence)
    assert told(found)[0][3] == "0.995"
    assert found.rows["amount"].to_pylist() == [Decimal("5.1")]


def test_a_rescinded_dividend_takes_its_factor_back():
    paid = dividend("2021-03-04", "0.51")
    found = factor(paid, paid | {"status": "rescinded", "known_at": at("2021-03-08"), "message_seq": 9})
    assert [(row[2], row[3]) for row in told(found)] == [("confirmed", "0.995"), ("rescinded", "1")]


def test_nothing_gives_nothing():
    assert factor(bars=[]).rows.num_rows == 0


kinds, feeds = st.sampled_from(["split", "cash_dividend"]), st.sampled_from(["a", "b"])
statuses = st.sampled_from(["announced", "confirmed", "rescinded"])
moves = st.lists(
    st.tuples(kinds, feeds, st.integers(1, 3), st.integers(2, 5), st.integers(0, 9), statuses, st.integers(1, 4)),
    max_size=8,
    unique_by=lambda move: (move[0], move[1], move[2], move[4]),
)


def written(items: list[tuple[str, str, int, int, int, str, int]]) -> list[dict[str, object]]:
    rows = []
    for number, (kind, provider, key, day, later, status, size) in enumerate(items):
        known_at = at(f"2021-02-{26 + later}" if later < 3 else f"2021-03-{later:02}", 3)
        told = {"provider": provider, "action_key": f"{kind}{key}", "known_at": known_at, "status": status}
        rows.append((split if kind == "split" else dividend)(f"2021-03-{day:02}", size, message_seq=number, **told))
    return rows


@given(moves, st.randoms())
def test_the_order_of_arrival_never_matters(items, random):
    rows = written(items)
    one = factor(*rows)
    random.shuffle(rows)
    bars = MARCH[:]
    random.shuffle(bars)
    other = factor(*rows, bars=bars)
    assert one.rows.equals(other.rows)
    assert one.blocked == other.blocked


@given(moves, st.integers(1, 12))
def test_facts_known_later_change_no_earlier_factor(items, day):
    moment = at(f"2021-03-{day:02}", 2)
    rows = written(items)
    whole = factor(*rows).rows
    early = factor(
        *(row for row in rows if row["known_at"] <= moment),  # type: ignore[operator]
        bars=[bar for bar in MARCH if bar["known_at"] <= moment],  # type: ignore[operator]
    ).rows
    mask = pa.array([known <= moment for known in whole["known_at"].to_pylist()], pa.bool_())
    before = pa.array([known <= moment for known in early["known_at"].to_pylist()], pa.bool_())
    assert whole.filter(mask).equals(early.filter(before))
