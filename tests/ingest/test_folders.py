"""A watched folder: a file is imported once, when it is whole; one being written is not."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ingest.folders import FolderWatch
from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.instants import NANOS_PER_SECOND
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from tests.ingest.conftest import messages_of

MAPPING: dict[str, object] = {
    "kind": "bars", "symbol": "X", "time_format": "epoch_s",
    "columns": {"time": "t", "open": "o", "high": "o", "low": "o", "close": "o"},
}  # fmt: skip


class Hands:
    """A clock that moves when it is told to."""

    def __init__(self) -> None:
        self.now_ns = 1_700_000_000 * NANOS_PER_SECOND

    def __call__(self) -> int:
        return self.now_ns

    def on(self, seconds: float) -> None:
        self.now_ns += round(seconds * NANOS_PER_SECOND)


Parts = tuple[Lake, SegmentLog, Hands]


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parts]:
    home, hands = tmp_path_factory.mktemp("watched"), Hands()
    with (
        Lake.create(load_settings(home=home), hands) as lake,
        SegmentLog(home / "log", hands, min_free_bytes=1, min_age_s=0) as log,
    ):
        yield lake, log, hands


def rows(first: int, count: int = 2) -> str:
    return "t,o\n" + "".join(f"{first + each},1.5\n" for each in range(count))


def watch(parts: Parts, folder: Path) -> FolderWatch:
    return FolderWatch(*parts[:2], "csv", "bars", folder, mapping=MAPPING, settle_s=5)


def looked(watched: FolderWatch, hands: Hands, seconds: float = 5) -> list[tuple[str, str]]:
    hands.on(seconds)
    return [(Path(report.path).name, report.status) for report in watched.look()]


def test_a_file_that_grows_is_left_alone_until_it_is_whole(parts: Parts, tmp_path: Path) -> None:
    watched, growing = watch(parts, tmp_path), tmp_path / "growing.csv"
    growing.write_text(rows(1_000)[:9])
    assert looked(watched, parts[2]) == []
    with growing.open("a") as file:
        file.write(rows(1_000)[9:])
    assert looked(watched, parts[2]) == [] and watched.waiting == 1
    assert looked(watched, parts[2], 4.9) == []
    assert looked(watched, parts[2], 0.1) == [("growing.csv", "imported")]
    assert looked(watched, parts[2]) == [] and watched.waiting == 0
    assert b"".join(bytes(row["payload"]) for row in messages_of(parts[1])).count(b"1000,1.5") == 1  # type: ignore[call-overload]


def test_a_name_of_a_file_being_written_waits_for_its_last_name(parts: Parts, tmp_path: Path) -> None:
    watched = watch(parts, tmp_path)
    (tmp_path / "below").mkdir()
    for name in ("a.csv.part", ".hidden.csv", "_manifest.json", "notes.md", "b.csv.TMP", "c.csv~"):
        (tmp_path / name).write_text(rows(2_000))
    assert [looked(watched, parts[2]) for _ in range(3)] == [[], [], []]
    (tmp_path / "a.csv.part").rename(tmp_path / "below" / "a.csv")
    assert looked(watched, parts[2]) == []
    assert looked(watched, parts[2]) == [("a.csv", "imported")]


def test_each_file_is_imported_once_whoever_watches(parts: Parts, tmp_path: Path) -> None:
    (tmp_path / "one.csv").write_text(rows(3_000))
    first = watch(parts, tmp_path)
    assert looked(first, parts[2]) + looked(first, parts[2]) == [("one.csv", "imported")]
    second = watch(parts, tmp_path)
    assert looked(second, parts[2]) + looked(second, parts[2]) == []
    (tmp_path / "copy.csv").write_bytes((tmp_path / "one.csv").read_bytes())
    assert looked(second, parts[2]) + looked(second, parts[2]) == [("copy.csv", "already")]


def test_a_crash_between_import_and_memory_imports_nothing_twice(parts: Parts, tmp_path: Path) -> None:
    lake, log, hands = parts
    (tmp_path / "crash.csv").write_text(rows(4_000))
    watched = watch(parts, tmp_path)
    assert looked(watched, hands) + looked(watched, hands) == [("crash.csv", "imported")]
    for key in lake.state.jobs("folder:csv-bars:"):
        lake.state.save_job(key, {"size": -1, "changed_ns": -1})
    before = len(messages_of(log))
    again = watch(parts, tmp_path)
    assert looked(again, hands) + looked(again, hands) == [("crash.csv", "already")]
    assert len(messages_of(log)) == before


def test_a_file_that_changes_later_is_a_new_one_and_a_bad_one_stops_nobody(parts: Parts, tmp_path: Path) -> None:
    watched, changing = watch(parts, tmp_path), tmp_path / "changing.csv"
    changing.write_text(rows(5_000))
    (tmp_path / "bad.csv").write_bytes(b"")
    found = looked(watched, parts[2]) + looked(watched, parts[2])
    assert ("changing.csv", "imported") in found and "bad.csv" in dict(found)
    assert dict(found)["bad.csv"] != "imported"
    changing.write_text(rows(5_000, 4))
    assert looked(watched, parts[2]) + looked(watched, parts[2]) == [("changing.csv", "imported")]


def test_a_file_that_goes_before_it_is_whole_is_forgotten(parts: Parts, tmp_path: Path) -> None:
    watched, gone = watch(parts, tmp_path), tmp_path / "gone.csv"
    gone.write_text(rows(6_000))
    assert looked(watched, parts[2]) == []
    gone.unlink()
    assert looked(watched, parts[2]) == [] and watched.waiting == 0
    os.rmdir(tmp_path)
    with pytest.raises(NotFoundError, match="gone"):
        watched.look()
    with pytest.raises(NotFoundError):
        watch(parts, tmp_path)
