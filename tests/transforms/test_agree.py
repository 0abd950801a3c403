import json

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lake.values import event_id
from tests.transforms.making import ACTIONS, AGREED, BARS, STAMPS, at, bar, of, split
from transforms.agree import Agreed, agreed_bars
from transforms.steps import derived_ids

CSV = {"provider": "csv", "feed": "bars", "basis": "as_traded", "capture_id": "csv"}


def agree(*bars: dict[str, object], actions: tuple[dict[str, object], ...] = (), priority: tuple[str, ...] = ()) -> Agreed:
    return agreed_bars(of(BARS, *bars), of(ACTIONS, *actions), priority=priority, **STAMPS)


def told(found: Agreed) -> list[tuple[object, ...]]:
    return [
        (row["session_date"].day, str(row["close"].normalize()), row["provider"], row["known_at"])
        for row in found.rows.to_pylist()
    ]


def test_a_bar_as_traded_wins_before_a_recovered_one_and_the_other_agrees():
    found = agree(
        bar("2020-08-28", "124.8075"),
        bar("2020-08-28", "499.23", **CSV, ts_open=at("2020-08-28", 4)),
        actions=(split("2020-08-31", 4),),
    )
    (row,) = found.rows.to_pylist()
    assert (row["provider"], row["agreed_by"], row["disagreed_by"]) == ("csv", "yahoo/chart", None)
    assert row["ts_open"] == at("2020-08-28", 13).replace(minute=30)  # the session's open, by which the two met
    assert (row["undone_ratio_old"], row["undone_ratio_new"]) == (1, 1)


def test_priority_then_names_decide_between_equals():
    one, other = bar("2020-08-28", 10, provider="a"), bar("2020-08-28", 11, provider="b", message_seq=1)
    assert told(agree(one, other))[0][2] == "a"
    assert told(agree(one, other, priority=("b",)))[0][2] == "b"


def test_the_whole_bar_comes_from_one_feed_and_a_disagreement_is_a_finding():
    found = agree(bar("2020-08-28", 500), bar("2020-08-28", "499.23", **CSV))
    (row,) = found.rows.to_pylist()
    assert (row["agreed_by"], row["disagreed_by"]) == (None, "yahoo/chart")
    (finding,) = found.findings.to_pylist()
    assert finding["event_id"] == derived_ids(AGREED, found.rows)[0].as_py()
    assert json.loads(finding["detail"])["bars"]["csv/bars"]["close"] == "499230000000"


def test_a_cent_is_one_tick_and_below_one_a_hundredth_of_it():
    for one, other, agrees in [
        ("10", "10.01", True),
        ("10", "10.02", False),
        ("0.5", "0.5001", True),
        ("0.5", "0.51", False),
        ("500000", "500000.4", True),
    ]:
        (row,) = agree(bar("2020-08-28", one, **CSV), bar("2020-08-28", other)).rows.to_pylist()
        assert (row["agreed_by"] is not None) is agrees, (one, other)


def test_a_revision_is_one_more_row_and_a_repetition_is_none():
    first = bar("2020-08-28", 10)
    same = bar("2020-08-28", 10, known_at=at("2020-09-01"), volume="1000.0", message_seq=2)
    other = bar("2020-08-28", 12, known_at=at("2020-09-02"), message_seq=3)
    assert told(agree(first, same, other)) == [(28, "1E+1", "yahoo", at("2020-08-28", 21)), (28, "12", "yahoo", at("2020-09-02"))]


def test_a_partial_bar_gives_way_to_a_final_one_of_anybody():
    partial = bar("2020-08-28", 10, **CSV, is_final=False, known_at=at("2020-08-28", 16))
    final = bar("2020-08-28", 12)
    assert [(row["provider"], row["is_final"]) for row in agree(partial, final).rows.to_pylist()] == [
        ("csv", False),
        ("yahoo", True),
    ]


def test_quotes_adjusted_bars_and_bars_without_a_close_take_no_part():
    rows = [
        bar("2020-08-28", 10, price_type="bid"),
        bar("2020-08-28", 10, basis="fully_adjusted"),
        bar("2020-08-28", 10, delivered_at=None),
        bar("2020-08-28", None),
    ]
    assert agree(*rows).rows.num_rows == 0
    assert agree().rows.num_rows == 0


def test_a_split_learned_later_reads_the_delivery_anew_under_the_same_key():
    bars = (bar("2020-08-28", "124.8075"), bar("2020-08-31", "129.04"))
    before, after = agree(*bars), agree(*bars, actions=(split("2020-08-31", 4, known_at=at("2030-01-01")),))
    keys = list(AGREED.key)
    assert before.rows.select(keys).equals(after.rows.select(keys))
    assert [row[1] for row in told(after)] == ["499.23", "129.04"]
    assert after.rows["undone_ratio_new"].to_pylist() == [4, 1]


def test_lineage_names_the_bar_the_compared_and_the_split_undone():
    action = split("2020-08-31", 4)
    found = agree(bar("2020-08-28", "124.8075"), bar("2020-08-28", "499.23", provider="b", message_seq=5), actions=(action,))
    roles = {(row["role"], row["input_table"]): row["input_event_id"] for row in found.lineage.to_pylist()}
    number = bar("2020-08-28", 1)["ordinal"]
    assert roles[("bar", "normalized.bars")] == event_id("c", 5, number)  # type: ignore[arg-type]
    assert roles[("compared", "normalized.bars")] == event_id("c", 0, number)  # type: ignore[arg-type]
    assert roles[("split", "normalized.corporate_actions")] == event_id("c", 1, action["ordinal"])  # type: ignore[arg-type]
    assert set(found.lineage["output_event_id"].to_pylist()) == set(derived_ids(AGREED, found.rows).to_pylist())


def test_an_overflow_is_a_finding_and_no_bar():
    found = agree(bar("2020-08-28", "999999999"), actions=(split("2020-08-31", 4),))
    assert (found.rows.num_rows, found.findings["kind"].to_pylist()) == (0, ["as_traded_overflow"])


def test_bars_of_an_instrument_without_a_venue_keep_their_own_open():
    (row,) = agree(bar("2020-08-28", 10, mic=None, price_type="index")).rows.to_pylist()
    assert row["ts_open"] == at("2020-08-28", 14)


facts = st.lists(
    st.tuples(st.sampled_from(["a", "b", "csv"]), st.integers(26, 28), st.integers(10, 12), st.integers(0, 5), st.booleans()),
    min_size=1, max_size=10, unique_by=lambda fact: (fact[0], fact[1], fact[3]),
)  # fmt: skip


def written(items: list[tuple[str, int, int, int, bool]]) -> list[dict[str, object]]:
    return [
        bar(
            f"2020-08-{day}", close, provider=provider, basis="as_traded" if provider == "csv" else "split_adjusted",
            known_at=at(f"2020-08-{day}", 21 + 24 * later), is_final=is_final, capture_id=provider, message_seq=number,
        )
        for number, (provider, day, close, later, is_final) in enumerate(items)
    ]  # fmt: skip


@given(facts, st.randoms())
def test_the_order_of_arrival_never_matters(items, random):
    rows = written(items)
    one = agree(*rows)
    random.shuffle(rows)
    other = agree(*rows)
    assert one.rows.equals(other.rows)
    assert sorted(map(str, one.lineage.to_pylist())) == sorted(map(str, other.lineage.to_pylist()))


@given(facts, st.integers(0, 8))
def test_facts_known_later_change_no_earlier_row(items, days):
    rows, moment = written(items), at("2020-08-26", 21 + 24 * days)
    whole = agree(*rows).rows
    early = agree(*(row for row in rows if row["known_at"] <= moment)).rows  # type: ignore[operator]
    mask = pa.array([known <= moment for known in whole["known_at"].to_pylist()], pa.bool_())
    assert whole.filter(mask).equals(early)


def test_mids_speak_only_where_nothing_was_traded_and_are_no_disagreement():
    mid = bar("2020-08-28", 500, provider="b", price_type="mid", message_seq=1)
    assert told(agree(mid))[0][1:3] == ("5E+2", "b")
    (row,) = agree(mid, bar("2020-08-28", "499.23", provider="c")).rows.to_pylist()
    assert (row["provider"], row["agreed_by"], row["disagreed_by"]) == ("c", None, None)
