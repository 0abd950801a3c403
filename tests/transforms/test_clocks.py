"""One fact told in milliseconds by one channel and in nanoseconds by another is one fact; what differs otherwise is not."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from random import Random

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.tables import table_named
from tests.transforms.making import at, of
from tests.transforms.test_revisions import NO_TRADES, TRADES, trade
from transforms.clocks import as_held, cut
from transforms.revisions import distinct_facts

MILLI = 1_000_000
UNITS = {("binance", "spot"): MILLI}
NOON = at("2024-08-08", 12)


def told(ns: int, number: int = 1, **values: object) -> dict[str, object]:
    """A trade so many nanoseconds after noon."""
    at_event = NOON + timedelta(microseconds=ns // 1_000)
    return trade(number, ts_event=at_event, ts_event_nanos=ns % 1_000, capture_id=f"c{number}", **values)


@pytest.mark.parametrize(
    ("first", "second", "is_one"),
    [
        (told(5 * MILLI), told(5 * MILLI + 979_400, 2), True),  # cut, as Polygon's stream tells it
        (told(5 * MILLI + 979_400), told(5 * MILLI, 2), True),
        (told(6 * MILLI), told(5 * MILLI + 979_400, 2), True),  # rounded
        (told(5 * MILLI), told(6 * MILLI, 2), False),
        (told(5 * MILLI), told(6 * MILLI + 1, 2), False),
        (told(5 * MILLI + 1), told(5 * MILLI + 2, 2), False),  # both are told finer: another instant
        (told(5 * MILLI), told(5 * MILLI + 979_400, 2, price=6), False),
        (told(5 * MILLI), told(5 * MILLI + 979_400, 2, conditions="12"), False),
    ],
)
def test_of_one_id_the_instant_may_be_told_coarser_and_nothing_else(
    first: dict[str, object], second: dict[str, object], is_one: bool
) -> None:
    one = distinct_facts(of(TRADES, first, second), NO_TRADES, TRADES, units=UNITS)
    assert (one.rows["message_seq"].to_pylist(), one.repeated, one.conflicting.num_rows) == ([1], is_one, not is_one)
    later = distinct_facts(of(TRADES, second), of(TRADES, first), TRADES, units=UNITS)
    assert (later.rows.num_rows, later.repeated, later.conflicting.num_rows) == (0, is_one, not is_one)
    assert distinct_facts(of(TRADES, second), of(TRADES, first), TRADES).conflicting.num_rows == 1, "of other feeds none is"


facts = st.lists(st.tuples(st.sampled_from([5, 6]), st.sampled_from([0, 300, 600_000, MILLI, MILLI + 700])), max_size=8)


def keyless(capture: int, told_facts: list[tuple[int, int]]) -> list[dict[str, object]]:
    return [
        told(ns, capture, price=price, trade_id=None, ordinal=place) | {"message_seq": place}
        for place, (price, ns) in enumerate(told_facts)
    ]


def by_unit(rows: list[dict[str, object]]) -> Counter[tuple[object, object]]:
    return Counter((row["price"], cut(row["ts_event"], MILLI)) for row in rows)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(facts, st.lists(st.booleans(), min_size=8, max_size=8), facts, st.randoms(), st.data())
def test_without_an_id_what_a_stream_and_a_history_tell_counts_once(
    history: list[tuple[int, int]], is_heard: list[bool], unknown: list[tuple[int, int]], random: Random, data: st.DataObject
) -> None:
    """The stream hears some and others, in milliseconds; the history is asked twice. Of a unit the larger count stands."""
    heard = [fact for fact, yes in zip(history, is_heard, strict=False) if yes] + unknown
    stream = keyless(1, [(price, ns // MILLI * MILLI) for price, ns in heard])
    captures = [stream, keyless(2, history), keyless(3, history)]
    random.shuffle(captures)
    held, repeated = NO_TRADES, 0
    while captures:
        count = data.draw(st.integers(1, len(captures)))
        batch, captures = [row for capture in captures[:count] for row in capture], captures[count:]
        found = distinct_facts(of(TRADES, *batch), held, TRADES, units=UNITS)
        held, repeated = pa.concat_tables([held, found.rows]), repeated + found.repeated
    assert by_unit(held.to_pylist()) == by_unit(stream) | by_unit(keyless(2, history))
    assert held.num_rows + repeated == len(stream) + 2 * len(history)


def test_of_two_quotes_in_a_millisecond_the_one_that_was_not_heard_is_new() -> None:
    quotes = table_named("normalized.quotes")
    two = [told(ns, 2, trade_id=None, sequence=None) | {"message_seq": ns} for ns in (5 * MILLI + 10, 5 * MILLI + 20)]
    rows = [told(5 * MILLI, 1, sequence=None), *two, *(row | {"capture_id": "c3"} for row in two)]
    kept = [{name: value for name, value in row.items() if name in quotes.column_names} for row in rows]
    found = distinct_facts(of(quotes, *kept), quotes.arrow_schema().empty_table(), quotes, units=UNITS)
    assert (found.rows["capture_id"].to_pylist(), found.repeated) == (["c1", "c2"], 3)


def test_facts_are_said_as_those_who_hold_them_say_them() -> None:
    content = ["ts_event", "ts_event_nanos", "price"]
    history, held = (
        pl.DataFrame(pl.from_arrow(of(TRADES, *(told(ns, price=price) for ns, price in facts)).select(content)))
        for facts in (((10, 5), (20, 5), (30, 6), (MILLI + 7, 5)), ((0, 5), (0, 6), (MILLI, 5), (20, 5)))
    )
    found = as_held(history, held, content, MILLI)
    assert found.sort(content).equals(held.sort(content))
    assert as_held(history, held, content, 1).equals(history)
