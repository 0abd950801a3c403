"""Past snapshots: what one has that another has not, whichever files hold it, and which of them were rebuilds."""

from __future__ import annotations

import pytest

from lake.catalog import Lake
from lake.errors import NotFoundError
from lake.expiry import expire
from lake.publish import publish, replace_all, stage
from lake.scan import read
from lake.snapshots import difference, is_kept, rebuilds, rows_at
from tests.lake.made import trade_batch
from tests.lake.reading import TRADES


def sequences(rows: object) -> list[int]:
    return sorted(rows["sequence"].to_pylist())  # type: ignore[index]


def test_a_difference_is_of_rows_not_of_files(lake: Lake) -> None:
    empty = lake.head(TRADES).snapshot_id
    first = publish(lake, stage(lake, trade_batch(0, 9))).snapshot_id
    publish(lake, stage(lake, trade_batch(10, 19)))
    base = lake.head(TRADES).snapshot_id
    kept = read(lake, TRADES).sort_by("sequence")
    rebuilt = publish(lake, replace_all(lake, TRADES, kept.slice(1), "again", base)).snapshot_id
    found = difference(lake, TRADES, base, rebuilt)
    assert (sequences(found.gone), found.come.num_rows) == ([0], 0)
    back = difference(lake, TRADES, rebuilt, first)
    assert (sequences(back.gone), sequences(back.come)) == (list(range(10, 20)), [0])
    assert sequences(rows_at(lake, TRADES, first)) == sequences(difference(lake, TRADES, empty, first).come) == list(range(10))
    assert [(one.snapshot_id, one.base) for one in rebuilds(lake, TRADES)] == [(rebuilt, base)]


def test_what_expiry_forgot_cannot_be_compared_and_what_it_was_told_to_keep_can(lake: Lake) -> None:
    made = [publish(lake, stage(lake, trade_batch(first, first + 1))).snapshot_id for first in range(0, 8, 2)]
    assert expire(lake, TRADES, keep=1, slack=0, also=made[:1]) > 0
    assert [is_kept(lake, TRADES, one) for one in made] == [True, False, False, True]
    assert sequences(difference(lake, TRADES, made[0], made[-1]).come) == [2, 3, 4, 5, 6, 7]
    with pytest.raises(NotFoundError, match="forgotten"):
        rows_at(lake, TRADES, made[1])
