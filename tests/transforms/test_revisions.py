from datetime import timedelta

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from lake.tables import table_named
from tests.transforms.making import ACTIONS, BARS, at, bar, of, split
from transforms.calendars import STAMP
from transforms.revisions import collapsed, distinct_facts, effective, resolve_revisions

TRADES = table_named("normalized.trades")
NO_BARS = BARS.arrow_schema().empty_table()
CLOSE = at("2020-01-02", 21)


def delivered(close: int, hours: int, number: int) -> dict[str, object]:
    """A bar delivered some hours after its open; before hour 7 it is partial."""
    when = at("2020-01-02", 14) + timedelta(hours=hours)
    who = {"capture_id": f"c{number}", "message_seq": number}
    return bar("2020-01-02", close, delivered_at=when, is_final=hours >= 7, known_at=min(when, CLOSE), **who)


def published(rows: pa.Table, moment: int) -> pa.Table:
    return rows.append_column("published_at", pa.array([at("2026-01-01", moment)] * rows.num_rows, STAMP))


def told(rows: pa.Table) -> list[tuple[object, ...]]:
    return sorted((row["known_at"], row["close"], row["is_final"]) for row in rows.to_pylist())


deliveries = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 40)), min_size=1, max_size=7, unique_by=lambda item: item[1])


@given(deliveries, st.randoms())
def test_the_order_within_a_call_never_matters(items, random):
    rows = [delivered(close, hours, number) for number, (close, hours) in enumerate(items)]
    one = resolve_revisions(of(BARS, *rows), NO_BARS, BARS)
    random.shuffle(rows)
    other = resolve_revisions(of(BARS, *rows), NO_BARS, BARS)
    assert one.rows.equals(other.rows)
    assert one.rows.num_rows - one.moved + one.repeated + one.refused.num_rows == len(items)
    assert one.refused.num_rows == one.moved == 0


@given(st.permutations(range(1, 8)), st.lists(st.integers(1, 40), min_size=1, max_size=7, unique=True), st.randoms(), st.data())
def test_landing_in_many_calls_in_any_order_ends_the_same(closes, hours, random, data):
    rows = [delivered(close, hour, number) for number, (close, hour) in enumerate(zip(closes, hours, strict=False))]
    whole = resolve_revisions(of(BARS, *rows), NO_BARS, BARS).rows
    random.shuffle(rows)
    held = published(NO_BARS, 0)
    moment = 0
    while rows:
        count = data.draw(st.integers(1, len(rows)))
        part, rows = rows[:count], rows[count:]
        moment += 1
        found = resolve_revisions(of(BARS, *part), held, BARS)
        assert found.rows.num_rows - found.moved + found.repeated + found.refused.num_rows == count
        held = effective(BARS, pa.concat_tables([held, published(found.rows, moment)]))
    assert told(collapsed(BARS, held)) == told(collapsed(BARS, whole))


def test_a_redelivery_adds_nothing_and_a_difference_is_a_restatement_known_when_delivered():
    first = resolve_revisions(of(BARS, delivered(10, 30, 0)), NO_BARS, BARS)
    again = resolve_revisions(of(BARS, delivered(10, 31, 1)), first.rows, BARS)
    assert (again.rows.num_rows, again.repeated) == (0, 1)
    other = resolve_revisions(of(BARS, delivered(11, 32, 2)), first.rows, BARS)
    assert told(first.rows)[0][0] == CLOSE
    assert other.rows["known_at"].to_pylist() == other.rows["delivered_at"].to_pylist()
    assert other.restated.equals(other.rows)


def test_the_final_bar_after_a_partial_one_is_known_at_the_close_and_no_restatement():
    found = resolve_revisions(of(BARS, delivered(10, 3, 0), delivered(12, 90, 1)), NO_BARS, BARS)
    assert [row[0] for row in told(found.rows)] == [at("2020-01-02", 17), CLOSE]
    assert found.restated.num_rows == 0


def test_a_listing_that_moved_to_another_exchange_restates_no_bar():
    first = of(BARS, delivered(10, 30, 0))
    moved = of(BARS, delivered(10, 31, 1) | {"mic": "XNYS"})
    assert resolve_revisions(moved, first, BARS).repeated == 1


def test_versions_without_a_delivery_instant_cannot_be_ordered():
    rows = [bar("2020-01-02", close, delivered_at=None, capture_id=f"c{close}") for close in (10, 11)]
    found = resolve_revisions(of(BARS, *rows), NO_BARS, BARS)
    assert (found.rows.num_rows, found.refused["capture_id"].to_pylist()) == (1, ["c11"])
    later = resolve_revisions(of(BARS, rows[0]), of(BARS, rows[1]), BARS)
    assert (later.rows.num_rows, later.refused["capture_id"].to_pylist()) == (0, ["c10"])


def test_announcements_that_say_when_they_were_entered_are_ordered_by_it_whenever_they_came():
    ice = {"provider": "ice", "feed": "reorg", "action_key": "2102159"}
    rows = [
        split("2020-09-18", 1, 3, **ice, known_at=at("2020-09-18", 4), delivered_at=at("2020-09-19"), message_seq=3),
        split("2020-07-27", 1, 3, **ice, known_at=at("2020-07-27", 4), delivered_at=at("2020-10-01"), message_seq=1),
        split("2020-07-24", 1, 3, **ice, known_at=at("2020-07-28", 4), delivered_at=at("2020-10-01"), message_seq=2),
    ]
    whole = resolve_revisions(of(ACTIONS, *rows), ACTIONS.arrow_schema().empty_table(), ACTIONS)
    assert whole.rows["message_seq"].to_pylist() == [1, 2, 3]
    assert whole.rows["known_at"].to_pylist() == [at("2020-07-27", 4), at("2020-07-28", 4), at("2020-09-18", 4)]
    held = published(ACTIONS.arrow_schema().empty_table(), 0)
    for moment, row in enumerate(rows):
        found = resolve_revisions(of(ACTIONS, row), held, ACTIONS)
        held = effective(ACTIONS, pa.concat_tables([held, published(found.rows, moment)]))
    assert sorted(held["known_at"].to_pylist()) == whole.rows["known_at"].to_pylist()


def test_a_bar_that_only_tells_more_is_a_version_and_no_restatement():
    plain = delivered(10, 30, 1) | {"trade_count": None, "vwap": None}
    more, most = (delivered(10, hours, hours) | {"trade_count": 7, "vwap": vwap} for hours, vwap in ((31, None), (32, 9)))
    other = delivered(10, 33, 33) | {"trade_count": 8, "vwap": 9}
    found = resolve_revisions(of(BARS, plain, more, most, other), NO_BARS, BARS)
    assert found.rows["trade_count"].to_pylist() == [None, 7, 7, 8]
    assert found.restated["capture_id"].to_pylist() == ["c33"]
    gone = resolve_revisions(of(BARS, delivered(10, 34, 34) | {"trade_count": None}), found.rows, BARS)
    assert gone.restated.num_rows == 1, "what is not told any more may be withdrawn"


def test_of_rows_with_one_key_the_one_published_last_counts():
    rows = [delivered(close, 30, close) for close in (10, 11, 12)]
    table = pa.concat_tables([published(of(BARS, row), moment) for row, moment in zip(rows, (2, 3, 1), strict=True)])
    assert effective(BARS, table)["capture_id"].to_pylist() == ["c11"]
    staged = table.slice(2).set_column(table.num_columns - 1, "published_at", pa.array([None], STAMP))
    assert effective(BARS, pa.concat_tables([table, staged]))["capture_id"].to_pylist() == ["c12"]


def trade(number: int, **values: object) -> dict[str, object]:
    return {
        "instrument_id": 1, "provider": "binance", "feed": "spot", "symbol": "BTCUSDT", "session_date": "2024-08-08",
        "ts_event": at("2024-08-08"), "ts_event_nanos": 0, "ts_recv": at("2024-08-08", number), "trade_id": "7", "price": 5,
        "size": 1, "side": "buy", "capture_id": "c", "message_seq": number, "ordinal": 0,
    } | values  # fmt: skip


NO_TRADES = TRADES.arrow_schema().empty_table()


def test_a_trade_with_the_same_id_counts_once_and_with_other_content_is_a_conflict():
    rows = of(TRADES, trade(2, price=6), trade(1), trade(3), trade(4, trade_id="8"))
    found = distinct_facts(rows, NO_TRADES, TRADES)
    assert found.rows["message_seq"].to_pylist() == [1, 4]
    assert (found.repeated, found.conflicting["message_seq"].to_pylist()) == (1, [2])
    again = distinct_facts(rows, found.rows, TRADES)
    assert (again.rows.num_rows, again.repeated, again.conflicting.num_rows) == (0, 3, 1)


def test_a_trade_id_used_again_in_another_session_of_the_venue_is_another_trade():
    told = [trade(1, venue_session="s1"), trade(2, venue_session="s2", price=6), trade(3, venue_session="s1"), trade(4, price=7)]
    found = distinct_facts(of(TRADES, *told), NO_TRADES, TRADES)
    assert found.rows["message_seq"].to_pylist() == [1, 2, 4]
    assert (found.repeated, found.conflicting.num_rows) == (1, 0)
    again = distinct_facts(of(TRADES, *told), found.rows, TRADES)
    assert (again.rows.num_rows, again.repeated, again.conflicting.num_rows) == (0, 4, 0)


def test_what_stands_already_wins_whenever_it_was_received():
    found = distinct_facts(of(TRADES, trade(1)), of(TRADES, trade(9, price=6)), TRADES)
    assert (found.rows.num_rows, found.repeated, found.conflicting.num_rows) == (0, 0, 1)


def test_trades_without_an_id_count_each_within_a_capture_and_by_the_largest_count_over_captures():
    def twins(capture: str, count: int) -> list[dict[str, object]]:
        return [trade(number, trade_id=None, capture_id=capture) for number in range(count)]

    assert distinct_facts(of(TRADES, *twins("a", 3)), NO_TRADES, TRADES).rows.num_rows == 3
    both = distinct_facts(of(TRADES, *twins("a", 3), *twins("b", 4)), NO_TRADES, TRADES)
    assert (both.rows.num_rows, both.repeated) == (4, 3)
    more = distinct_facts(of(TRADES, *twins("b", 4)), of(TRADES, *twins("a", 3)), TRADES)
    assert (more.rows.num_rows, more.repeated) == (1, 3)


def test_without_an_id_and_a_venue_clock_nothing_is_a_repetition():
    quotes = table_named("normalized.quotes")
    rows = [trade(number, sequence=None, ts_event=None, capture_id=f"c{number}") for number in range(3)]
    kept = [{name: value for name, value in row.items() if name in quotes.column_names} for row in rows]
    assert distinct_facts(of(quotes, *kept), quotes.arrow_schema().empty_table(), quotes).rows.num_rows == 3


STATE = frozenset({("binance", "spot")})
tellings = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3), st.integers(5, 6)), min_size=1, max_size=14)


def test_a_state_told_by_many_messages_of_a_capture_is_one_fact_and_twice_in_one_message_two() -> None:
    told = [trade(number // 2, ordinal=number % 2, trade_id=None) for number in range(8)]
    found = distinct_facts(of(TRADES, *told), NO_TRADES, TRADES, STATE)
    assert (found.rows["message_seq"].to_pylist(), found.repeated) == ([0, 0], 6)
    assert distinct_facts(of(TRADES, *told[2:]), found.rows, TRADES, STATE).repeated == 6
    assert distinct_facts(of(TRADES, *told), NO_TRADES, TRADES, {("binance", "usdm")}).rows.num_rows == 8


@given(tellings, st.randoms(), st.data())
def test_a_state_stands_as_often_as_the_message_that_tells_it_most_often_in_whatever_batches(items, random, data):
    messages = [[item for item in items if item[:2] == message] for message in sorted({item[:2] for item in items})]
    most = {price: max(sum(item[2] == price for item in message) for message in messages) for price in (5, 6)}
    random.shuffle(messages)
    held, repeated = NO_TRADES, 0
    while messages:
        count = data.draw(st.integers(1, len(messages)))
        batch, messages = [item for message in messages[:count] for item in message], messages[count:]
        found = distinct_facts(of(TRADES, *map(telling, range(len(batch)), batch)), held, TRADES, STATE)
        held, repeated = pa.concat_tables([held, found.rows]), repeated + found.repeated
    assert {price: held["price"].to_pylist().count(price) for price in (5, 6)} == most
    assert held.num_rows + repeated == len(items)


def telling(ordinal: int, item: tuple[str, int, int]) -> dict[str, object]:
    capture, seq, price = item
    return trade(seq, price=price, trade_id=None, capture_id=capture, ordinal=ordinal)


def test_copies_that_stand_count_whichever_captures_they_came_from():
    def twins(capture: str, first: int, count: int) -> pa.Table:
        return of(TRADES, *(trade(number, trade_id=None, capture_id=capture) for number in range(first, first + count)))

    held = NO_TRADES
    for capture, first, count, stands in [("a", 0, 3, 3), ("b", 10, 4, 4), ("c", 20, 4, 4), ("b", 14, 1, 5), ("c", 24, 1, 5)]:
        found = distinct_facts(twins(capture, first, count), held, TRADES)
        held = pa.concat_tables([held, found.rows])
        assert (held.num_rows, found.repeated) == (stands, count - found.rows.num_rows), capture


@given(st.lists(st.tuples(st.integers(1, 4), st.integers(1, 2)), max_size=12), st.randoms())
def test_distinct_trades_balance_and_do_not_depend_on_order(items, random):
    rows = [trade(number, trade_id=str(key), price=price) for number, (key, price) in enumerate(items)]
    one = distinct_facts(of(TRADES, *rows), NO_TRADES, TRADES)
    random.shuffle(rows)
    other = distinct_facts(of(TRADES, *rows), NO_TRADES, TRADES)
    assert one.rows.num_rows + one.repeated + one.conflicting.num_rows == len(items)
    assert sorted(one.rows["message_seq"].to_pylist()) == sorted(other.rows["message_seq"].to_pylist())
    assert sorted(one.conflicting["message_seq"].to_pylist()) == sorted(other.conflicting["message_seq"].to_pylist())
