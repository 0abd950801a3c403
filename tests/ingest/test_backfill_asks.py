"""What is asked for a gap: windows and numbers that together are the gap, of offers that reach it; Finnhub's ticks by days."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.asks import Ask, Request, Response
from ingest.backfill_asks import Candidate, own_offers, questions, windows
from ingest.providers.finnhub_ticks import MOST_ROWS, Ticks
from ingest.providers.registry import OFFERS
from ingest.verdicts import Verdict
from lake.errors import InvalidValueError
from quality_checks.gaps import GapStatus, KnownGap

NOW = datetime(2026, 11, 20, 15, tzinfo=UTC)
TRADES = "normalized.trades"


def gap(provider: str, feed: str, table: str, length: timedelta, **more: object) -> KnownGap:
    made = KnownGap(
        "g", provider, feed, "X", GapStatus.OPEN, "", NOW, table_name=table, gap_start=NOW - length, gap_end=NOW, missing_count=1
    )
    return replace(made, **more)  # type: ignore[arg-type]


@given(st.integers(1, 10_000), st.integers(1, 3_000) | st.none())
def test_windows_follow_each_other_and_are_the_whole(minutes: int, longest: int | None) -> None:
    end = NOW + timedelta(minutes=minutes)
    limit = None if longest is None else timedelta(minutes=longest)
    found = windows(NOW, end, limit)
    assert [found[0][0], found[-1][1]] == [NOW, end]
    assert all(before[1] == after[0] for before, after in itertools.pairwise(found))
    assert all(start < until and (limit is None or until - start <= limit) for start, until in found)


@given(st.integers(0, 10**12), st.integers(1, 50_000))
def test_numbers_are_cut_into_pages_and_none_is_left_out(first: int, count: int) -> None:
    lost = gap(
        "binance", "spot", TRADES, timedelta(minutes=1), first_missing=str(first), last_missing=str(first + count - 1),
        missing_count=count,
    )  # fmt: skip
    (offer,) = own_offers(lost, OFFERS, NOW)
    asked = [ask.numbers for ask in questions(lost, Candidate(offer, "X"))]
    told = [numbers for numbers in asked if numbers is not None]
    assert len(told) == len(asked)
    assert (told[0][0], told[-1][1]) == (first, first + count - 1)
    assert all(before[1] + 1 == after[0] for before, after in itertools.pairwise(told))


def test_minutes_of_yahoo_are_asked_seven_days_at_a_time_and_only_of_a_month() -> None:
    lost = gap("yahoo", "chart", "normalized.bars", timedelta(days=20), interval="1m")
    (offer,) = own_offers(lost, OFFERS, NOW)
    asks = questions(lost, Candidate(offer, "X"))
    assert [ask.end - ask.start for ask in asks] == [timedelta(days=7), timedelta(days=7), timedelta(days=6)]
    old = replace(lost, gap_start=NOW - timedelta(days=60), gap_end=NOW - timedelta(days=50))
    assert own_offers(old, OFFERS, NOW) == []


def test_only_the_gaps_own_feed_and_table_is_its_own() -> None:
    lost = gap("alpaca", "iex", TRADES, timedelta(minutes=5))
    assert {(offer.feed, offer.kind) for offer in own_offers(lost, OFFERS, NOW)} == {("iex", "trades")}
    assert own_offers(replace(lost, feed="moon"), OFFERS, NOW) == []


def test_a_book_that_was_lost_is_not_asked_for_by_its_state_of_now() -> None:
    book = "normalized.book_events"
    assert any((offer.feed, offer.table) == ("spot", book) for offer in OFFERS)
    assert own_offers(gap("binance", "spot", book, timedelta(minutes=5)), OFFERS, NOW) == []


# --- Finnhub's ticks


def answer(count: int, status: int = 200) -> Response:
    body = orjson.dumps({"s": "X", "count": count, "p": [1.5] * count, "v": [1] * count, "t": list(range(count))})
    return Response(status, {}, body)


def params(request: Request | None) -> dict[str, str]:
    return {} if request is None else dict(request.params)


def test_ticks_of_two_new_york_days_are_asked_page_by_page() -> None:
    """03:00 UTC is still the evening before in New York."""
    pages = Ticks()
    ask = Ask("AAPL", "", datetime(2026, 11, 20, 3, tzinfo=UTC), datetime(2026, 11, 20, 20, tzinfo=UTC))
    first = pages.first(ask)
    assert (first.path, params(first)["date"], params(first)["skip"]) == ("/api/v1/stock/tick", "2026-11-19", "0")
    full = pages.read(answer(MOST_ROWS))
    assert (params(full.next)["date"], params(full.next)["skip"]) == ("2026-11-19", str(MOST_ROWS))
    rest = pages.read(answer(1))
    assert (params(rest.next)["date"], params(rest.next)["skip"]) == ("2026-11-20", "0")
    last = pages.read(answer(0))
    assert (last.next, last.reading.verdict, last.reading.detail) == (None, Verdict.OK, f"{MOST_ROWS + 1} trades")


def test_ticks_of_a_quiet_day_are_validly_empty_and_refusals_are_told() -> None:
    pages, ask = Ticks(), Ask("AAPL", "", NOW, NOW + timedelta(minutes=1))
    pages.first(ask)
    assert pages.read(answer(0)).reading.verdict is Verdict.EMPTY_VALID
    pages.first(ask)
    told = b'{"error":"You don\'t have access to this resource."}'
    assert pages.read(Response(403, {}, told)).reading.verdict is Verdict.NOT_ENTITLED
    with pytest.raises(InvalidValueError):
        pages.first(Ask("AAPL", "", NOW, NOW))


@given(st.binary(max_size=60) | st.sampled_from([b"{}", b"[]", b'{"t":1}', b'{"count":0}', b'{"t":null,"count":"0"}']))
def test_any_bytes_are_a_page(body: bytes) -> None:
    pages = Ticks()
    pages.first(Ask("AAPL", "", NOW, NOW + timedelta(minutes=1)))
    assert pages.read(Response(200, {}, body)).reading.verdict in Verdict
