"""Bars: against bars that others gave, against plain arithmetic a trade at a time, and the laws that hold for any rows."""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lake.errors import InvalidValueError
from transforms.bars import PRICES, SCHEMA, bars_of_bars, quote_bars, trade_bars
from transforms.calendars import STAMP, Market, Venue, venue_of
from transforms.conditions import ALL, HIGH_LOW, OPEN_CLOSE, SALE_CONDITIONS, VOLUME, effect_of

FXCM = Path(__file__).parents[1] / "answers" / "fxcm_eurusd"
FXCM_DAY = date(2014, 5, 4)
FXCM_DAILY = [["1.387", "1.38874", "1.38645", "1.38755"], ["1.3879", "1.38892", "1.38649", "1.38758"]]
FXCM_CLOCK = Venue(Market.ZONE, "Etc/GMT+5")
CRYPTO = venue_of(None, None, "crypto")
NEW_YORK = venue_of("XNYS")
DAY = date(2024, 11, 29)
PRICE, SIZE = pa.decimal128(18, 9), pa.decimal128(18, 8)
Row = tuple[int, datetime, Decimal, Decimal]


def lines(name: str) -> list[list[str]]:
    with zipfile.ZipFile(FXCM / f"{name}.zip") as found:
        return [line.split(",") for line in found.read(found.namelist()[0]).decode().split()]


def fxcm_quotes() -> pa.Table:
    told = lines("tick")
    start = datetime(2014, 5, 4, 5, tzinfo=UTC)
    columns = {
        "instrument_id": pa.array([1] * len(told), pa.int64()),
        "session_date": pa.array([FXCM_DAY] * len(told)),
        "ts_event": pa.array([start + timedelta(milliseconds=int(row[0])) for row in told], STAMP),
    }
    sides = {f"{side}_price": pa.array([Decimal(row[n]) for row in told], PRICE) for n, side in ((1, "bid"), (2, "ask"))}
    return pa.table(columns | sides)


@pytest.mark.parametrize(("interval", "name"), [("1s", "second"), ("1m", "minute")])
def test_bars_of_fxcm_quotes_are_those_that_fxcm_gives(interval: str, name: str) -> None:
    start = datetime(2014, 5, 4, 5, tzinfo=UTC)
    expected = {}
    for row in lines(name):
        at = start + timedelta(milliseconds=int(row[0]))
        expected[at, "bid"], expected[at, "ask"] = [Decimal(v) for v in row[1:5]], [Decimal(v) for v in row[6:10]]
    made = quote_bars(fxcm_quotes(), interval, FXCM_CLOCK, ("bid", "ask")).to_pylist()
    assert {(bar["ts_open"], bar["price_type"]): [bar[name] for name in PRICES] for bar in made} == expected
    assert sum(bar["quote_count"] for bar in made) == 2 * len(lines("tick"))


def test_the_day_of_fxcm_is_the_one_it_gives_from_quotes_and_from_minutes() -> None:
    quotes = fxcm_quotes()
    for kind, given_day in zip(("bid", "ask"), FXCM_DAILY, strict=True):
        day = quote_bars(quotes, "1d", FXCM_CLOCK, (kind,))
        assert [day[name][0].as_py() for name in PRICES] == [Decimal(value) for value in given_day]
        assert bars_of_bars(quote_bars(quotes, "1m", FXCM_CLOCK, (kind,)), "1d", FXCM_CLOCK).equals(day)


def test_a_mid_is_rounded_once_half_to_even_and_needs_both_sides() -> None:
    quotes = fxcm_quotes().slice(0, 4)
    bid = [Decimal("1.000000001"), Decimal("1.000000001"), None, Decimal("2")]
    ask = [Decimal("1.000000002"), Decimal("1.000000004"), Decimal("9"), None]
    quotes = quotes.set_column(3, "bid_price", pa.array(bid, PRICE)).set_column(4, "ask_price", pa.array(ask, PRICE))
    (bar,) = quote_bars(quotes, "1d", FXCM_CLOCK, ("mid",)).to_pylist()
    assert (bar["open"], bar["close"], bar["quote_count"]) == (Decimal("1.000000002"), Decimal("1.000000002"), 2)
    assert bar["volume"] is None
    assert quote_bars(quotes, "1d", FXCM_CLOCK)["price_type"].to_pylist() == ["bid", "ask", "mid"]


# --- trades


def table(rows: Sequence[Row], day: date = DAY) -> pa.Table:
    instrument, at, price, size = list(zip(*rows, strict=True)) or [()] * 4
    return pa.table(
        {
            "instrument_id": pa.array(instrument, pa.int64()),
            "session_date": pa.array([day] * len(rows), pa.date32()),
            "ts_event": pa.array(at, STAMP),
            "price": pa.array(price, PRICE),
            "size": pa.array(size, SIZE),
        }
    )


def plainly(rows: Sequence[Row], flags: Sequence[int], step: timedelta) -> dict[tuple[int, datetime], dict[str, object]]:
    """Return bars of a crypto day, a trade at a time."""
    found: dict[tuple[int, datetime], dict[str, object]] = {}
    midnight = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    order = sorted(range(len(rows)), key=lambda n: (rows[n][0], rows[n][1]))
    for n in order:
        instrument, at, price, size = rows[n]
        key = (instrument, midnight + (at - midnight) // step * step)
        if not flags[n] & (OPEN_CLOSE | HIGH_LOW | VOLUME):
            continue
        bar = found.setdefault(key, dict.fromkeys(PRICES) | {"volume": Decimal(0), "trade_count": 0, "dollar_volume": Decimal(0)})
        if flags[n] & OPEN_CLOSE:
            bar["open"] = price if bar["open"] is None else bar["open"]
            bar["close"] = price
        if flags[n] & HIGH_LOW:
            bar["high"] = price if bar["high"] is None else max(bar["high"], price)  # type: ignore[call-overload]
            bar["low"] = price if bar["low"] is None else min(bar["low"], price)  # type: ignore[call-overload]
        if flags[n] & VOLUME:
            bar["volume"] += size  # type: ignore[operator]
            bar["trade_count"] += 1  # type: ignore[operator]
            bar["dollar_volume"] += price * size  # type: ignore[operator]
    for bar in found.values():
        volume = bar["volume"]
        quotient = None if volume <= 0 else bar["dollar_volume"] / volume  # type: ignore[operator]
        bar["vwap"] = None if quotient is None else quotient.quantize(Decimal("1e-9"), ROUND_HALF_EVEN)
    return found


NOON = datetime(2024, 11, 29, 12, tzinfo=UTC)
TRADE = st.tuples(
    st.sampled_from([-(2**63), 7, 2**63 - 1]),
    st.integers(0, 600 * 10**6).map(lambda us: NOON + timedelta(microseconds=us)),
    st.one_of(st.integers(-(10**18) + 1, 10**18 - 1), st.integers(1, 10**6)).map(lambda n: Decimal(n).scaleb(-9)),
    st.one_of(st.integers(0, 10**18 - 1), st.integers(0, 50)).map(lambda n: Decimal(n).scaleb(-8)),
)
FLAGS = st.sampled_from([ALL, 0, VOLUME, HIGH_LOW | VOLUME, OPEN_CLOSE | HIGH_LOW])
TOLD = (*PRICES, "volume", "trade_count", "dollar_volume", "vwap")


@given(st.lists(st.tuples(TRADE, FLAGS), min_size=1, max_size=25), st.booleans())
@settings(deadline=None, max_examples=80)
def test_bars_are_what_counting_a_trade_at_a_time_gives(told: list[tuple[Row, int]], has_codes: bool) -> None:
    rows, flags = [row for row, _ in told], [flag if has_codes else ALL for _, flag in told]
    with localcontext() as context:
        context.prec = 80
        expected = plainly(rows, flags, timedelta(minutes=1))
    made = trade_bars(table(rows), "1m", CRYPTO, np.array(flags, np.uint8) if has_codes else None)
    found = {(bar["instrument_id"], bar["ts_open"]): {name: bar[name] for name in TOLD} for bar in made.to_pylist()}
    assert found == expected
    assert made.schema.equals(SCHEMA)


@given(st.lists(st.tuples(TRADE, FLAGS), min_size=1, max_size=20), st.sampled_from(["5m", "1h", "1d", "1mo"]))
@settings(deadline=None, max_examples=30)
def test_bars_of_bars_are_bars_of_trades(told: list[tuple[Row, int]], interval: str) -> None:
    rows, flags = table([row for row, _ in told]), np.array([flag for _, flag in told], np.uint8)
    for kinds in (None, flags):
        direct = trade_bars(rows, interval, CRYPTO, kinds)
        assert bars_of_bars(trade_bars(rows, "1s", CRYPTO, kinds), interval, CRYPTO).equals(direct)
        assert bars_of_bars(bars_of_bars(trade_bars(rows, "1s", CRYPTO, kinds), "1m", CRYPTO), interval, CRYPTO).equals(direct)


@given(st.lists(TRADE, min_size=2, max_size=30, unique_by=lambda row: (row[0], row[1])), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=25)
def test_the_order_of_arrival_changes_nothing(rows: list[Row], random) -> None:  # type: ignore[no-untyped-def]
    shuffled = list(rows)
    random.shuffle(shuffled)
    assert trade_bars(table(shuffled), "1m", CRYPTO).equals(trade_bars(table(rows), "1m", CRYPTO))


def test_a_volume_of_many_trades_is_exact_where_products_take_two_words() -> None:
    count = 50_000
    price, size = Decimal("12345.123456789"), Decimal("987654.12345678")
    at = [NOON + timedelta(microseconds=n) for n in range(count)]
    (bar,) = trade_bars(table([(7, one, price, size) for one in at]), "1h", CRYPTO).to_pylist()
    with localcontext() as context:
        context.prec = 80
        assert bar["dollar_volume"] == price * size * count
        assert (bar["volume"], bar["vwap"]) == (size * count, price)
    too_much = [(7, one, Decimal("123456789.123456789"), Decimal("9876543210.12345678")) for one in at[:1_000]]
    with pytest.raises(InvalidValueError, match="38 digits"):
        trade_bars(table(too_much), "1h", CRYPTO)


# --- sessions


def opens(interval: str, venue: Venue, day: date, *clocks: str) -> list[tuple[str, str]]:
    rows = [(1, datetime.fromisoformat(f"{clock}:00+00:00"), Decimal(1), Decimal(1)) for clock in clocks]
    made = trade_bars(table(rows, day), interval, venue)
    assert sum(made["trade_count"].to_pylist()) == len(clocks)
    return [(bar["ts_open"].strftime("%m-%dT%H:%M"), bar["ts_end"].strftime("%m-%dT%H:%M")) for bar in made.to_pylist()]


def test_no_bar_reaches_over_an_edge_of_its_session() -> None:
    half_day = opens("1h", NEW_YORK, DAY, "2024-11-29T14:10", "2024-11-29T14:30", "2024-11-29T17:45", "2024-11-29T18:00")
    assert half_day == [
        ("11-29T13:30", "11-29T14:30"), ("11-29T14:30", "11-29T15:30"),
        ("11-29T17:30", "11-29T18:00"), ("11-29T18:00", "11-29T19:00"),
    ]  # fmt: skip
    lunch = opens("1h", venue_of("XTKS"), date(2024, 3, 5), "2024-03-05T02:29", "2024-03-05T02:40", "2024-03-05T03:30")
    assert lunch == [("03-05T02:00", "03-05T02:30"), ("03-05T02:30", "03-05T03:30"), ("03-05T03:30", "03-05T04:30")]


@pytest.mark.parametrize(
    ("venue", "day", "clock", "span"),
    [
        (NEW_YORK, DAY, "2024-11-29T14:10", ("11-29T14:30", "11-30T05:00")),
        (venue_of("CMES"), date(2024, 3, 5), "2024-03-04T23:10", ("03-04T23:00", "03-05T23:00")),
        (venue_of(None, None, "fx"), date(2024, 3, 11), "2024-03-10T22:10", ("03-10T21:00", "03-11T21:00")),
        (CRYPTO, DAY, "2024-11-29T14:10", ("11-29T00:00", "11-30T00:00")),
    ],
)
def test_a_day_is_the_trading_day_of_its_venue(venue: Venue, day: date, clock: str, span: tuple[str, str]) -> None:
    assert opens("1d", venue, day, clock) == [span]


def test_weeks_begin_on_monday_and_months_with_their_first_session() -> None:
    assert opens("1wk", NEW_YORK, DAY, "2024-11-29T15:00") == [("11-25T14:30", "11-30T05:00")]
    assert opens("1mo", NEW_YORK, date(2024, 9, 30), "2024-09-30T15:00") == [("09-03T13:30", "10-01T04:00")]
    fx = venue_of(None, None, "fx")
    assert opens("1wk", fx, date(2024, 3, 11), "2024-03-10T22:10") == [("03-10T21:00", "03-15T21:00")]


def test_form_t_makes_bars_outside_the_session_and_no_price_of_the_day() -> None:
    rows = [
        (1, datetime(2024, 11, 29, 14, 0, tzinfo=UTC), Decimal(90), Decimal(10)),
        (1, datetime(2024, 11, 29, 15, 0, tzinfo=UTC), Decimal(100), Decimal(10)),
        (1, datetime(2024, 11, 29, 15, 1, tzinfo=UTC), Decimal(200), Decimal(5)),
    ]
    flags = np.array([effect_of(codes, SALE_CONDITIONS) for codes in ("@,T", "@", "@,I")], np.uint8)
    early, in_session, odd_lot = trade_bars(table(rows), "1m", NEW_YORK, flags).to_pylist()
    assert (early["open"], early["high"], in_session["close"]) == (90, 90, 100)
    assert [odd_lot[name] for name in (*PRICES, "volume")] == [None, None, None, None, 5]
    (day,) = trade_bars(table(rows), "1d", NEW_YORK, flags).to_pylist()
    assert [day[name] for name in (*PRICES, "volume", "trade_count")] == [100, 100, 100, 100, 25, 3]


def test_what_is_no_question_is_refused() -> None:
    assert trade_bars(table([]), "1m", CRYPTO).equals(SCHEMA.empty_table())
    for interval in ("0s", "36h", "2d", "3mo", "tick"):
        with pytest.raises(InvalidValueError, match=interval):
            trade_bars(table([]), interval, CRYPTO)
    with pytest.raises(InvalidValueError, match="null in size"):
        trade_bars(table([(7, NOON, Decimal(1), None)]), "1m", CRYPTO)  # type: ignore[list-item]
    rows = table([(7, NOON + timedelta(seconds=n), Decimal(1), Decimal("9999999999")) for n in range(30)])
    repeated = pa.concat_tables([rows] * 2)
    assert trade_bars(repeated, "1d", CRYPTO)["volume"][0].as_py() == Decimal("9999999999") * 60
    mixed = pa.concat_tables([quote_bars(fxcm_quotes(), "1h", FXCM_CLOCK, (kind,)) for kind in ("bid", "ask")])
    with pytest.raises(InvalidValueError, match="one price type"):
        bars_of_bars(mixed, "1d", FXCM_CLOCK)
