"""DBN files through the importer: a dataset is a feed, twice lands once, memory does not grow with the file."""

from __future__ import annotations

import tracemalloc
from datetime import UTC, datetime

import pytest
import zstandard

from ingest.containers.dbn import BATCH_BYTES, dbn_batches, file_feed, reference_lines
from ingest.containers.registry import CONTAINERS
from ingest.containers.source import Source, Told
from ingest.imports import import_paths
from ingest.landing import land
from lake.scan import read
from lake.values import CaptureKind
from quality_checks.promotion import promote
from tests.ingest.test_dbn_files import many_orders
from tests.transforms.decode.dbn_files import FILES, FOLDER
from transforms.feeds import feed_named, feed_of

REFERENCE = sorted((FOLDER / "reference").glob("*.jsonl"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_is_of_one_feed_alone(path):
    beginning = Source(path).beginning()
    assert [key for key, container in CONTAINERS.items() if container.is_one(path.name, beginning)] == [("databento", "dbn")]


@pytest.mark.parametrize("path", REFERENCE, ids=lambda path: path.name)
def test_reference_data_is_of_one_feed_alone(path, tmp_path):
    packed = tmp_path / f"{path.name}.zst"
    packed.write_bytes(zstandard.compress(path.read_bytes()))
    for one in (path, packed):
        beginning = Source(one).beginning()
        assert [key for key, container in CONTAINERS.items() if container.is_one(one.name, beginning)] == [
            ("databento", "reference")
        ]
        pieces = reference_lines(Source(one), Told(one.name))
        assert b"\n".join(piece.payload for piece in pieces) == path.read_bytes().rstrip()


def test_reference_data_is_cut_between_lines(tmp_path):
    line = REFERENCE[-1].read_bytes().split(b"\n")[0]
    path = tmp_path / "many.jsonl"
    path.write_bytes(b"\n".join([line] * 200) + b"\n")
    pieces = list(reference_lines(Source(path), Told(path.name)))
    assert [piece.payload.count(line) for piece in pieces] == [108, 92]
    assert [piece.request["first_line"] for piece in pieces] == [0, 108]


def test_datasets_are_feeds_and_a_file_lands_once(lake, log):
    given = [FOLDER / "XNAS.ITCH" / f"test_data.{name}.dbn.zst" for name in ("trades", "tbbo")]
    first = import_paths(lake, log, "databento", "dbn", [*given, FOLDER / "reference"])
    again = import_paths(lake, log, "databento", "dbn", given)
    assert {file.status for file in first.files if ".dbn" in file.path} == {"imported"}
    assert {file.status for file in first.files if ".jsonl" in file.path} == {"skipped"}
    assert (again.appended, again.messages) == (0, first.messages)
    land(lake, log)
    promote(lake, "databento")
    more = [FOLDER / name / "test_data.trades.dbn.zst" for name in ("EQUS.MINI", "OPRA.PILLAR")]
    assert import_paths(lake, log, "databento", "dbn", more).errors == ()
    land(lake, log)
    captures = read(lake, "ops.captures", ["feed", "kind"]).to_pylist()
    assert sorted(row["feed"] for row in captures) == ["equs.mini", "opra.pillar", "xnas.itch", "xnas.itch"]
    assert {row["kind"] for row in captures} == {CaptureKind.IMPORT}
    trades = read(lake, "normalized.trades", ["feed", "symbol", "mic", "ts_event", "ts_event_nanos", "session_date"]).to_pylist()
    assert [(row["feed"], row["symbol"]) for row in trades] == [("xnas.itch", "NVDA")] * 4  # each trade once, of two schemas
    earliest = min(trades, key=lambda row: row["ts_event"])
    assert earliest["ts_event"] == datetime(2020, 12, 28, 9, 5, 12, 576690, UTC)
    assert (earliest["ts_event_nanos"], earliest["mic"], str(earliest["session_date"])) == (768, "XNAS", "2020-12-28")


def test_any_dataset_is_a_feed_and_other_names_are_none():
    assert feed_named("databento", "abcd.new").tables == feed_named("databento", "dbn").tables
    assert feed_named("databento", "abcd.new").feed == "abcd.new"
    assert feed_of("databento", "nothing") is None
    assert feed_of("binance", "spot.new") is None


def test_a_damaged_name_of_a_dataset_is_no_feed_and_loses_no_record(lake, log, tmp_path):
    path, named = tmp_path / "damaged.dbn", {}
    for dataset in ("XNAS.ITCH", "g     p3", "../../x", "XNAS.", "", "XNAS*ITCH"):
        path.write_bytes(many_orders(3).replace(b"XNAS.ITCH", dataset.encode().ljust(9, b"\0")))
        named[dataset] = file_feed(Source(path))
    assert named.pop("XNAS.ITCH") == "xnas.itch" and set(named.values()) == {None}
    (file,) = import_paths(lake, log, "databento", "dbn", [path]).files
    assert (file.status, file.error, file.messages) == ("imported", None, 2)
    land(lake, log)
    assert promote(lake, "databento").tables["normalized.book_events"].rows == 3
    assert set(read(lake, "normalized.book_events", ["feed"])["feed"].to_pylist()) == {"dbn"}


def test_memory_is_a_batch_whatever_the_file(tmp_path):
    path = tmp_path / "large.dbn.zst"
    path.write_bytes(zstandard.compress(many_orders(100_000)))
    tracemalloc.start()
    size = sum(len(piece.payload) for piece in dbn_batches(Source(path), Told(path.name)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size > 5_600_000
    assert peak < 20 * BATCH_BYTES


def test_reading_again_gives_the_same_messages(tmp_path):
    path = tmp_path / "large.dbn.zst"
    path.write_bytes(zstandard.compress(many_orders(20_000, same_sequence=True)))
    source = Source(path)
    assert list(dbn_batches(source, Told("x"))) == list(dbn_batches(source, Told("x")))
