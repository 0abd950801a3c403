"""The benchmark runner: fair turns, medians, and no comparison of unequal work. No test here judges speed."""

from __future__ import annotations

from itertools import count

import pytest

from tests.benchmarks.__main__ import main
from tests.benchmarks.cases import Case, Ratio, Timed, measure, ratios


def test_cases_take_turns_after_one_unmeasured_run_each():
    turns: list[str] = []

    def case(name: str) -> Case:
        return Case("g", name, "rows", lambda: turns.append(name) or 3)

    measure([case("a"), case("b")], rounds=2, timer=count().__next__)
    assert turns == ["a", "b", "a", "b", "a", "b"]


def test_a_stream_of_short_acts_runs_several_times_in_its_turn():
    turns: list[str] = []

    def case(name: str) -> Case:
        return Case("g", name, "rows", lambda: turns.append(name) or 3, times_a_turn=2)

    (a, _) = measure([case("a"), case("b")], rounds=1, timer=count().__next__)
    assert turns == ["a", "b", "a", "a", "b", "b"]
    assert (a.units, a.seconds) == (3, 1)


def test_medians_and_ratios_are_to_ours():
    now = 0.0
    cost = {"ours": iter([9, 2, 2, 2]), "other": iter([9, 8, 6, 100])}

    def case(name: str, *, is_ours: bool = False) -> Case:
        def run() -> int:
            nonlocal now
            now += next(cost[name])
            return 10

        return Case("g", name, "rows", run, is_ours)

    ours, other = measure([case("ours", is_ours=True), case("other")], rounds=3, timer=lambda: now, cpu_timer=lambda: now / 4)
    assert (ours.seconds, other.seconds, ours.per_second) == (2, 8, 5)
    assert (ours.cpu_seconds, other.cpu_seconds) == (0.5, 2)
    assert ratios([ours, other]) == {ours: Ratio(1.0, 1.0), other: Ratio(4.0, 4.0)}


def test_a_case_that_ran_elsewhere_counts_by_what_that_process_measured():
    took = iter([Timed(10, 9.0, 9.0), Timed(10, 3.0, 0.5), Timed(10, 5.0, 0.25), Timed(10, 4.0, 0.75)])
    (found,) = measure([Case("g", "elsewhere", "rows", lambda: next(took))], rounds=3, timer=count().__next__)
    assert (found.units, found.seconds, found.cpu_seconds, found.spread) == (10, 4.0, 0.5, 5 / 3)


def test_unequal_work_is_refused():
    with pytest.raises(ValueError, match="other did 2 rows"):
        measure([Case("g", "one", "rows", lambda: 1), Case("g", "other", "rows", lambda: 2)], rounds=1)
    restless = count()
    with pytest.raises(ValueError, match="before"):
        measure([Case("g", "one", "rows", lambda: next(restless))], rounds=1)


def test_an_unknown_benchmark_is_told_with_what_exists(capsys):
    assert main(["nothing-like-it"]) == 2
    assert "no benchmark nothing-like-it" in capsys.readouterr().err
