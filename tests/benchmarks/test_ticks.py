"""The ticks that benchmarks share: the same on every machine and run, in the schema, shaped as they say."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc
import pytest

from lake.content import content_hash
from lake.files import conform
from lake.tables import table_named
from tests.benchmarks import ticks

TRADES = table_named("normalized.trades")


@pytest.mark.parametrize("make", [lambda: ticks.session(1, 5_000), lambda: ticks.busy_feed(5_000)])
def test_they_are_the_same_each_time_and_fit_the_table(make):
    rows = make()
    assert conform(TRADES, rows).equals(rows)
    assert content_hash(TRADES, rows) == content_hash(TRADES, make())
    for column in ("ts_event", "ts_recv", "sequence", "message_seq"):
        values = rows[column].cast("int64").to_numpy()
        assert np.all(values[1:] >= values[:-1]), f"{column} in order of arrival"
    assert pc.all(pc.greater_equal(rows["ts_recv"], rows["ts_event"])).as_py()


def test_a_session_has_a_busy_few_and_many_quiet_symbols():
    rows = ticks.session(0, 50_000)
    counts = np.sort(rows["instrument_id"].value_counts().field("counts").to_numpy())[::-1]
    assert 0.01 < counts[0] / 50_000 < 0.03 and len(counts) > 3_500
    (one,) = ticks.ranges(rows)
    assert (one.capture_id, one.first_seq, one.last_seq) == ("bench-sip-20260302", 0, 4_999)


def test_sessions_make_up_the_scale():
    sizes = [(number, rows.num_rows) for number, rows in ticks.sessions(0.0005)]
    assert sizes == [(number, 2_000) for number in range(5)]
