"""A silence that ended is told by the pace before it: made events, no socket; what counts are the feed's own instants."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

import pytest

from ingest.asks import Gap
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from ingest.silence import HALF_EVENTS, STRAY_S, Pauses, seconds_of
from ingest.simulator.day.tape import Trade
from ingest.simulator.day.wires import FRAMES
from lake.instants import NANOS_PER_SECOND
from lake.values import Message

OPEN_S = 1_795_185_000.0
Told = tuple[float, str]
"""Seconds after the open, and a symbol."""


def market(pauses: Mapping[str, float], seconds: float, seed: int = 1) -> list[Told]:
    """Events at random, so many seconds apart on the average."""
    found = []
    for symbol, pause in pauses.items():
        rng, at = random.Random(f"{seed}/{symbol}"), 0.0
        while (at := at + rng.expovariate(1 / pause)) < seconds:
            found.append((at, symbol))
    return sorted(found)


def without(events: Iterable[Told], start: float, end: float, *symbols: str) -> list[Told]:
    """The same, some symbols mute for a while."""
    return [each for each in events if not (start <= each[0] < end and each[1] in symbols)]


def listen(events: Iterable[Told], session: TradeStream | None = None, late_s: float = 0.0) -> list[Gap]:
    """What a conversation finds missing when it is told these."""
    if session is None:
        session = TradeStream(["AAPL", "MSFT"])
        session.connected(round(OPEN_S * NANOS_PER_SECOND))
    for number, (at, symbol) in enumerate(events):
        at_ns = round((OPEN_S + at) * 1_000) * 1_000_000
        session.receive(FRAMES["finnhub"](symbol, Trade(number, at_ns, 19_500, 100)), at_ns + round(late_s * NANOS_PER_SECOND))
    return session.gaps()


def read_together(frames: Sequence[tuple[int, bytes]], most: int, seed: int) -> tuple[list[Gap], list[Message], int]:
    """What a conversation finds missing, says and counts when frames come up to so many a read."""
    session = TradeStream(["AAPL", "MSFT"])
    session.connected(round(OPEN_S * NANOS_PER_SECOND))
    rng, at, messages = random.Random(seed), 0, []
    while at < len(frames):
        read = frames[at : at + rng.randint(1, most)]
        messages += session.receive_all([frame for _, frame in read], read[-1][0])
        at += len(read)
    return session.gaps(), messages, session.events()


def ms(at: float) -> str:
    return str(round((OPEN_S + at) * 1_000))


PACE = {"AAPL": 2.0, "MSFT": 2.0}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("start", [60.0, 1_000.0])
def test_a_channel_that_was_mute_for_a_minute_leaves_one_gap_from_its_last_event(start: float, seed: int) -> None:
    whole = market(PACE, 2_000.0, seed)
    heard = without(whole, start, start + 60.0, "AAPL")
    (gap,) = listen(heard)
    last = max(at for at, symbol in heard if symbol == "AAPL" and at < start)
    assert (gap.symbol, gap.channel, gap.status) == ("AAPL", "trade", "open")
    assert (gap.first_missing, gap.last_missing) == (ms(last), None)
    back = min(at for at, symbol in heard if symbol == "AAPL" and at > start)
    assert gap.reason.startswith(f"silence of {back - last:.0f} s while others spoke")
    assert listen(whole) == []


@pytest.mark.parametrize("pause", [0.02, 0.1, 0.4])
def test_a_busy_channel_whose_events_are_learned_together_leaves_the_same_gap(pause: float) -> None:
    whole = market({"AAPL": pause, "MSFT": pause}, 200.0)
    heard = without(whole, 90.0, 105.0, "AAPL")
    (gap,) = listen(heard)
    last = max(at for at, symbol in heard if symbol == "AAPL" and at < 90.0)
    back = min(at for at, symbol in heard if symbol == "AAPL" and at > 90.0)
    others = sum(symbol == "MSFT" and last <= at < back for at, symbol in heard)
    assert (gap.symbol, gap.first_missing) == ("AAPL", ms(last))
    assert gap.reason.startswith(f"silence of {back - last:.0f} s while others spoke")
    told = int(gap.reason.split(" times,")[0].rsplit(" ", 1)[1])
    assert abs(told - others) <= 1, gap.reason
    assert float(gap.reason.split("lasts ")[1].split(" s")[0]) == pytest.approx(pause, abs=0.08)
    assert listen(whole) == []


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("pause", [0.005, 0.1, 1.0])
def test_frames_read_together_tell_what_they_tell_one_by_one(pause: float, seed: int) -> None:
    heard = without(market({"AAPL": pause, "MSFT": pause}, max(200.0 * pause, 120.0), seed), 60.0, 105.0, "AAPL")
    rng = random.Random(seed)
    frames = []
    for number, (at, symbol) in enumerate(heard):
        at_ns = round((OPEN_S + at) * 1_000) * 1_000_000
        frames += [(at_ns, FRAMES["finnhub"](symbol, Trade(number, at_ns, 19_500, 100)))] * rng.choice([1] * 9 + [2])
    alone, numbered, events = read_together(frames, 1, seed)
    together, messages, counted = read_together(frames, 40, seed)
    last = max(at for at, symbol in heard if symbol == "AAPL" and at < 60.0)
    assert [(gap.symbol, gap.first_missing, gap.status) for gap in alone] == [("AAPL", ms(last), "open")]
    assert [(gap.symbol, gap.first_missing, gap.status) for gap in together] == [("AAPL", ms(last), "open")]
    assert events == counted == len(frames)
    told = [(each.message_seq, each.payload, each.request) for each in messages]
    assert told == [(each.message_seq, each.payload, each.request) for each in numbered]
    assert [each.payload for each in messages] == [frame for _, frame in frames]
    assert any(each.request for each in messages)


def test_instants_beyond_all_time_are_followed_and_tell_no_pace() -> None:
    session = TradeStream(["AAPL"])
    session.connected(0)
    for at in (-1, 10**15, 10**400, 1_795_185_000_000):
        frame = b'{"type":"trade","data":[{"s":"AAPL","p":1,"v":1,"t":%d}]}' % at
        assert [message.payload for message in session.receive_all([frame, frame], 0)] == [frame, frame]
    session.disconnected(1, "socket dropped")
    assert [gap.first_missing for gap in session.gaps()] == ["1795185000000"]


@pytest.mark.parametrize("seed", range(6))
def test_a_connection_that_was_mute_leaves_a_gap_of_each_channel(seed: int) -> None:
    heard = without(market(PACE, 900.0, seed), 400.0, 430.0, "AAPL", "MSFT")
    gaps = listen(heard)
    assert sorted(gap.symbol for gap in gaps) == ["AAPL", "MSFT"]
    assert all("on the whole connection" in gap.reason for gap in gaps)
    assert {gap.first_missing for gap in gaps} == {
        ms(max(at for at, symbol in heard if symbol == each and at < 400.0)) for each in PACE
    }


def test_how_late_frames_are_read_is_no_silence_of_the_feed() -> None:
    """We stood still for a minute and a half, then read what had waited, a minute of silence of one channel among it."""
    whole = market(PACE, 1_200.0)
    session = TradeStream(list(PACE))
    session.connected(round(OPEN_S * NANOS_PER_SECOND))
    assert listen([each for each in whole if each[0] < 600.0], session) == []
    waited = without([each for each in whole if 600.0 <= each[0] < 690.0], 610.0, 670.0, "MSFT")
    (gap,) = listen(waited, session, late_s=90.0)
    assert gap.symbol == "MSFT"
    assert listen([each for each in whole if each[0] >= 690.0], session) == []


def test_a_slow_noon_and_a_burst_of_one_symbol_are_no_silence() -> None:
    morning = market({"AAPL": 0.05, "MSFT": 0.05}, 600.0)
    noon = [(600.0 + at, symbol) for at, symbol in market({"AAPL": 4.0, "MSFT": 4.0}, 3_000.0, seed=2)]
    burst = [(3_700.0 + at, symbol) for at, symbol in market({"AAPL": 2.0, "MSFT": 0.01}, 60.0, seed=3)]
    gaps = listen([*morning, *noon, *burst])
    assert len(gaps) <= 4, "a slower market is learned after a few"
    assert all("while others" not in gap.reason for gap in gaps if gap.symbol == "AAPL"), gaps


def test_a_burst_at_the_open_does_not_make_a_usual_pause_a_silence_for_ever() -> None:
    opening = market({"AAPL": 0.02, "MSFT": 0.02}, 60.0)
    day = [(60.0 + at, symbol) for at, symbol in market({"AAPL": 15.0, "MSFT": 3.0}, 20_000.0, seed=5)]
    gaps = listen([*opening, *day])
    late = [gap for gap in gaps if int(str(gap.first_missing)) > int(ms(2_000.0))]
    assert len(gaps) < 10 and late == [], gaps


def test_two_silences_in_a_row_are_two_gaps() -> None:
    heard = without(market(PACE, 1_500.0), 600.0, 660.0, "AAPL")
    heard = without(heard, 700.0, 760.0, "AAPL")
    assert [gap.symbol for gap in listen(heard)] == ["AAPL", "AAPL"]


def test_a_channel_that_never_comes_back_has_its_gap_from_the_end_of_the_connection() -> None:
    session = TradeStream(list(PACE))
    session.connected(round(OPEN_S * NANOS_PER_SECOND))
    heard = without(market(PACE, 700.0), 600.0, 700.0, "AAPL")
    assert listen(heard, session) == []
    session.disconnected(round((OPEN_S + 700.0) * NANOS_PER_SECOND), "socket dropped")
    session.connected(round((OPEN_S + 760.0) * NANOS_PER_SECOND))
    after = [(760.0 + at, symbol) for at, symbol in market(PACE, 300.0, seed=4)]
    gaps = {gap.symbol: gap for gap in listen(after, session)}
    assert {gap.reason for gap in gaps.values()} == {"socket dropped"} and sorted(gaps) == ["AAPL", "MSFT"]
    assert gaps["AAPL"].first_missing == ms(max(at for at, symbol in heard if symbol == "AAPL"))


def test_instants_of_another_day_tell_no_pace() -> None:
    heard = without(market(PACE, 900.0), 400.0, 460.0, "AAPL", "MSFT")
    assert listen(heard, late_s=STRAY_S + 1.0) == []


def test_news_have_no_pace() -> None:
    session = MarketStream("news", ["*"], "id", "secret")
    session.connected(0)
    for minute in [*range(200), 500]:
        frame = b'[{"T":"n","updated_at":"2026-11-20T%02d:%02d:00Z","symbols":[]}]' % (10 + minute // 60, minute % 60)
        session.receive(frame, round((OPEN_S + 60.0 * minute) * NANOS_PER_SECOND))
    assert session.gaps() == []


def test_numbers_prove_that_a_silence_was_one() -> None:
    session = MarketSession(["btcusdt@trade", "ethusdt@trade"], "spot")
    session.connected(0)
    for number, at in enumerate([*range(600), *range(700, 800)]):
        at_ns = round((OPEN_S + at) * NANOS_PER_SECOND)
        session.receive(FRAMES["binance"]("BTCUSDT", Trade(number, at_ns, 19_500, 100)), at_ns)
    for second in range(800):
        at_ns = round((OPEN_S + 800 + second) * NANOS_PER_SECOND)
        session.receive(FRAMES["binance"]("ETHUSDT", Trade(second, at_ns, 19_500, 100)), at_ns)
    assert session.gaps() == []


def test_a_pace_is_of_the_last_beats_only() -> None:
    pauses, at = Pauses(0.0, 1.0), 0.0
    for pause in [1.0] * 1_000 + [0.1] * 10_000:
        at += pause
        assert pauses.beat(at) == 0.0
    assert pauses.usual == pytest.approx(0.1)
    assert pauses.beat(at + 5.0) == pytest.approx(5.0)
    assert pauses.usual < 0.11, "a silence is no pause"


def test_what_is_told_late_moves_nothing_back() -> None:
    times = [0.0, 1.0, 2.0, 1.5, 3.0, 2.9, 4.0]
    pauses = Pauses(times[0], 10.0)
    assert [pauses.beat(at) for at in times[1:]] == [0.0] * 6
    assert pauses.usual == pytest.approx(4.0 / 6)
    pauses.skip(3.0)
    assert pauses.usual == pytest.approx(4.0 / 6)


def test_the_first_pauses_are_too_few_to_tell_anything_by() -> None:
    for count in range(3):
        pauses = Pauses(0.0, 1.0)
        for at in range(1, count + 1):
            pauses.beat(float(at))
        assert pauses.beat(1_000.0) == 0.0
    assert HALF_EVENTS > 4


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1795185000123", 1_795_185_000.123),
        ("2026-11-20T14:30:00.123456789Z", 1_795_185_000.123456),
        ("2026-11-20 14:30:00.5+00:00", 1_795_185_000.5),
        ("2026-11-20T14:30:00", None),
        ("None", None),
        ("", None),
        ("9" * 40, None),
        ("-5", None),
    ],
)
def test_instants_as_feeds_write_them(text: str, seconds: float | None) -> None:
    assert seconds_of(text) == (None if seconds is None else pytest.approx(seconds))


def test_pauses_count_every_beat_once() -> None:
    rng = random.Random(9)
    times = sorted(rng.uniform(0.0, 90.0) for _ in range(HALF_EVENTS - 4))
    pauses = Pauses(times[0], 10.0)
    longest = max(late - early for early, late in pairwise(times))
    assert all(pauses.beat(at) == 0.0 for at in times[1:]) and longest < 10.0
    assert pauses.usual == pytest.approx((times[-1] - times[0]) / (len(times) - 1))
