"""Every session of five exchanges as exchange_calendars' own answers have it: opens, closes, breaks, and no session more."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from tests.transforms.decode.cases import messages
from transforms.calendar_amendments import amended_closes
from transforms.calendars import sessions_of
from transforms.decode.decoded import SESSIONS
from transforms.feeds import feed_named

ANSWERS = Path(__file__).parents[1] / "answers" / "calendars"
COUNTS = {"cmes": 9_682, "xetr": 8_498, "xhkg": 8_803, "xlon": 8_515, "xnys": 8_324}


@pytest.mark.parametrize("name", COUNTS)
def test_every_session_is_the_answers(name: str):
    payload = gzip.decompress((ANSWERS / f"{name}.csv.gz").read_bytes())
    decoded = feed_named("reference", "sessions").decode(messages([payload], [{"file": f"{name}.csv.gz"}]))
    given = decoded.tables[SESSIONS]
    assert given.num_rows == COUNTS[name] and decoded.refused.num_rows == 0
    assert set(given["mic"].to_pylist()) == {name.upper()}

    ours = sessions_of(name.upper())
    told = {column: given[column].cast("int64").fill_null(-1).to_numpy() for column in ("opens_at", "closes_at", "break_start")}
    back = given["break_end"].cast("int64").fill_null(-1).to_numpy()
    days = given["session_date"].to_numpy().astype("datetime64[D]")
    place = ours.index(days)
    assert (place >= 0).all()
    assert ((ours.days >= days[0]) & (ours.days <= days[-1])).sum() == len(days)
    assert (ours.opens[place] == told["opens_at"]).all()
    assert (ours.closes[place] == told["closes_at"]).all()
    has_break = ours.pauses[place] < ours.closes[place]
    assert (np.where(has_break, ours.pauses[place], -1) == told["break_start"]).all()
    assert (np.where(has_break, ours.resumes[place], -1) == back).all()


def test_only_what_a_later_source_knows_is_amended():
    days = np.array(["2021-06-18", "2022-06-17", "2022-06-20", "2027-06-18"], "datetime64[D]")
    closes = (days + 1).astype("datetime64[us]").astype(np.int64)
    assert amended_closes("XNYS", days, closes) is closes
    moved = amended_closes("CMES", days, closes)
    assert (moved != closes).tolist() == [False, False, True, True]
    assert str(moved.astype("datetime64[us]")[2]) == "2022-06-20T17:00:00.000000"
