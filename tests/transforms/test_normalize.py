from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest

from lake.errors import InvalidValueError
from lake.tables import table_named
from lake.values import CaptureKind, NumberKind
from tests.transforms.making import at
from transforms.decode.decoded import Decoded, Refusals, Rows
from transforms.feeds import Feed
from transforms.normalize import Normalized, fullest, normalize, reference_news

BARS, ACTIONS, TRADES, BOOKS = (f"normalized.{name}" for name in ("bars", "corporate_actions", "trades", "book_events"))
FUNDAMENTALS = "normalized.fundamentals"
RECEIVED = datetime(2025, 2, 20, 12, tzinfo=UTC)
NEW_YORK = {"exchange_zone": "America/New_York", "asset_class": "equity"}
BAR = {"symbol": "AAPL", "interval": "1d", "close": Decimal(1), "basis": "as_traded", "price_type": "trade", "is_final": True}
MONDAY = BAR | NEW_YORK | {"exchange": "NMS", "ts_open": at("2020-08-31", 13), "session_date": date(2020, 8, 31)}


def messages(count: int, provider: str = "yahoo", feed: str = "chart") -> pa.Table:
    return pa.table(
        {
            "capture_id": pa.array([f"capture{number}" for number in range(count)], pa.string()),
            "message_seq": pa.array([7] * count, pa.int64()),
            "provider": pa.array([provider] * count, pa.string()),
            "feed": pa.array([feed] * count, pa.string()),
            "ts_recv": pa.array([RECEIVED] * count, pa.timestamp("us", tz="UTC")),
        }
    )


def normal(table: str, *rows: dict[str, object], kind: CaptureKind = CaptureKind.IMPORT, feed: Feed | None = None) -> Normalized:
    """Normalize candidates, each from a message of its own."""
    found = Rows(table)
    for number, row in enumerate(rows):
        found.add(number, number, row)
    which = feed or Feed("yahoo", "chart", NumberKind.FLOAT_IMAGE, "", (table,), lambda _: told)
    told = Decoded({table: found.to_table()}, Refusals().table(), 0)
    kinds = {f"capture{number}": kind for number in range(len(rows))}
    return normalize(which, messages(len(rows), which.provider, which.feed), told, kinds, "run", at("2026-01-02"))


def test_a_row_gets_its_message_its_instrument_and_its_session():
    found = normal(BARS, MONDAY, MONDAY | {"symbol": "OCDO.L", "exchange": "LSE", "exchange_zone": "Europe/London"})
    first, second = found.tables[BARS].to_pylist()
    assert (first["capture_id"], first["message_seq"], first["ordinal"]) == ("capture0", 7, 0)
    assert (second["capture_id"], second["ordinal"], second["mic"]) == ("capture1", 1, "XLON")
    assert found.instruments["identity"].to_pylist() == ["listing:US/AAPL", "listing:XLON/OCDO"]
    assert found.listings.select(["provider", "symbol", "mic"]).to_pylist()[0] == {
        "provider": "yahoo",
        "symbol": "AAPL",
        "mic": "XNAS",
    }
    assert found.tables[BARS].schema.equals(table_named(BARS).arrow_schema())
    assert (first["known_at"], second["known_at"]) == (
        at("2020-08-31", 20),
        at("2020-09-01", 23).replace(day=31, month=8, hour=23),
    )


def test_imported_bars_are_known_at_their_end_and_live_ones_when_received():
    assert normal(BARS, MONDAY).tables[BARS]["known_at"].to_pylist() == [at("2020-08-31", 20)]
    assert normal(BARS, MONDAY, kind=CaptureKind.POLL).tables[BARS]["known_at"].to_pylist() == [at("2020-08-31", 20)]
    assert normal(BARS, MONDAY, kind=CaptureKind.LIVE).tables[BARS]["known_at"].to_pylist() == [RECEIVED]
    said = MONDAY | {"known_at": at("2020-09-05")}
    assert normal(BARS, said, kind=CaptureKind.LIVE).tables[BARS]["known_at"].to_pylist() == [at("2020-09-05")]


def test_a_partial_bar_is_known_when_delivered():
    partial = MONDAY | {"is_final": False, "delivered_at": at("2020-08-31", 16)}
    assert normal(BARS, partial).tables[BARS]["known_at"].to_pylist() == [at("2020-08-31", 16)]


def test_delivery_is_receipt_unless_the_file_was_only_imported():
    assert normal(BARS, MONDAY).tables[BARS]["delivered_at"].to_pylist() == [None]
    assert normal(BARS, MONDAY, kind=CaptureKind.POLL).tables[BARS]["delivered_at"].to_pylist() == [RECEIVED]
    told = MONDAY | {"delivered_at": at("2024-01-01")}
    assert normal(BARS, told, kind=CaptureKind.POLL).tables[BARS]["delivered_at"].to_pylist() == [at("2024-01-01")]


def test_a_bar_whose_payload_names_no_date_takes_the_local_one():
    evening = MONDAY | {"session_date": None, "ts_open": at("2020-09-01", 2), "interval": "60m"}
    assert normal(BARS, evening).tables[BARS]["session_date"].to_pylist() == [date(2020, 8, 31)]


def test_actions_are_known_by_hint_by_announcement_or_by_ex_date():
    split = NEW_YORK | {
        "symbol": "AAPL",
        "exchange": "NMS",
        "action_key": "s",
        "kind": "split",
        "ex_date": date(2020, 8, 31),
        "status": "confirmed",
    }
    announced = split | {"announcement_date": date(2020, 7, 30)}
    found = normal(ACTIONS, split, announced, announced | {"known_at": at("2020-08-01")})
    assert found.tables[ACTIONS]["known_at"].to_pylist() == [at("2020-08-31", 4), at("2020-07-30", 4), at("2020-08-01")]
    assert normal(ACTIONS, split, kind=CaptureKind.LIVE).tables[ACTIONS]["known_at"].to_pylist() == [RECEIVED]


def test_what_has_no_place_is_quarantined_with_its_reason():
    found = normal(
        BARS,
        MONDAY,
        MONDAY | {"exchange": None, "exchange_zone": "Mars/Olympus", "asset_class": "other"},
        MONDAY | {"symbol": ""},
        MONDAY | {"interval": "1 fortnight"},
        MONDAY | {"ts_open": None, "session_date": None},
    )
    assert found.tables[BARS].num_rows == 1
    assert [(row["event_id"], row["rule"]) for row in found.refused.to_pylist()] == [
        ("capture1:7:1", "unknown_venue"),
        ("capture2:7:2", "unknown_symbol"),
        ("capture3:7:3", "no_known_at"),
        ("capture4:7:4", "no_session_date"),
    ]
    assert "Mars/Olympus" in found.refused["value"][0].as_py()
    assert found.refused["value"][2].as_py() == "1 fortnight"
    assert set(found.refused["recorded_at"].to_pylist()) == {at("2026-01-02")}


def test_refusals_of_the_decoder_are_quarantined_too():
    refused = Refusals()
    refused.add_message(0, "not_json", b"{", "JSON")
    feed = Feed("yahoo", "chart", NumberKind.FLOAT_IMAGE, "", (BARS,), lambda _: told)
    told = Decoded({BARS: Rows(BARS).to_table()}, refused.table(), 0)
    found = normalize(feed, messages(1), told, {"capture0": CaptureKind.POLL}, "run", at("2026-01-02"))
    (row,) = found.refused.to_pylist()
    assert (row["event_id"], row["rule"], row["table_name"], row["provider"]) == (
        "capture0:7:-1",
        "not_json",
        "raw.messages",
        "yahoo",
    )
    assert found.tables[BARS].num_rows == found.instruments.num_rows == 0


def test_a_capture_without_a_kind_is_an_error():
    feed = Feed("yahoo", "chart", NumberKind.FLOAT_IMAGE, "", (), lambda _: told)
    told = Decoded({}, Refusals().table(), 0)
    with pytest.raises(InvalidValueError, match="capture0"):
        normalize(feed, messages(1), told, {}, "run", at("2026-01-02"))


def test_crypto_ticks_take_the_utc_day_of_the_venues_clock_or_of_ours():
    feed = Feed("binance", "spot", NumberKind.EXACT, "", (TRADES,), lambda _: None, venue="BINANCE")  # type: ignore[arg-type, return-value]
    trade = {"symbol": "BTCUSDT", "price": Decimal(1), "size": Decimal(1), "ts_event_nanos": 0}
    found = normal(TRADES, trade | {"ts_event": at("2024-08-08", 23)}, trade, feed=feed)
    assert found.tables[TRADES]["session_date"].to_pylist() == [date(2024, 8, 8), date(2025, 2, 20)]
    assert found.instruments.to_pylist()[0]["identity"] == "listing:BINANCE/BTCUSDT:spot"
    assert found.instruments.to_pylist()[0]["asset_class"] == "crypto"


def test_of_two_descriptions_of_an_instrument_the_fuller_stays_in_any_order():
    instruments = table_named("reference.instruments")
    known = {"instrument_id": 1, "identity": "listing:US/AAPL", "is_provisional": False, "run_id": "r"}
    poor, rich = known, known | {"name": "Apple Inc.", "mic": "XNAS"}
    tables = [
        pa.Table.from_pylist(rows, schema=instruments.arrow_schema()) for rows in ([poor, rich], [rich, poor], [rich], [poor])
    ]
    assert fullest(instruments, tables[0]).equals(fullest(instruments, tables[1]))
    assert reference_news(instruments, tables[2], tables[3]).to_pylist()[0]["name"] == "Apple Inc."
    assert reference_news(instruments, tables[3], tables[2]).num_rows == 0


def test_a_statement_is_not_known_before_it_was_received_unless_it_says_so():
    """Its instant is the end of the period: known_at of that instant would be a look-ahead of weeks."""
    line = {"statement": "income", "item": "revenue", "period": "quarter", "period_end": date(2020, 6, 30), "value": Decimal(1)}
    quarter = NEW_YORK | line | {"exchange": "NMS", "symbol": "AAPL", "ts_event": at("2020-06-30")}
    filed = quarter | {"known_at": at("2020-07-30")}
    assert normal(FUNDAMENTALS, quarter, filed).tables[FUNDAMENTALS]["known_at"].to_pylist() == [RECEIVED, at("2020-07-30")]
