from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import sqlalchemy as sa

from lake.errors import CommitConflictError, CommitUnknownError, NotFoundError
from lake.settings import load_settings
from lake.state import State


@pytest.fixture
def state(tmp_path: Path) -> Iterator[State]:
    made = State(load_settings(home=tmp_path).state_url, lambda: 1_700_000_000_000_000_000)
    made.create()
    made.create()
    yield made
    made.close()


def test_documents_are_kept_by_kind_and_key(state: State) -> None:
    assert state.job("import/a") is None
    state.save_job("import/a", {"done": 1})
    state.save_job("import/a", {"done": 2})
    state.save_job("land", {})
    assert state.job("import/a") == {"done": 2}
    assert state.jobs("import/") == {"import/a": {"done": 2}}
    state.save_hold("import/a", {"rows": 3})
    assert state.hold("import/a") == {"rows": 3}
    assert state.job("import/a") == {"done": 2}
    with pytest.raises(NotFoundError):
        state.hold("none")


def test_a_hold_is_not_described_by_who_lost_a_lease(state: State) -> None:
    """Who took it may have listed the hold with files of its own; ours may be swept by now."""
    with state.lease("normalized.trades"):
        state.save_hold("h", {"files": ["of the first attempt"]})
        found = state.find_lease("normalized.trades")
        assert state.put_lease("normalized.trades", "of another host", "{}", found)
        with pytest.raises(CommitConflictError, match=r"lease normalized\.trades was taken"):
            state.save_hold("h", {"files": ["of the one that was paused"]})
    assert state.hold("h") == {"files": ["of the first attempt"]}


def test_a_document_is_changed_by_one_at_a_time(state: State) -> None:
    def count(before: dict[str, int] | None) -> dict[str, int]:
        return {"n": (before or {"n": 0})["n"] + 1}

    with ThreadPoolExecutor(4) as pool:
        told = list(pool.map(lambda _: state.change_document("counter", "a", count), range(40)))
    assert sorted(one["n"] for one in told if one) == list(range(1, 41))
    assert state.change_document("counter", "a", lambda before: before) == {"n": 40}
    assert state.change_document("counter", "a", lambda before: None) is None
    assert state.document("counter", "a") is None


def test_the_audit_log_keeps_order(state: State) -> None:
    state.audit("ann", "release", "checked by hand", {"hold": "h1"})
    state.audit("bob", "reject", "wrong feed")
    when = {"at_ns": 1_700_000_000_000_000_000}
    assert state.audit_log() == [
        {**when, "who": "ann", "what": "release", "reason": "checked by hand", "detail": {"hold": "h1"}},
        {**when, "who": "bob", "what": "reject", "reason": "wrong feed", "detail": {}},
    ]


def test_a_failed_transaction_leaves_nothing(state: State) -> None:
    with pytest.raises(ZeroDivisionError), state.writing() as connection:
        connection.execute(sa.text("INSERT INTO documents VALUES ('job', 'x', '{}')"))
        raise ZeroDivisionError
    assert state.job("x") is None
    with pytest.raises(CommitUnknownError, match="no such table"), state.reading() as connection:
        connection.execute(sa.text("SELECT * FROM nowhere"))


def test_what_is_written_survives_a_power_cut(state: State) -> None:
    with state.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
