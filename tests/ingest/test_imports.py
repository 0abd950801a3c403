from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.source import Source, Told
from ingest.containers.splitters import CSV_CHUNK_RECORDS, csv_chunks
from ingest.imports import import_paths
from ingest.landing import land
from ingest.mappings import load_mapping
from ingest.simulator.recorded import FOLDER, binance, binance_file, charts
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import system_clock
from lake.log.log import RAW_TOPIC
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.steps import Steps
from tests.ingest.conftest import history_of, messages_of

SPOT = binance_file("spot")
COLUMNS = {"time": "t", "open": "o", "high": "o", "low": "o", "close": "o"}
MAPPING: dict[str, object] = {"kind": "bars", "symbol": "X", "time_format": "epoch_s", "columns": COLUMNS}
HEAD = b"t,o\n"


def small(path: Path, lines: int, *, packed: bool = False) -> Path:
    with gzip.open(SPOT) as file:
        content = b"".join(next(file) for _ in range(lines))
    path.write_bytes(gzip.compress(content) if packed else content)
    return path


def test_a_recorded_stream_keeps_bytes_and_receive_times(lake: Lake, log: SegmentLog) -> None:
    report = import_paths(lake, log, "binance", "spot", [SPOT])
    recording = binance("spot")
    rows = messages_of(log)
    assert (report.messages, report.appended, report.errors) == (recording.messages, recording.messages, ())
    streamed = [row for row in rows if row["request"] is None]
    assert [row["payload"] for row in streamed] == [frame.payload for frame in recording.frames]
    assert [row["ts_recv_nanos"] for row in streamed] == [frame.recv_ns % 1_000 for frame in recording.frames]
    (book,) = [row for row in rows if row["request"] is not None]
    assert book["payload"] == recording.snapshot
    assert json.loads(str(book["request"]))["symbol"] == "BTCUSDT"
    (announced,) = history_of(log, "ops.captures")
    assert (announced["kind"], json.loads(str(announced["detail"]))["file"]) == ("import", SPOT.name)


def test_the_same_file_twice_lands_once_whatever_is_between(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    plain = small(tmp_path / "a.txt", 1_200)
    first = import_paths(lake, log, "binance", "spot", [plain])
    again = import_paths(lake, log, "binance", "spot", [plain])
    land(lake, log)
    packed = import_paths(lake, log, "binance", "spot", [small(tmp_path / "a.txt", 1_200, packed=True)])
    lake.state.save_job(f"import:{first.files[0].capture_id}", {"status": "started"})
    unfinished = import_paths(lake, log, "binance", "spot", [plain])
    land(lake, log)
    assert [report.files[0].status for report in (first, again, packed, unfinished)] == [
        "imported",
        "already",
        "already",
        "already",
    ]
    assert {report.files[0].capture_id for report in (first, again, packed, unfinished)} == {first.files[0].capture_id}
    assert read(lake, "raw.messages", ["message_seq"]).num_rows == 1_200
    assert read(lake, "ops.captures", ["capture_id"]).num_rows == 1


def test_other_words_about_a_file_are_another_capture(lake: Lake, log: SegmentLog) -> None:
    chart = FOLDER / "yahoo" / "chart_DJI_1m_2022-03-18.json"
    when = datetime(2022, 3, 23, tzinfo=UTC)
    ids = {
        import_paths(lake, log, "yahoo", "chart", [chart], received_at=received).files[0].capture_id
        for received in (None, when, when)
    }
    assert len(ids) == 2
    requests = [json.loads(str(row["request"])) for row in messages_of(log)]
    assert sorted(str(request.get("received_at")) for request in requests) == ["2022-03-23T00:00:00+00:00", "None"]


def test_a_folder_of_charts_brings_what_its_manifest_recorded(lake: Lake, log: SegmentLog) -> None:
    report = import_paths(lake, log, "yahoo", "chart", [FOLDER / "yahoo"])
    told = {Path(file.path).name: file.status for file in report.files}
    assert sorted(name for name, status in told.items() if status == "imported") == [chart.file for chart in charts()]
    others = {path.name for path in (FOLDER / "yahoo").glob("[!_]*.json*")} - {chart.file for chart in charts()}
    assert {name for name, status in told.items() if status == "skipped"} == others
    rows = {str(json.loads(str(row["request"]))["file"]): row for row in messages_of(log)}
    for chart in charts():
        row = rows[chart.file]
        assert row["payload"] == chart.body
        assert (json.loads(str(row["headers"])) if row["headers"] else {}).get("date") == chart.date
    aapl = rows["chart_AAPL_1d_2020-08-31_2020-11-07_split_and_dividend.json"]
    assert aapl["status"] == 200
    assert "/v8/finance/chart/AAPL" in json.loads(str(aapl["request"]))["url"]


def test_a_folder_skips_what_is_not_of_the_feed_and_says_so(lake: Lake, log: SegmentLog) -> None:
    report = import_paths(lake, log, "binance", "spot", [FOLDER])
    taken = [file.path for file in report.files if file.status == "imported"]
    assert taken == [str(SPOT)]
    assert all(file.error == "does not look like binance spot" for file in report.files if file.status == "skipped")
    assert sum(file.status == "skipped" for file in report.files) > len(charts())
    assert report.errors == ()


def test_a_file_surely_of_another_feed_is_refused(lake: Lake, log: SegmentLog) -> None:
    report = import_paths(lake, log, "binance", "usdm", [SPOT])
    assert (report.files[0].status, report.appended) == ("failed", 0)
    assert report.errors == (f"{SPOT}: does not look like binance usdm",)


@pytest.mark.parametrize(("cut", "words"), [(-2_000, "gzip ends early"), (None, "gzip is damaged")])
def test_a_damaged_file_gives_what_can_be_read_and_an_error(
    lake: Lake, log: SegmentLog, tmp_path: Path, cut: int | None, words: str
) -> None:
    packed = bytearray(small(tmp_path / "whole.gz", 2_000, packed=True).read_bytes())
    if cut is None:
        packed[len(packed) // 2] ^= 0xFF
        packed[len(packed) // 2 + 1 : len(packed) // 2 + 40] = b"\xff" * 39
    bad = tmp_path / "bad.gz"
    bad.write_bytes(packed if cut is None else packed[:cut])
    report = import_paths(lake, log, "binance", "spot", [bad, SPOT])
    assert [file.status for file in report.files] == ["imported", "imported"]
    assert 500 < report.files[0].messages <= 2_000
    assert len(report.errors) == 1
    assert str(bad) in report.errors[0]
    assert words in report.errors[0]
    again = import_paths(lake, log, "binance", "spot", [bad])
    assert (again.files[0].status, again.appended, len(again.errors)) == ("already", 0, 1)


def test_lines_that_are_no_frames_are_messages_too(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    path = tmp_path / "odd.txt"
    lines = [
        b'1723161253937085768 {"stream":"btcusdt@trade","data":{}}',
        b"nonsense",
        b"",
        b"99999999999999999999 {}",
        b'17231 {"a":1}\r',
    ]
    path.write_bytes(b"\n".join(lines))
    report = import_paths(lake, log, "binance", "spot", [path])
    assert report.messages == 4
    assert [row["payload"] for row in messages_of(log)][1:] == [b"nonsense", b"99999999999999999999 {}", b'17231 {"a":1}\r']


@given(st.binary(max_size=3_000), st.data())
def test_a_cut_gzip_gives_a_beginning_and_says_so(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, data: st.DataObject
) -> None:
    packed = gzip.compress(content[:500]) + gzip.compress(content[500:])
    cut = data.draw(st.integers(2, len(packed)))
    path = tmp_path_factory.mktemp("gz") / "x.gz"
    path.write_bytes(packed[:cut])
    source = Source(path)
    found = b"".join(source.chunks())
    assert content.startswith(found)
    assert source.damage is not None or found in (content, content[:500])


def test_a_file_that_changes_while_it_is_imported_is_told(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    path = small(tmp_path / "a.txt", 1_500)

    class Meddler(Steps):
        def reached(self, name: str) -> None:
            with path.open("ab") as file:
                file.write(b"1723161253937085768 {}\n")

    with Lake.open(lake.settings, system_clock, Meddler()) as meddled:
        report = import_paths(meddled, log, "binance", "spot", [path])
    assert report.files[0].status == "failed"
    assert "changed while it was imported" in report.errors[0]


@pytest.mark.parametrize("content", [b"", gzip.compress(b"", mtime=0), b"\n\n"])
def test_a_file_without_messages_fails_by_name(lake: Lake, log: SegmentLog, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "empty.txt"
    path.write_bytes(content)
    report = import_paths(lake, log, "binance", "spot", [path])
    assert (report.files[0].status, report.appended) == ("failed", 0)
    assert str(path) in report.errors[0]


def test_csv_travels_in_chunks_with_header_and_mapping(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    path = tmp_path / "bars.csv"
    path.write_bytes(HEAD + b"".join(b"%d,1\r\n" % number for number in range(CSV_CHUNK_RECORDS + 3)))
    report = import_paths(lake, log, "csv", "bars", [path], mapping=MAPPING)
    first, second = messages_of(log)
    assert report.messages == 2
    assert first["payload"] == HEAD + b"".join(b"%d,1\n" % number for number in range(CSV_CHUNK_RECORDS))
    assert str(second["payload"], "ascii").splitlines() == ["t,o", "5000,1", "5001,1", "5002,1"]  # type: ignore[call-overload]
    request = json.loads(str(second["request"]))
    assert (request["mapping"], request["file"], request["chunk"], request["first_record"]) == (MAPPING, "bars.csv", 1, 5_000)
    other = import_paths(lake, log, "csv", "bars", [path], mapping={**MAPPING, "symbol": "Y"})
    assert other.appended == 2


@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\n\x00"), min_size=1).filter(str.strip), max_size=40))
def test_csv_chunks_keep_every_record(tmp_path_factory: pytest.TempPathFactory, fields: list[str]) -> None:
    records = ['"' + field.replace('"', '""') + '\n x",1' for field in fields]
    path = tmp_path_factory.mktemp("csv") / "some.csv"
    path.write_bytes(HEAD + "\n".join(records).encode())
    pieces = list(csv_chunks(Source(path), Told("some.csv", mapping=MAPPING)))
    body = b"".join(piece.payload.removeprefix(HEAD) for piece in pieces)
    assert body.decode() == "".join(record + "\n" for record in records)


def test_what_the_caller_got_wrong_is_an_error(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        import_paths(lake, log, "binance", "spot", [tmp_path / "none"])
    with pytest.raises(NotFoundError, match="no import for feed nobody nothing"):
        import_paths(lake, log, "nobody", "nothing", [SPOT])
    with pytest.raises(InvalidValueError, match="mapping"):
        import_paths(lake, log, "csv", "bars", [SPOT])
    with pytest.raises(InvalidValueError, match="mapping of kind 'bars'"):
        import_paths(lake, log, "csv", "actions", [SPOT], mapping=MAPPING)
    with pytest.raises(InvalidValueError, match="time zone"):
        import_paths(lake, log, "yahoo", "chart", [SPOT], received_at=datetime(2020, 1, 1))  # noqa: DTZ001
    (tmp_path / "_manifest.json").write_text("{")
    (tmp_path / "x.json").write_text('{"chart":{}}')
    report = import_paths(lake, log, "yahoo", "chart", [tmp_path / "x.json"])
    assert "_manifest.json" in report.errors[0]
    assert log.bounds(RAW_TOPIC) == {}


def test_announcement_files_and_bars_lie_in_one_folder(lake: Lake, log: SegmentLog) -> None:
    folder = FOLDER / "ice_reorg"
    report = import_paths(lake, log, "ice", "reorg", [folder])
    assert {file.status for file in report.files if "reorg." in Path(file.path).name} == {"imported"}
    assert report.messages == 4
    assert {row["payload"] for row in messages_of(log)} == {path.read_bytes() for path in folder.glob("reorg.*")}
    bars = import_paths(lake, log, "csv", "bars", [folder], mapping=load_mapping(folder / "aapl_raw.toml"))
    assert [(Path(file.path).name, file.messages) for file in bars.files if file.status == "imported"] == [("aapl_raw.csv", 1)]


def test_a_mapping_file_that_is_none_is_told_by_name(tmp_path: Path) -> None:
    path = tmp_path / "bad.toml"
    with pytest.raises(NotFoundError, match=r"bad\.toml"):
        load_mapping(path)
    for text in ("kind = ", "kind = 'bars'"):
        path.write_text(text)
        with pytest.raises(InvalidValueError, match=r"bad\.toml"):
            load_mapping(path)
