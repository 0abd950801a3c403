"""The engines that are compared: equal answers to equal questions, here and in a process of their own."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from lake.tables import table_named
from tests.benchmarks import ticks
from tests.benchmarks.bench_lake import check_bars, questions
from tests.benchmarks.engines import APPENDS, LOADS, ORDER, OURS, READERS, Engine, Given, place_for
from tests.benchmarks.engines.elsewhere import Elsewhere, python_of, why_not
from tests.benchmarks.engines.prepared import prepare

OF_THE_HOUSE = [name for name, engine in READERS.items() if engine.package is None]
"""Engines that need no package beyond ours."""


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> Given:
    return prepare(tmp_path_factory.mktemp("engines"), 0.0005)


def rows_of(given: Given) -> pa.Table:
    return ticks.session(ticks.SESSIONS - 1, 2_000)


def test_everybody_answers_alike(given):
    opened = {name: READERS[name].load()(given) for name in OF_THE_HOUSE}
    for question, (method, arguments) in questions().items():
        answers = {name: getattr(one, method)(*arguments) for name, one in opened.items()}
        assert len(set(answers.values())) == 1 and answers[OURS] >= 0, (question, answers)
    assert opened[OURS].all_bars() > 1_000
    check_bars(given)


def test_the_session_beside_the_lake_is_its_newest(given):
    with pa.OSFile(given.session) as file:
        assert pa.ipc.open_file(file).read_all().equals(rows_of(given))
    assert prepare(Path(given.folder), 0.0005) == given
    with pytest.raises(ValueError, match="another scale"):
        prepare(Path(given.folder), 0.001)


def test_an_engine_in_a_process_of_its_own_answers_the_same_and_tells_its_memory(given):
    method, arguments = questions()["1-minute bars of all"]
    here = getattr(READERS["Polars on the same Parquet"].load()(given), method)(*arguments)
    with Elsewhere("read", "Polars on the same Parquet", given) as there:
        done = there.ask(method, arguments)
    assert done.units == here and done.wall_s > 0 and done.cpu_s > 0
    assert 10 < there.imports_mb <= there.opened_mb and 10 < there.held_mb <= there.peak_mb
    with Elsewhere("append", "limit: Arrow bytes, write and fsync", given) as writer:
        assert writer.ask("run").units == 1_000


def test_an_engine_that_cannot_start_says_so(given, capfd):
    with pytest.raises(RuntimeError, match="ended with 1"):
        Elsewhere("read", "nobody", given)
    assert "KeyError: 'nobody'" in capfd.readouterr().err


@pytest.mark.parametrize("writers", [APPENDS, LOADS])
def test_everybody_writes_all_rows_each_time(given, tmp_path, writers):
    rows = rows_of(given)
    for name, engine in writers.items():
        if engine.package is None:
            run = engine.load()(place_for(replace(given, folder=str(tmp_path)), name), rows)
            assert (run(), run()) == (2_000, 2_000), name
    assert list(tmp_path.rglob("*.parquet")) or writers is APPENDS


def test_a_peer_that_is_not_there_is_told_and_may_come_from_another_interpreter():
    nobody = Engine("arcticdb_lmdb", "Arctic", "no_such_package")
    assert "no_such_package is not installed" in str(nobody.missing())
    arctic = READERS["ArcticDB, LMDB"]
    assert why_not(arctic, "/elsewhere/python") is None
    assert python_of(arctic, "/elsewhere/python") == "/elsewhere/python"
    assert python_of(nobody, "/elsewhere/python") == sys.executable


def test_everybody_sorts_as_the_lake_does():
    assert table_named("normalized.trades").order == ORDER
