"""What only a database server does: processes racing on it, holders stopped inside a transaction, connections cut."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from pyiceberg.catalog.sql import SqlCatalog

from lake.catalog import LANDED, Lake
from lake.databases import IDLE_TIMEOUT_S, open_engine, with_driver
from lake.errors import CommitUnknownError, NotFoundError, ProviderUnavailableError, SettingsError
from lake.instants import system_clock
from lake.leases import Holder
from lake.settings import Settings, load_settings
from lake.state import State
from serving.operate.passing import environment
from tests.lake.processes import LAST, RAW, TRADES
from tests.lake.test_commits import data_files, land, numbers
from tests.object_store import Store
from tests.postgres import PASSWORD, Server


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "tests.lake.processes", *arguments]


def run(root: Path, settings: Settings, verb: str, *arguments: str) -> dict[str, object]:
    words = command(verb, str(settings.home), *arguments)
    done = subprocess.run(
        words, cwd=root, env={**os.environ, **environment(settings)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


@pytest.fixture(scope="module")
def made(postgres: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """A lake whose tests land on where the one before stopped."""
    settings = load_settings(home=tmp_path_factory.mktemp("server") / "home", catalog_url=postgres.database("server"))
    with Lake.create(settings, system_clock) as lake:
        yield lake


@pytest.fixture
def state(made: Lake, postgres: Server) -> Iterator[State]:
    opened = State(made.settings.state_url, system_clock, lease_timeout_s=0.2)
    yield opened
    opened.close()


def next_offset(lake: Lake) -> int:
    return lake.head(LANDED).vector("raw").get("0", 0)


def test_processes_that_make_one_lake_and_land_the_same_offsets_land_them_once(
    postgres: Server, root: Path, tmp_path: Path
) -> None:
    found = run(root, load_settings(home=tmp_path / "home", catalog_url=postgres.database("race")), "race", "3")
    assert (found["made"], found["codes"]) == ([0, 0, 0], [0, 0, 0])
    assert found[RAW] == list(range(LAST))
    assert found[f"{RAW} settled"] == [[first, first + 5] for first in range(0, LAST, 5)]


def test_killed_in_the_middle_of_a_hold_nothing_is_lost_and_nothing_twice(
    postgres: Server, object_store: Store, root: Path, tmp_path: Path
) -> None:
    store = object_store.settings("crash")
    settings = load_settings(home=tmp_path / "home", catalog_url=postgres.database("crash"), **store)
    (found,) = run(root, settings, "crash", "hold.described").values()
    assert isinstance(found, dict)
    assert (found["killed"], found["finished"]) == (-signal.SIGKILL, 0)
    assert found[RAW] == found[TRADES] == list(range(LAST))
    assert (found["branches"], found["holds"], found["visible"]) == (1, 0, [[0, LAST - 1]])


@pytest.mark.parametrize("how", ["stopped", "locked"])
def test_a_stopped_holder_is_killed_first(made: Lake, state: State, root: Path, how: str) -> None:
    words = command("lease", str(made.settings.home), "pipeline", how)
    with subprocess.Popen(
        words, cwd=root, env={**os.environ, **environment(made.settings)}, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None and holder.stdout.readline() == "taken\n"
        assert os.waitid(os.P_PID, holder.pid, os.WSTOPPED | os.WNOWAIT) is not None
        with state.lease("pipeline"):
            assert state.lease_holder("pipeline") == Holder.of_this_process()
        assert holder.wait() == -signal.SIGKILL


def test_one_transaction_writes_at_a_time_and_a_reading_one_sees_one_moment(state: State) -> None:
    state.save_job("a", {"n": 1})
    with state.reading() as reading:
        names = sa.text("SELECT key FROM documents WHERE kind = 'job' ORDER BY key")
        assert reading.scalars(names).all() == ["a"]
        state.save_job("b", {"n": 2})
        assert reading.scalars(names).all() == ["a"]
    assert set(state.jobs()) == {"a", "b"}
    with state.writing() as writing:
        writing.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
        with pytest.raises(CommitUnknownError, match="read-only"), state.reading() as reading:
            reading.exec_driver_sql("DELETE FROM documents")
        assert writing.exec_driver_sql("SHOW idle_in_transaction_session_timeout").scalar() == f"{IDLE_TIMEOUT_S}s"
    assert set(state.jobs()) == {"a", "b"}


def test_a_connection_cut_inside_a_transaction_leaves_nothing_and_the_next_one_works(state: State, postgres: Server) -> None:
    with pytest.raises(CommitUnknownError), state.writing() as writing:
        writing.exec_driver_sql("INSERT INTO documents VALUES ('job', 'cut', '{}')")
        postgres.say("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'server'")
    assert state.job("cut") is None
    state.save_job("cut", {})
    assert state.job("cut") == {}


def test_a_locked_catalog_leaves_the_outcome_unknown_and_deletes_nothing(made: Lake) -> None:
    first = next_offset(made)
    before = data_files(made)
    blocker = open_engine(made.settings.catalog_url)
    assert isinstance(made._catalog, SqlCatalog)

    def wait_shortly(connection: sa.Connection) -> None:
        connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")

    sa.event.listen(made._catalog.engine, "begin", wait_shortly)
    with blocker.begin() as other:
        other.exec_driver_sql("SELECT * FROM iceberg_tables FOR UPDATE")
        with pytest.raises(CommitUnknownError, match="lock timeout"):
            land(made, first, first + 4)
    sa.event.remove(made._catalog.engine, "begin", wait_shortly)
    blocker.dispose()
    assert len(data_files(made) - before) == 2
    assert next_offset(made) == first
    land(made, first, first + 4)
    assert numbers(made) == list(range(first + 5))


def test_a_server_that_stops_is_told_and_found_again(made: Lake, postgres: Server) -> None:
    first = next_offset(made)
    postgres.stop()
    try:
        with pytest.raises(CommitUnknownError):
            land(made, first, first + 4)
        with pytest.raises(ProviderUnavailableError, match="tickhouse:…@") as refused:
            Lake.open(made.settings, system_clock)
        assert PASSWORD not in str(refused.value) and "%2F" not in str(refused.value)
    finally:
        postgres.start()
    land(made, first, first + 4)
    assert numbers(made) == list(range(first + 5))


def test_an_address_that_is_none_is_a_wrong_setting(postgres: Server, tmp_path: Path) -> None:
    empty = load_settings(home=tmp_path, catalog_url=postgres.database("nothing"))
    with pytest.raises(NotFoundError, match="tickhouse init"):
        Lake.open(empty, system_clock)
    for url in (
        "postgresql+nodriver://h/d",
        "postgresql://h/d?sslmode=perhaps",
        "postgresql://h/d?sslmode=require&sslrootcert=/no",
    ):
        with pytest.raises(SettingsError):
            open_engine(url)
    assert with_driver("postgres://h/d") == "postgresql+pg8000://h/d"
    assert open_engine("postgresql://h/d?sslmode=verify-full").url.query == {}


def test_a_server_ends_with_the_tests_that_were_killed(postgres: Server, root: Path) -> None:
    """Another server's process, killed as a run that took too long is."""
    words = (
        "import sys; from tests.postgres import Server, programs; print(Server(programs()).folder, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", words], cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as tests:
        assert tests.stdout is not None
        folder = Path(tests.stdout.readline().strip())
        assert (folder / "data" / "postmaster.pid").exists() and folder != postgres.folder
        tests.kill()
    waiting = threading.Event()
    assert any(not folder.exists() or waiting.wait(0.1) for _ in range(600)), "the watcher stopped it and removed its folder"
