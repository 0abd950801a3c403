"""Backup and restore of one lake with a history: moments, damage, what is refused."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from lake import as_of
from lake.backup.backing_up import back_up
from lake.backup.checking import check_backup
from lake.backup.documents import Backup, backup_ids, listing_of, load_backup, object_key
from lake.backup.drills import LAST, PROVEN, drill
from lake.backup.restoring import restore
from lake.backup.stores import LocalStore
from lake.catalog import Lake
from lake.dropped import dropped_of
from lake.errors import CorruptedError, InvalidValueError, NotFoundError, SettingsError
from lake.expiry import expire
from lake.identity import identity_of
from lake.instants import system_clock, to_datetime
from lake.log.log import RAW_TOPIC
from lake.maintenance.maintaining import maintain
from lake.publish import held_rows, hold, publish, stage, stage_release
from lake.scan import Where, read
from lake.settings import load_settings
from tests.lake.backup.making import (
    RAW,
    TRADES,
    capture_into,
    content,
    embedded_log,
    grow,
    now_ns,
    object_path,
    payloads,
    settings_at,
)
from tests.lake.made import trade_batch


@dataclass
class History:
    """A lake, its backups, and what it was at moments: name -> (time, content)."""

    lake: Lake
    store: LocalStore
    moments: dict[str, tuple[int, dict[str, str]]] = field(default_factory=dict)
    backups: dict[str, Backup] = field(default_factory=dict)

    def note(self, name: str) -> None:
        self.moments[name] = (now_ns(), content(self.lake))


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Iterator[History]:
    """Three batches, one of them held and then released; a backup with the hold open, and one at the end."""
    folder = tmp_path_factory.mktemp("history")
    with Lake.create(settings_at(folder / "home"), system_clock) as lake, embedded_log(lake) as log:
        log.begin(RAW_TOPIC, 0, 30)
        made = History(lake, LocalStore(folder / "store"))
        grow(lake, 0, 9)
        made.note("one batch")
        held = hold(lake, stage(lake, trade_batch(10, 19)), {"failed": ["price_jump"]})
        made.note("a hold")
        made.backups["a hold"] = back_up(lake, made.store, log)
        publish(lake, stage(lake, trade_batch(20, 29)))
        made.note("the feed went on")
        publish(lake, stage_release(lake, held))
        made.note("released")
        capture_into(log, 0, 2)
        made.note("captured")
        made.backups["captured"] = back_up(lake, made.store, log)
        yield made


def restored_at(history: History, home: Path, at_ns: int | None) -> Lake:
    restore(history.store, settings_at(home), system_clock, at_ns)
    return Lake.open(settings_at(home), system_clock)


@pytest.mark.parametrize("name", ["one batch", "a hold", "released"])
def test_a_moment_comes_back_as_it_was(history: History, tmp_path: Path, name: str) -> None:
    at_ns, was = history.moments[name]
    with restored_at(history, tmp_path / "there", at_ns) as lake:
        assert content(lake) == was
        told = as_of.visible(lake, TRADES, to_datetime(at_ns))
        assert told == as_of.visible(history.lake, TRADES, to_datetime(at_ns))
        assert sum(one.counts.get("in", 0) for one in as_of.ledger(lake, TRADES)) == sum(
            one.last_seq - one.first_seq + 1 for one in told.ranges
        )
        assert not list((tmp_path / "there" / "warehouse").glob(".*"))
        for held in lake.head(TRADES).holds:
            assert held_rows(lake, held).num_rows == held.row_count
        assert len(lake.head(TRADES).holds) == (name == "a hold")


def test_the_restored_lake_is_written_on_and_its_log_lands_on(history: History, tmp_path: Path) -> None:
    with restored_at(history, tmp_path / "there", None) as lake, embedded_log(lake) as log:
        assert content(lake) == history.moments["captured"][1]
        assert payloads(log, 30) == [b"m0", b"m1", b"m2"]
        capture_into(log, 3, 3)
        assert log.bounds(RAW_TOPIC)[0].next == 34
        publish(lake, stage(lake, trade_batch(30, 39)))
        assert lake.head(TRADES).vector("binance") == {"0": 40}
        assert identity_of(lake.state).epoch == 1 and identity_of(lake.state).lake_id == identity_of(history.lake.state).lake_id


def test_a_moment_that_no_backup_reaches_is_said_so(history: History, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="does not reach back"):
        restore(history.store, settings_at(tmp_path / "there"), system_clock, 1_000_000_000)
    # While the hold was open the feed went on; since then its files bear other names, so the backup before must do.
    at_ns = history.moments["the feed went on"][0]
    done = restore(history.store, settings_at(tmp_path / "there"), system_clock, at_ns)
    assert done.backup == history.backups["a hold"].id and done.at == history.backups["a hold"].at
    assert "no backup reaches back" in done.told and done.asked == to_datetime(at_ns).isoformat()


def test_a_place_that_is_not_empty_is_refused_and_stays(history: History, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("kept")
    with pytest.raises(InvalidValueError, match="not empty"):
        restore(history.store, settings_at(tmp_path), system_clock)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_second_backup_adds_only_its_own_documents(history: History) -> None:
    with embedded_log(history.lake) as log:
        again = back_up(history.lake, history.store, log)
    assert again.new_objects <= 2 and again.previous == history.backups["captured"].id, "state rows changed, files did not"
    assert again.tables == history.backups["captured"].tables
    assert check_backup(history.store, again) == []
    history.store.delete(f"backups/{again.id}.json")


@pytest.mark.parametrize("damage", ["flipped", "missing"])
def test_a_damaged_object_is_named_and_never_restored(history: History, tmp_path: Path, damage: str) -> None:
    copy = LocalStore(tmp_path / "store")
    shutil.copytree(history.store.root, copy.root)
    backup = history.backups["captured"]
    listing = listing_of(copy, backup.tables[TRADES])
    digest = next(digest for path, (digest, _) in listing.items() if path.startswith("data/"))
    found = object_path(copy, digest)
    if damage == "flipped":
        data = bytearray(found.read_bytes())
        data[len(data) // 2] ^= 1
        found.write_bytes(data)
    else:
        found.unlink()
    (fault,) = check_backup(copy, backup)
    assert object_key(found.name) in fault and ("damaged" if damage == "flipped" else "missing") in fault
    with pytest.raises((CorruptedError, NotFoundError), match=found.name):
        restore(copy, settings_at(tmp_path / "there"), system_clock)
    with pytest.raises(SettingsError, match="did not end"):
        Lake.open(settings_at(tmp_path / "there"), system_clock)
    done = drill(history.lake, copy)
    assert not done.is_ok and found.name in done.faults[0]
    assert history.lake.state.job(LAST) == done.document()


def test_a_damaged_document_is_no_backup(history: History, tmp_path: Path) -> None:
    copy = LocalStore(tmp_path)
    backup = history.backups["captured"]
    text = (history.store.root / f"backups/{backup.id}.json").read_text()
    (tmp_path / "backups").mkdir()
    (tmp_path / f"backups/{backup.id}.json").write_text(text.replace('"epoch": 0', '"epoch": 1'))
    with pytest.raises(CorruptedError, match=backup.id):
        load_backup(copy, backup.id)


def test_a_drill_proves_the_last_backup_and_leaves_nothing(history: History) -> None:
    done = drill(history.lake, history.store, lambda restored: [f"{len(restored.head(RAW).position)} owner"])
    assert done.is_ok and done.faults == [] and done.notes == ["verify: 1 owner"]
    assert (done.backup, done.rows) == (backup_ids(history.store)[-1], history.backups["captured"].rows)
    assert history.lake.state.job(PROVEN) == done.document()
    assert history.lake.state.audit_log()[-1]["what"] == "drill"
    assert not (history.lake.settings.home / "drill").exists()


def test_a_store_is_of_one_lake_and_of_its_latest_generation(history: History, tmp_path: Path) -> None:
    copy = LocalStore(tmp_path / "store")
    shutil.copytree(history.store.root, copy.root)
    with restored_at(history, tmp_path / "there", None) as lake, embedded_log(lake) as log:
        back_up(lake, copy, log)
        with (
            Lake.create(settings_at(tmp_path / "other"), system_clock) as other,
            pytest.raises(SettingsError, match="another lake"),
        ):
            back_up(other, copy, embedded_log(other))
        expire(lake, TRADES, keep=1, slack=0)
        back_up(lake, copy, log)
    at_ns, was = history.moments["one batch"]
    restore(copy, settings_at(tmp_path / "older"), system_clock, at_ns)
    with Lake.open(settings_at(tmp_path / "older"), system_clock) as lake:
        assert content(lake) == was, "an older backup still has what the newest has forgotten"


def test_what_retention_dropped_later_is_there_again_and_told(tmp_path: Path) -> None:
    """One backup, made after both drops, knows the moments before each of them."""
    store, home = LocalStore(tmp_path / "store"), tmp_path / "home"
    (day, next_day), other = (date(2024, 3, 4), date(2024, 3, 5)), Where("provider", "=", "binance")

    def drop(through: date) -> int:
        before_ns = now_ns()
        rules = load_settings(home=home, retention={TRADES: (datetime.now(UTC).date() - through).days - 1})
        with Lake.open(rules, system_clock) as lake:
            assert maintain(lake, [TRADES], ("retain",)).tables[0].planned
        return before_ns

    with Lake.create(settings_at(home), system_clock) as lake:
        grow(lake, 0, 9)
        moments = [drop(day), drop(next_day), now_ns()]
        back_up(lake, store, embedded_log(lake))
    told = []
    for number, at_ns in enumerate(moments):
        restore(store, settings_at(tmp_path / str(number)), system_clock, at_ns)
        with Lake.open(settings_at(tmp_path / str(number)), system_clock) as lake:
            told.append([(one.start, one.end) for one in dropped_of(lake.table(TRADES))])
            if number == 0:
                assert read(lake, TRADES, where=[other], as_of=to_datetime(at_ns)).num_rows == 10, "nothing is refused"
    assert told == [[], [(day, next_day)], [(day, next_day + timedelta(days=1))]]
