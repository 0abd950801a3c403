"""Adjusting what was touched alone: the same as everything computed anew, in every order of facts, on every runner."""

from __future__ import annotations

from datetime import date, timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.catalog import Lake
from lake.content import content_hash
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import system_clock
from lake.publish import Increment, publish, stage
from lake.runner import Task, open_runner
from lake.scan import read, replaced_files
from lake.settings import load_settings
from lake.tables import table_named
from lake.values import RunnerKind
from quality_checks import waivers
from quality_checks.adjusting import (
    ACTIONS,
    AGREED,
    BARS,
    BARS_1D,
    FACTORS,
    adjust,
    adjust_instruments,
    compute,
    input_position,
    touched_since,
)
from quality_checks.rebuild import rebuild
from serving.lineage import explain
from tests.transforms.making import NOW, at, bar, dividend, of, split
from transforms.adjust import bars_1d
from transforms.agree import agreed_bars
from transforms.factors import factors

FIRST = date(2024, 3, 4)
TABLES = (AGREED, FACTORS, BARS_1D)


def day(number: int) -> str:
    return (FIRST + timedelta(days=number)).isoformat()


def told(lake: Lake, table: str, *rows: dict[str, object]) -> None:
    """Publish rows of a normalized table as one batch of Yahoo's."""
    before = lake.head(table).vector("yahoo")
    after = {"0": before.get("0", 0) + 1}
    run = f"{table_named(table).short_name}-{after['0']}"
    made = of(table_named(table), *({**row, "run_id": run} for row in rows))
    publish(lake, stage(lake, Increment(table, "yahoo", made, before, after, run)))


def traded(instrument: int, number: int, close: object, **values: object) -> dict[str, object]:
    return bar(day(number), close, instrument_id=instrument, basis="as_traded", message_seq=instrument, **values)


def assert_as_computed_anew(lake: Lake) -> None:
    """Everything computed once more finds nothing to write, and the daily answers are the computed ones."""
    position = input_position(lake)
    everything = touched_since(lake, {}, position)
    arguments = {
        "instruments": everything, "position": position, "recorded_at": NOW, "runs": dict.fromkeys(TABLES, "again"),
    }  # fmt: skip
    part = adjust_instruments(lake, Task("everything", arguments=arguments))
    assert (part.rows[AGREED].num_rows, part.rows[FACTORS].num_rows, part.changed, part.touched) == (0, 0, 0, ())
    computed = compute(lake, position, NOW, everything)
    waiting = pa.array(sorted(computed.factors.blocked), pa.int64())
    kept = read(lake, BARS_1D)
    kept = kept.filter(pc.invert(pc.is_in(kept["instrument_id"], value_set=waiting)))
    assert content_hash(table_named(BARS_1D), kept) == content_hash(table_named(BARS_1D), computed.bars("any"))


def closes(lake: Lake, instrument: int) -> list[float]:
    rows = read(lake, BARS_1D, ["instrument_id", "session_date", "adj_close"]).sort_by("session_date")
    return [float(value) for value in rows.filter(pc.equal(rows["instrument_id"], instrument))["adj_close"].to_pylist()]


def files_of(lake: Lake) -> set[str]:
    return {file.file_path for file in replaced_files(lake, BARS_1D)}


def test_each_fact_touches_its_instrument_alone_and_the_end_is_that_of_everything(lake):
    told(lake, BARS, *(traded(one, number, 100 + number) for one in (1, 2, 3) for number in range(3)))
    assert adjust(lake).instruments == 3
    assert_as_computed_anew(lake)
    untouched = files_of(lake)
    told(lake, ACTIONS, split(day(2), 2, instrument_id=2))  # late: its sessions were published long ago
    assert adjust(lake).instruments == 1
    assert len(untouched & files_of(lake)) == 2
    assert (closes(lake, 1), closes(lake, 2)) == ([100, 101, 102], [50, 50.5, 102])
    assert_as_computed_anew(lake)
    told(lake, BARS, traded(1, 1, 90, known_at=at(day(9)), delivered_at=at(day(9))), traded(4, 0, 7))  # a correction, a newcomer
    done = adjust(lake)
    assert (done.instruments, done.rows[AGREED], done.rows[FACTORS], done.rows[BARS_1D]) == (2, 2, 0, 2)
    assert_as_computed_anew(lake)
    told(lake, ACTIONS, split(day(2), 2, instrument_id=2, status="rescinded", known_at=at(day(20))))
    told(lake, ACTIONS, dividend(day(1), 10, instrument_id=3))
    assert adjust(lake).instruments == 2
    assert (closes(lake, 2), closes(lake, 3)) == ([100, 101, 102], [90, 101, 102])
    assert_as_computed_anew(lake)
    assert adjust(lake).instruments == 0
    for table in TABLES:
        report = rebuild(lake, table)
        assert report.is_same, report


def test_an_action_that_moves_to_another_instrument_touches_both(lake):
    told(lake, BARS, *(traded(one, number, 100) for one in (1, 2, 3) for number in range(3)))
    told(lake, ACTIONS, split(day(2), 4, instrument_id=1, action_key="s"))
    adjust(lake)
    assert (closes(lake, 1), closes(lake, 2)) == ([25, 25, 100], [100, 100, 100])
    told(lake, ACTIONS, split(day(2), 4, instrument_id=2, action_key="s"))
    assert adjust(lake).instruments == 2
    assert (closes(lake, 1), closes(lake, 2)) == ([100, 100, 100], [25, 25, 100])
    told(lake, BARS, traded(1, 3, 100))
    assert adjust(lake).instruments == 1
    assert closes(lake, 1) == [100, 100, 100, 100]
    assert_as_computed_anew(lake)


def test_another_priority_computes_everything_at_the_next_change(lake):
    told(lake, BARS, *(traded(one, 0, 100) for one in (1, 2, 3)))
    adjust(lake)
    told(lake, BARS, traded(1, 1, 100))
    other = lake.settings.model_copy(update={"provider_priority": ("csv",)})
    with Lake.open(other, system_clock) as changed:
        assert adjust(changed).instruments == 3
        assert adjust(changed).instruments == 0


@pytest.mark.parametrize("kind", ["process", pytest.param("ray", marks=pytest.mark.needs("ray"))])
def test_every_runner_gives_the_same_rows(tmp_path, kind):
    hashes = []
    for one in ("local", kind):
        chosen = load_settings(home=tmp_path / one, runner=RunnerKind(one), runner_workers=1)
        with Lake.create(chosen, system_clock) as lake, open_runner(lake) as runner:
            told(
                lake, BARS, *(traded(number, 0, 100 + number) for number in range(1, 70)), *(traded(7, n, 9) for n in range(1, 4))
            )
            told(lake, ACTIONS, split(day(2), 3, instrument_id=7), dividend(day(3), "0.1", instrument_id=7))
            assert adjust(lake, runner).instruments == 69
            hashes.append([content_hash(table_named(table), read(lake, table)) for table in (*TABLES, "ops.lineage")])
            assert rebuild(lake, BARS_1D, runner).is_same
    assert hashes[0] == hashes[1]


# --- the law behind it: an instrument follows from its own facts

FACTS = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 4), st.sampled_from(("bar", "split", "dividend", "gone")), st.integers(1, 9)),
    max_size=14, unique_by=lambda fact: fact[:3],
)  # fmt: skip


@settings(max_examples=25)
@given(FACTS)
def test_instruments_computed_apart_are_instruments_computed_together(facts):
    bars = [
        traded(one, number, value, known_at=at(day(value)), ordinal=n)
        for n, (one, number, kind, value) in enumerate(facts)
        if kind == "bar"
    ]
    actions = []
    for n, (one, number, kind, value) in enumerate(facts):
        row = {"instrument_id": one, "known_at": at(day(value)), "ordinal": n, "action_key": f"{one}:{number}:{kind}"}
        if kind == "dividend":
            actions.append(dividend(day(number), "0.01", **row))
        elif kind in ("split", "gone"):
            actions.append(split(day(number), value + 1, **row))
        if kind == "gone":
            actions.append(split(day(number), value + 1, **{**row, "known_at": at(day(value + 2)), "status": "rescinded"}))
    given_bars, given_actions = of(table_named(BARS), *bars), of(table_named(ACTIONS), *actions)

    def computed(kept: list[int]) -> list[pa.Table]:
        mine = [rows.filter(pc.is_in(rows["instrument_id"], value_set=pa.array(kept))) for rows in (given_bars, given_actions)]
        agreed = agreed_bars(*mine, run_id="r", recorded_at=NOW)
        found = factors(agreed.rows, mine[1], run_id="r", recorded_at=NOW)
        return [agreed.rows, found.rows, bars_1d(agreed.rows, found.rows, run_id="r", blocked=found.blocked)]

    apart = [pa.concat_tables(parts) for parts in zip(*(computed([one]) for one in (1, 2, 3)), strict=True)]
    for table, rows, together in zip(TABLES, apart, computed([1, 2, 3]), strict=True):
        assert content_hash(table_named(table), rows) == content_hash(table_named(table), together)


# --- waivers: made by hand, for the reverse splits in our samples are of 3 to 1


def test_a_real_reverse_split_of_20_is_let_through_by_a_person_and_told(lake):
    told(lake, BARS, *(traded(one, number, 5 if number < 2 else 100) for one in (1, 2) for number in range(4)))
    told(lake, ACTIONS, split(day(2), 1, 20, instrument_id=1))
    assert adjust(lake).blocked == [1]
    [factor] = waivers.blocked(lake)
    name = waivers.name_of(factor.instrument_id, factor.ex_date)
    assert (name, factor.value) == (f"factor-1-{day(2)}", "20:1") and closes(lake, 1) == []
    told(lake, BARS, traded(2, 4, 100))
    assert adjust(lake).blocked == [1], "who waits is told although nothing of it was computed"
    waiver = waivers.decide(lake, name, "8-K of 2024-03-01")
    done = adjust(lake)
    assert (done.instruments, done.blocked, waivers.blocked(lake)) == (1, [], [])
    assert closes(lake, 1) == [100, 100, 100, 100]
    factor_id = f"{FACTORS}/1/{day(2)}/split/{day(2)}T04:00:00Z"
    assert explain(lake, factor_id).notes == [str(waiver)] and "8-K of 2024-03-01" in str(waiver)
    assert any(entry["what"] == "release factor" for entry in lake.state.audit_log())
    assert_as_computed_anew(lake)
    told(lake, ACTIONS, split(day(2), 1, 2000, instrument_id=1, known_at=at(day(5)), delivered_at=at(day(9))))
    assert adjust(lake).blocked == [1], "another ratio is another decision"
    assert closes(lake, 1) == [100, 100, 100, 100], "a blocked instrument keeps what it has"
    told(lake, ACTIONS, split(day(2), 1, 20, instrument_id=1, known_at=at(day(6)), delivered_at=at(day(10))))
    assert adjust(lake).blocked == []
    waivers.decide(lake, name, "taken back", is_allowed=False)
    assert adjust(lake).blocked == [1]
    for table in TABLES:
        assert rebuild(lake, table).is_same, table


def test_what_can_never_be_applied_or_does_not_block_is_refused(lake):
    told(lake, BARS, *(traded(1, number, 5) for number in range(4)))
    told(lake, ACTIONS, split(day(2), 0, 20, instrument_id=1))
    assert adjust(lake).blocked == [1]
    with pytest.raises(InvalidValueError, match="can never be applied"):
        waivers.decide(lake, f"factor-1-{day(2)}", "it is real")
    with pytest.raises(NotFoundError, match="blocks nothing"):
        waivers.decide(lake, f"factor-2-{day(2)}", "it is real")
    with pytest.raises(NotFoundError, match="was not let through"):
        waivers.decide(lake, f"factor-1-{day(2)}", "it is real", is_allowed=False)
    with pytest.raises(InvalidValueError, match="needs a reason"):
        waivers.decide(lake, f"factor-1-{day(2)}", " ")
    with pytest.raises(InvalidValueError, match="factor-INSTRUMENT-EX_DATE"):
        waivers.decide(lake, "factor-x", "why")
