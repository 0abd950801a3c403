"""Names at any date: found, reversed, ambiguous, bounded by dates; against a plain loop over the intervals."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lake.values import instrument_id_of
from transforms.symbol_eras import Change, symbol_eras
from transforms.symbology import INTERVALS, Symbology, day_numbers, intervals, symbology

DAY = date(2022, 6, 9)
FB, META, SPOT = (instrument_id_of(name) for name in ("listing:US/FB", "listing:US/META", "listing:BINANCE/BTCUSDT:spot"))


def rows(**columns: list[object]) -> pa.Table:
    missing = pa.nulls(len(columns["instrument_id"]), pa.date32())
    return pa.table({"start_date": missing, "end_date": missing, **columns})


def known() -> Symbology:
    told = intervals(
        rows(instrument_id=[FB, META, SPOT], identity=["listing:US/FB", "listing:US/META", "listing:BINANCE/BTCUSDT:spot"]),
        rows(
            instrument_id=[FB, FB, META, SPOT, 5],
            provider=["csv", "yahoo", "csv", "binance", "csv"],
            symbol=["FB", "META", "META", "BTCUSDT", "X"],
        ),
        rows(instrument_id=[FB], scheme=["isin"], identifier=["US30303M1027"]),
        symbol_eras(frozenset({Change("US", DAY, "FB", "META")}), frozenset()),
    )
    return symbology(told)


def meant(found: Symbology, name: str, day: date) -> set[int]:
    _, interval = found.resolve([name], day_numbers(day, 1))
    return set(found.ids[interval].tolist())


def test_a_name_means_who_had_it_on_the_day():
    found, before = known(), DAY - timedelta(days=1)
    for name in ("META", "symbol:META", "yahoo:META", "listing:US/META"):
        assert (meant(found, name, before), meant(found, name, DAY)) == ({META}, {FB})
    assert meant(found, "FB", before) == {FB}
    assert meant(found, "csv:FB", DAY) == {instrument_id_of("listing:US/FB@2022-06-09")}
    assert meant(found, "US30303M1027", DAY) == meant(found, "isin:US30303M1027", before) == {FB}
    assert meant(found, "BTCUSDT", DAY) == meant(found, "listing:BINANCE/BTCUSDT:spot", before) == {SPOT}
    assert meant(found, "NOBODY", DAY) == meant(found, "symbol:", DAY) == set()


def test_every_name_of_an_instrument_comes_back():
    found = known()
    names = found.rows.take(pa.array(found.names_of(np.array([FB])))).to_pylist()
    told = {(row["name"], row["start_date"], row["end_date"]) for row in names}
    assert {("symbol:FB", None, DAY), ("symbol:META", DAY, None), ("isin:US30303M1027", None, None)} <= told
    for row in names:
        day = row["start_date"] or (row["end_date"] or DAY) - timedelta(days=1)
        assert FB in meant(found, row["name"], day)


def test_nothing_known_finds_nothing():
    nothing = symbology(INTERVALS.empty_table())
    assert nothing.resolve(["AAPL"], day_numbers(DAY, 1))[0].tolist() == [] and nothing.memory_bytes >= 0
    assert known().resolve([], day_numbers(DAY, 0))[1].tolist() == []


DAYS = st.dates(date(2000, 1, 1), date(2000, 1, 9))
SPANS = st.lists(
    st.tuples(st.sampled_from(["symbol:A", "symbol:B", "isin:A", "p:A"]), st.integers(1, 3), st.none() | DAYS, st.none() | DAYS),
    max_size=12,
)


@given(SPANS, st.lists(st.tuples(st.sampled_from(["A", "B", "symbol:A", "p:A", "C"]), DAYS), max_size=6))
def test_the_arrays_find_what_a_loop_finds(spans, asked):
    found = symbology(pa.Table.from_pylist([dict(zip(INTERVALS.names, span, strict=True)) for span in spans], INTERVALS))

    def loop(name: str, day: date) -> set[int]:
        return {
            one
            for text, one, start, end in spans
            if text == name and (start is None or start <= day) and (end is None or day < end)
        }

    names, days = [name for name, _ in asked], np.array([day_numbers(day, 1)[0] for _, day in asked], np.int64)
    number_of, interval = found.resolve(names, days)
    assert (np.diff(number_of) >= 0).all()
    for number, (name, day) in enumerate(asked):
        expected = loop(name, day) if ":" in name else loop(f"symbol:{name}", day) or loop(f"isin:{name}", day)
        assert set(found.ids[interval[number_of == number]].tolist()) == expected
