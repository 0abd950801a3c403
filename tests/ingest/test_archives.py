"""Zip archives: every member a file of its own; what is damaged gives what can be read, and says so."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.archives import is_zip
from ingest.containers.source import sources_of
from ingest.imports import import_paths
from ingest.mappings import load_mapping, overriding
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.log.segments import SegmentLog
from tests.ingest.conftest import messages_of

TICKS = "".join(f"{1_000 + number},1.39{number % 10}48,1.39{number % 10}50\n" for number in range(12_000)).encode()


def packed(path: Path, method: int = zipfile.ZIP_DEFLATED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.mkdir("folder")
        for name, content in members.items():
            archive.writestr(f"folder/{name}_eurusd_tick_quote.csv", content)
        archive.writestr("__MACOSX/._x", b"nothing")
    return path


def read_all(path: Path) -> tuple[dict[str, bytes], list[str]]:
    sources, damage = sources_of(path)
    found = {source.name: b"".join(source.chunks()) for source in sources}
    return found, [text for text in (damage, *(source.damage for source in sources)) if text is not None]


def test_members_land_as_files_of_their_own_once(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    path = packed(tmp_path / "two.zip", **{"20140507": TICKS, "20140508": TICKS[:-1]})
    mapping = load_mapping("lean_fxcm_ticks")
    report = import_paths(lake, log, "csv", "quotes", [path], mapping=mapping)
    assert [file.status for file in report.files] == ["imported"] * 2
    assert report.files[0].path == f"{path}!folder/20140507_eurusd_tick_quote.csv"
    both = [(json.loads(str(row["request"])), row["payload"]) for row in messages_of(log)]
    both.sort(key=lambda one: (one[0]["file"], one[0]["first_record"]))
    asked, payloads = [one for one, _ in both], [payload for _, payload in both]
    assert [(one["file"], one["first_record"]) for one in asked[:2]] == [
        ("20140507_eurusd_tick_quote.csv", 0),
        ("20140507_eurusd_tick_quote.csv", 5_000),
    ]
    assert {one["archive"] for one in asked} == {"two.zip"}
    assert b"".join(payloads[:3]) == TICKS  # type: ignore[arg-type]
    again = import_paths(lake, log, "csv", "quotes", [path], mapping=mapping)
    assert (again.appended, [file.status for file in again.files]) == (0, ["already"] * 2)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_STORED])
def test_an_archive_cut_short_gives_the_members_that_stand_in_it(tmp_path: Path, method: int) -> None:
    path = packed(tmp_path / "a.zip", method, first=TICKS, second=TICKS)
    whole = path.read_bytes()
    second = whole.rindex(b"PK\x03\x04", 0, whole.rindex(b"PK\x03\x04"))
    path.write_bytes(whole[: second + (len(whole) - second) // 3])
    found, damages = read_all(path)
    assert found["first_eurusd_tick_quote.csv"] == TICKS
    assert TICKS.startswith(found["second_eurusd_tick_quote.csv"])
    assert any("directory cannot be read" in text for text in damages)
    assert any("ends early" in text for text in damages)


def test_a_changed_byte_is_told(tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", zipfile.ZIP_STORED, first=TICKS)
    path.write_bytes(path.read_bytes().replace(b"1000,1.39048", b"1000,1.49048", 1))
    found, damages = read_all(path)
    assert len(found["first_eurusd_tick_quote.csv"]) == len(TICKS)
    assert damages == [f"the checksum of its {len(TICKS)} bytes is not the archive's"]


@given(st.data())
def test_any_damage_gives_a_beginning_or_a_reason(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    path = packed(tmp_path_factory.mktemp("zip") / "a.zip", first=TICKS[:400], second=TICKS[:200])
    raw = bytearray(path.read_bytes())
    for place in data.draw(st.lists(st.integers(4, len(raw) - 1), max_size=3)):
        raw[place] = data.draw(st.integers(0, 255))
    path.write_bytes(raw[: data.draw(st.integers(4, len(raw)))])
    assert is_zip(path)
    found, damages = read_all(path)
    whole = [content for content in found.values() if content in (TICKS[:400], TICKS[:200])]
    assert damages or len(whole) == 2 or len(found) > 2


def test_an_encrypted_or_empty_archive_says_so(lake: Lake, log: SegmentLog, tmp_path: Path) -> None:
    path = packed(tmp_path / "a.zip", first=TICKS)
    raw = bytearray(path.read_bytes())
    for mark, flags in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = raw.index(mark, raw.index(b"PK\x03\x04", 4) if mark == b"PK\x03\x04" else raw.index(mark) + 4)
        raw[at + flags] |= 1
    path.write_bytes(raw)
    zipfile.ZipFile(tmp_path / "none.zip", "w").close()
    report = import_paths(lake, log, "csv", "quotes", [path, tmp_path / "none.zip"], mapping=load_mapping("lean_fxcm_ticks"))
    assert [file.status for file in report.files] == ["failed", "failed"]
    assert [str(file.error) for file in report.files] == ["encrypted", "the archive holds no file"]


def test_a_shipped_mapping_is_named_and_its_keys_said_otherwise() -> None:
    document = load_mapping("yahoo_download", overriding(["symbol=BRK-B", "price_exponent=0", 'null_marks=["", "x"]']))
    assert (document["symbol"], document["price_exponent"], document["null_marks"]) == ("BRK-B", 0, ["", "x"])
    with pytest.raises(NotFoundError, match="shipped are backtrader_days"):
        load_mapping("nobody")
    with pytest.raises(InvalidValueError, match="unknown keys colour"):
        load_mapping("yahoo_download", {"colour": "red"})
    with pytest.raises(InvalidValueError, match="KEY=VALUE"):
        overriding(["symbol"])
