"""DBN files as streams: cut between records, bounded, damaged, and told apart from everything else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.dbn import BATCH_BYTES, HEADER_TYPE, RECORDS_TYPE, dataset_of, dbn_batches
from ingest.containers.source import Source, Told
from tests.transforms.decode.dbn_files import FILES, FOLDER, bytes_messages, header, messages_of, record
from transforms.decode import dbn
from transforms.decode.dbn_layout import LAYOUTS, MBO, MBP_0

SMALL = (FOLDER / "versions" / "test_data.mbo.dbn").read_bytes()
PACKED = (FOLDER / "versions" / "test_data.mbo.v3.dbn.zst").read_bytes()
OLD = (FOLDER / "dbz" / "test_data.trades.dbz").read_bytes()
ORDER = LAYOUTS[MBO, 56]


def many_orders(count, same_sequence=False):
    one = np.frombuffer(record(ORDER, MBO, publisher_id=2, instrument_id=7, action=ord("A"), side=ord("B"), price=10**9), ORDER)
    rows = np.repeat(one, count)
    rows["order_id"] = np.arange(count)
    rows["sequence"] = 5 if same_sequence else np.arange(count) // 3
    rows["ts_event"] = rows["ts_recv"] = 1_609_156_800_000_000_000 + np.arange(count)
    return header({"X": [(20201228, 20201229, "7")]}, schema=0) + rows.tobytes()


def pieces_of(path):
    source = Source(path)
    return list(dbn_batches(source, Told(path.name))), source


def facts(found):
    return sum(rows.num_rows for rows in found.tables.values())


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_a_file_is_known_by_its_first_bytes_and_cut_without_losing_one(path):
    assert dataset_of(path.read_bytes()) in ("EQUS.MINI", "XNAS.ITCH", "OPRA.PILLAR", "GLBX.MDP3")
    pieces, source = pieces_of(path)
    assert source.damage is None
    assert pieces[0].content_type == HEADER_TYPE
    assert all("fault" not in piece.request for piece in pieces)
    if path.suffix == ".dbn":
        assert b"".join(piece.payload for piece in pieces) == path.read_bytes()


@pytest.mark.parametrize("content", [b"", b"DBN", b"{}", b"PK\x03\x04", b"\x28\xb5\x2f\xfd", b"\x1f\x8b\x08"])
def test_other_files_are_no_dbn(content):
    assert dataset_of(content) is None


def test_a_large_file_is_cut_between_records_and_says_where(tmp_path):
    path = tmp_path / "many.dbn.zst"
    path.write_bytes(zstandard.compress(many_orders(10_000)))
    pieces, source = pieces_of(path)
    batches = [piece for piece in pieces if piece.content_type == RECORDS_TYPE]
    assert source.damage is None
    assert len(batches) == -(-10_000 * 56 // BATCH_BYTES)
    assert batches[-1].ts_recv_ns == 1_609_156_800_000_009_999
    assert all(len(batch.payload) <= BATCH_BYTES and len(batch.payload) % 56 == 0 for batch in batches)
    counts = [len(batch.payload) // 56 for batch in batches]
    assert [batch.request["first_record"] for batch in batches] == [sum(counts[:number]) for number in range(len(counts))]


@pytest.mark.parametrize("same_sequence", [False, True])
def test_every_order_of_a_sequence_has_its_own_number_over_all_batches(same_sequence):
    rows = dbn.decode(bytes_messages(many_orders(10_000, same_sequence))).tables["normalized.book_events"]
    keys = set(zip(rows["sequence"].to_pylist(), rows["event_index"].to_pylist(), strict=True))
    assert len(keys) == rows.num_rows == 10_000
    assert rows["order_id"].to_pylist() == [str(number) for number in range(10_000)]


@pytest.mark.parametrize("words", [1, 3])
def test_a_record_shorter_than_every_header_ends_what_can_be_read(words):
    content = many_orders(3) + bytes((words,)) * 4 * words + many_orders(1)[-56:]
    found = dbn.decode(bytes_messages(content))
    assert found.tables["normalized.book_events"].num_rows == 3
    assert found.refused["rule"].to_pylist() == ["dbn_unreadable"]


def test_any_cut_of_zstd_frames_gives_the_same(tmp_path):
    whole = many_orders(500)
    path = tmp_path / "frames.dbn.zst"
    path.write_bytes(b"".join(zstandard.compress(whole[at : at + 3_000]) for at in range(0, len(whole), 3_000)))
    assert b"".join(piece.payload for piece in pieces_of(path)[0]) == whole


@pytest.mark.parametrize("content", [SMALL, PACKED, OLD], ids=["plain", "zstd", "dbz"])
def test_a_file_cut_at_any_byte_gives_rows_or_says_why(tmp_path, content):
    path, made, damaged = tmp_path / "cut.dbn", [], []
    for length in range(len(content)):
        path.write_bytes(content[:length])
        pieces, source = pieces_of(path)
        made += [(length, piece) for piece in pieces]
        damaged += [length] if source.damage else []
    cuts, pieces = [length for length, _ in made], [piece for _, piece in made]
    found = dbn.decode(messages_of(pieces))
    refused = {cuts[message] for message in found.refused["message_index"].to_pylist()}
    rows = Counter(cuts[message] for table in found.tables.values() for message in table["message_index"].to_pylist())
    whole = facts(dbn.decode(bytes_messages(content)))
    assert max(rows.values(), default=0) <= whole
    assert len(found.refused) + facts(found) + found.control >= len(pieces)
    silent = set(range(12, len(content))) - refused - set(damaged)
    head = int.from_bytes(content[4:8], "little") + 8
    ends = {SMALL: {head, head + 56}, OLD: {head}}  # a file that ends before or between records may be whole
    assert silent == ends.get(content, set())


@given(st.integers(0, len(SMALL) - 1), st.binary(min_size=1, max_size=8), st.sampled_from([SMALL, PACKED, OLD]))
def test_a_damaged_file_is_accounted_for(place, damage, content):
    changed = bytearray(content)
    changed[place : place + len(damage)] = damage
    messages = bytes_messages(bytes(changed))
    found = dbn.decode(messages)
    told = set(found.refused["message_index"].to_pylist())
    for rows in found.tables.values():
        rows.validate(full=True)
        told |= set(rows["message_index"].to_pylist())
    assert len(told) + found.control == messages.num_rows


@given(st.binary(max_size=200))
def test_any_bytes_are_cut_without_an_error(content):
    messages = bytes_messages(b"DBN\x03" + content)
    found = dbn.decode(messages)
    assert facts(found) + found.control + found.refused.num_rows >= messages.num_rows


def test_a_header_that_lies_is_refused_with_the_reason():
    lying = bytearray(header({"X": [(20201228, 20201229, "7")]}))
    lying[3] = 9
    found = dbn.decode(bytes_messages(bytes(lying) + record(LAYOUTS[MBP_0, 48], MBP_0)))
    assert found.refused["value"].to_pylist()[0] == "DBN file of version 9; expected 1 to 3"
    assert set(found.refused["rule"].to_pylist()) == {"dbn_unreadable"}
