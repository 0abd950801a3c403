"""Whose rows are that were filed when less was known: by name and day, and back where a join ends."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pyarrow as pa

from lake.values import instrument_id_of
from transforms.belonging import NOBODY_MOVED, belonging
from transforms.symbol_eras import Change, Join, symbol_eras

FB, META, AGAIN = (instrument_id_of(f"listing:US/{name}") for name in ("FB", "META", "FB@2022-06-09"))
LONDON, HOME = instrument_id_of("listing:XLON/OCDO"), instrument_id_of("listing:US/OCDO")
RENAMED = symbol_eras(frozenset({Change("US", date(2022, 6, 9), "FB", "META")}), frozenset())
JOINED = symbol_eras(frozenset(), frozenset({Join("listing:XLON/OCDO", date.min, None, "listing:US/OCDO")}))
NOTHING = symbol_eras(frozenset(), frozenset())


def listings(*told: tuple[int, str, str, str | None, str]) -> pa.Table:
    names = ("instrument_id", "provider", "symbol", "mic", "identity")
    return pa.Table.from_pylist([dict(zip(names, row, strict=True)) for row in told])


def trades(*told: tuple[int, str, str, int]) -> pa.Table:
    """Return imported trades of (instrument, provider, symbol, day of June 2022)."""
    rows = [
        {
            "instrument_id": one, "provider": provider, "feed": "f", "symbol": symbol, "capture_id": "c",
            "ts_event": datetime(2022, 6, day, 15, tzinfo=UTC), "ts_recv": datetime(2024, 1, 1, tzinfo=UTC),
        }
        for one, provider, symbol, day in told
    ]  # fmt: skip
    stamp = pa.timestamp("us", "UTC")
    found = pa.Table.from_pylist(rows)
    return found.set_column(5, "ts_event", found["ts_event"].cast(stamp)).set_column(6, "ts_recv", found["ts_recv"].cast(stamp))


US = listings((FB, "a", "FB", "XNAS", "listing:US/FB"), (META, "a", "META", "XNAS", "listing:US/META"))
LSE = listings((LONDON, "yahoo", "OCDO.L", "XLON", "listing:XLON/OCDO"), (HOME, "a", "OCDO", "XNAS", "listing:US/OCDO"))


def test_a_row_belongs_to_whom_its_name_meant_on_its_day():
    whose = belonging(US, RENAMED, [RENAMED])
    rows = trades((FB, "a", "FB", 8), (FB, "a", "FB", 9), (META, "a", "META", 8), (META, "a", "META", 9))
    assert whose.owners(rows, frozenset({"c"})).to_pylist() == [FB, AGAIN, META, FB]
    received = whose.owners(rows)  # live rows: the day they came counts
    assert received.to_pylist() == [AGAIN, AGAIN, FB, FB]


def test_a_join_follows_the_suffixed_symbol_and_an_equal_symbol_elsewhere_stays():
    whose = belonging(LSE, JOINED, [JOINED])
    rows = trades((LONDON, "yahoo", "OCDO.L", 8), (HOME, "a", "OCDO", 8))
    assert whose.owners(rows, frozenset({"c"})).to_pylist() == [HOME, HOME]
    assert whose.sources([HOME]) == {LONDON, HOME} and whose.holders([LONDON]) == {LONDON, HOME}
    strangers = listings((LONDON, "b", "META", "XLON", "listing:XLON/OCDO"))
    assert belonging(strangers, RENAMED, [RENAMED]).names == {}


def test_what_was_withdrawn_means_itself_again_and_is_told_apart():
    before, now = belonging(LSE, JOINED, [JOINED]), belonging(LSE, NOTHING, [JOINED])
    rows = trades((HOME, "yahoo", "OCDO.L", 8), (LONDON, "yahoo", "OCDO.L", 8))
    filed_later = pa.concat_tables([LSE, listings((HOME, "yahoo", "OCDO.L", "XLON", "listing:US/OCDO"))])
    again = belonging(filed_later, NOTHING, [JOINED])
    assert again.owners(rows, frozenset({"c"})).to_pylist() == [LONDON, LONDON]
    assert {filed[0] for filed in now.differing(before)} == {LONDON} and before.differing(before) == set()


def test_where_nothing_changed_every_row_stays():
    rows = trades((FB, "a", "FB", 8))
    assert NOBODY_MOVED.owners(rows).to_pylist() == [FB] and NOBODY_MOVED.sources([FB]) == {FB}
    assert belonging(US, NOTHING, []).owners(rows.slice(0, 0)).to_pylist() == []
