"""Logs of FIX messages: where they are cut, what their numbers say, and the way into the log."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.containers.fix import is_fix, split
from ingest.containers.fix_numbers import Numbers
from ingest.imports import import_paths
from ingest.landing import land
from lake.catalog import Lake
from lake.log.segments import SegmentLog
from lake.scan import read
from tests.ingest.conftest import history_of, messages_of

SAMPLE = Path(__file__).parents[1] / "samples" / "fix" / "jse_indices" / "excerpt.fix"
LINES = SAMPLE.read_bytes().splitlines()


def message(*fields: str, begin: str = "FIX.4.4", mark: str = "\x01") -> bytes:
    """Return a message with the length and the sum that its fields have."""
    body = "".join(f"{one}{mark}" for one in fields)
    head = f"8={begin}{mark}9={len(body)}{mark}{body}"
    return f"{head}10={sum(head.replace(mark, chr(1)).encode()) % 256:03d}{mark}".encode()


DATA = message("35=B", "34=3", "95=22", "96=\x0110=000\x018=FIX.4.4\x019=9\x01")
LYING = message("35=0", "34=4").replace(b"9=", b"9=9", 1)
SHORT = b"8=FIX.4.4\x019=0\x0135=0\x0134=5\x0110=0\x01"
CUT = message("35=0", "34=6")[:20]
BARE = b"1128=9\x0135=X\x0149=CME\x0134=7\x0152=20120213183040306\x01"
PIPES = message("35=0", "34=8", mark="|")
STAMPED = b"20121105-23:24:06.000 : "
NOISE = b"20121105-23:24:06.000 : Created session"
LOG = b"".join(
    [
        b"\x01\n",
        *LINES[:3],
        DATA,
        LYING,
        b"\r\n",
        SHORT,
        b"\n",
        STAMPED,
        LINES[3],
        b"\n",
        CUT,
        b"\n",
        BARE,
        b"\n",
        NOISE,
        b"\n",
        PIPES,
    ]
)
EXPECTED = [
    *((b"", line) for line in LINES[:3]),
    (b"", DATA),
    (b"", LYING),
    (b"", SHORT),
    (STAMPED.strip(), LINES[3]),
    (b"", CUT),
    (b"", BARE),
    (b"", NOISE),
    (b"", PIPES),
]


def test_messages_end_where_they_say_and_where_they_lie():
    assert list(split([LOG])) == EXPECTED


@given(st.lists(st.integers(0, len(LOG)), max_size=8))
def test_any_cut_gives_the_same_messages(cuts):
    edges = [0, *sorted(cuts), len(LOG)]
    assert list(split(LOG[a:b] for a, b in pairwise(edges))) == EXPECTED


@pytest.mark.hypothesis
@given(
    st.lists(
        st.sampled_from([*LINES[:4], DATA, SHORT, CUT, BARE, b"8=FIX.4", b"10=", b"\x01", b"\n", b"|", b"9=99999999\x01"])
        | st.binary(max_size=6)
    )
)
def test_no_byte_of_any_log_is_lost(parts):
    log = b"".join(parts)
    blank = bytes.maketrans(b"", b"")
    found = b"".join(before + told for before, told in split([log]))
    assert found.translate(blank, b" \t\r\n\0\x01") == log.translate(blank, b" \t\r\n\0\x01")


def numbers_of(*headers: str):
    follower = Numbers()
    return [follower.follow(f"35=X|49=A|56=B|{one}|".encode(), is_repeat=False) for one in headers]


def words(found):
    return [(session, [(gap.status, gap.first_missing, gap.last_missing) for gap in gaps]) for session, gaps in found]


def test_numbers_left_out_are_a_gap_until_they_come():
    found = words(numbers_of("34=5", "34=6", "34=9", "34=7|43=Y", "34=10", "34=8|43=Y"))
    assert found == [(0, []), (0, []), (0, [("open", "7", "8")]), (0, []), (0, []), (0, [("filled", "7", "8")])]


def test_a_gap_fill_gives_numbers_up_and_a_reset_begins_anew():
    follower = Numbers()
    follower.follow(b"35=0|49=A|56=B|34=5|", is_repeat=False)
    follower.follow(b"35=0|49=A|56=B|34=9|", is_repeat=False)
    _, (filled,) = follower.follow(b"35=4|49=A|56=B|34=6|43=Y|123=Y|36=9|", is_repeat=False)
    assert (filled.status, filled.number) == ("filled", 0)
    assert follower.follow(b"35=A|49=A|56=B|34=1|141=Y|", is_repeat=False) == (1, ())
    assert follower.follow(b"35=0|49=A|56=B|34=2|", is_repeat=False) == (1, ())


def test_an_application_counts_beside_the_session():
    follower = Numbers()
    assert follower.follow(b"35=X|34=1|1180=A|1181=7|", is_repeat=False) == (0, ())
    _, (gap,) = follower.follow(b"35=X|34=2|1180=A|1181=9|", is_repeat=False)
    assert (gap.channel, gap.first_missing, gap.last_missing) == ("ApplSeqNum A", "8", "8")


def test_what_looks_like_fix():
    assert all(is_fix("x", head) for head in (LINES[0], PIPES, BARE, STAMPED + LINES[0]))
    assert not any(
        is_fix("x", head) for head in (b"", b"8=FIX", b'{"8": "FIX"}', b"35=X", json.dumps(["35=X"]).encode(), b"a=b\x01")
    )


def test_a_log_is_imported_once_with_what_its_numbers_miss(lake: Lake, log: SegmentLog) -> None:
    report = import_paths(lake, log, "fix", "market", [SAMPLE])
    again = import_paths(lake, log, "fix", "market", [SAMPLE])
    assert (report.messages, report.files[0].gaps, again.appended) == (len(LINES), 1, 0)
    rows = messages_of(log)
    assert [row["payload"] for row in rows] == LINES
    assert sum('"repeats"' in str(row["request"]) for row in rows) == len(LINES) - len(set(LINES))
    (gap,) = history_of(log, "quality.gaps")
    assert (gap["status"], gap["first_missing"], gap["last_missing"]) == ("open", "123", "670")


def test_an_import_that_died_goes_on_and_tells_its_gaps(lake: Lake, log: SegmentLog) -> None:
    whole = import_paths(lake, log, "fix", "market", [SAMPLE])
    lake.state.save_job(f"import:{whole.files[0].capture_id}", {"status": "started"})
    after = import_paths(lake, log, "fix", "market", [SAMPLE])
    assert (after.appended, after.files[0].gaps) == (0, 1)
    assert len(messages_of(log)) == len(LINES)
    land(lake, log)
    assert read(lake, "quality.gaps", ["gap_id"]).num_rows == 1
