"""The way back of a value: also of what was refused, held back, repeated or damaged."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.publish import hold, stage
from lake.staging import Increment
from lake.tables import rows, table_named
from lake.values import MessageRange
from serving.lineage import explain, key_of
from tests.serving import small_lake
from tests.serving.small_lake import AAPL, CAPTURE, SPOT, TRADES, put

NOW = datetime(2026, 11, 21, tzinfo=UTC)


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The small lake with a quarantined fact, a held message and a damaged one more."""
    with small_lake.make(tmp_path_factory.mktemp("lineage") / "lake") as made:
        _quarantine(made)
        _messages(made)
        _hold(made)
        yield made


def _quarantine(lake: Lake) -> None:
    put(
        lake,
        "quality.quarantine",
        {
            "event_id": [f"{TRADES}:0:9"],
            "table_name": ["normalized.trades"],
            "provider": ["binance"],
            "feed": ["spot"],
            "rule": ["positive_price"],
            "value": ["-1"],
            "expected": ["> 0"],
            "capture_id": [TRADES],
            "message_seq": [0],
            "ordinal": [9],
            "recorded_at": [NOW],
            "run_id": ["r"],
        },
        "q-1",
    )


def _messages(lake: Lake) -> None:
    put(
        lake,
        "raw.messages",
        {
            "capture_id": [TRADES] * 2,
            "message_seq": [1, 2],
            "provider": ["binance"] * 2,
            "feed": ["spot"] * 2,
            "ts_recv": [NOW] * 2,
            "ts_recv_nanos": [0, 0],
            "content_type": ["application/json"] * 2,
            "sha256": ["00" * 32] * 2,
            "payload": [b"held", b"\xff\xfe"],
            "log_partition": [0, 0],
            "log_offset": [2, 3],
        },
        "land-2",
        (MessageRange(TRADES, 1, 2),),
    )


def _hold(lake: Lake) -> None:
    trade = rows(
        table_named("normalized.trades"),
        {
            "instrument_id": [SPOT],
            "provider": ["binance"],
            "feed": ["spot"],
            "symbol": ["BTCUSDT"],
            "session_date": [date(2024, 8, 8)],
            "ts_event": [NOW],
            "ts_event_nanos": [0],
            "ts_recv": [NOW],
            "price": [Decimal(1)],
            "size": [Decimal(1)],
            "capture_id": [TRADES],
            "message_seq": [1],
            "ordinal": [0],
        },
    )
    increment = Increment(
        "normalized.trades", "binance", trade, {}, {"0": 3}, "held-1", (MessageRange(TRADES, 1, 1),), {"rows": 1}
    )
    hold(lake, stage(lake, increment), {"failed": "price_jump"})


def test_a_fact_leads_to_gate_publication_and_proved_bytes(own: Lake) -> None:
    node = explain(own, f"{TRADES}:0:2")
    assert (node.table, node.row["price"]) == ("normalized.trades", "55133.99")
    assert node.publication is not None
    assert node.publication["run_id"] == "promote-trades-1"
    assert node.gate is not None
    assert node.gate["checks_evaluated"] == 9
    assert node.message is not None
    assert node.message["is_sha256_proved"] is True
    assert node.message["capture"]["kind"] == "live"  # type: ignore[index]


def test_a_refused_fact_tells_its_rule(own: Lake) -> None:
    node = explain(own, f"{TRADES}:0:9")
    assert node.table == "quality.quarantine"
    assert node.notes == ["rule positive_price: found -1, expected > 0"]


def test_a_held_fact_names_its_hold(own: Lake) -> None:
    (note,) = explain(own, f"{TRADES}:1:0").notes
    assert note == "held back by the gate: trades-binance-0.0-3 (normalized.trades)"


def test_a_fact_that_added_no_row_says_so(own: Lake) -> None:
    (note,) = explain(own, f"{TRADES}:0:77").notes
    assert "repeat" in note


def test_damaged_bytes_are_not_proved(own: Lake) -> None:
    node = explain(own, f"{TRADES}:2")
    assert node.message is not None
    assert node.message["is_sha256_proved"] is False
    assert node.message["excerpt"] == "\\xff\\xfe"


def test_an_adjusted_bar_leads_to_its_bar_and_the_factors_that_apply(own: Lake) -> None:
    node = explain(own, "adjusted.bars_1d/AAPL/2020-08-28")
    assert [(child.role, child.table) for child in node.inputs] == [
        ("bar", "adjusted.agreed_bars"),
        ("split", "adjusted.factors"),
    ]
    assert explain(own, f"adjusted.bars_1d/{AAPL}/2020-08-31").inputs[-1].role == "bar"
    assert [message["capture_id"] for message in node.messages()] == [CAPTURE] * 2


def test_keys_are_read_back_from_names() -> None:
    table = table_named("adjusted.factors")
    key = key_of(table, f"adjusted.factors/{AAPL}/2020-08-31/split/2020-07-30T04:00:00Z")
    assert key == {"instrument_id": AAPL, "ex_date": date(2020, 8, 31), "kind": "split", "known_at": small_lake.KNOWN_SPLIT}
    for wrong in ("adjusted.factors/1", f"adjusted.factors/{10**30}/2020-08-31/split/2020-07-30T04:00:00Z"):
        with pytest.raises(InvalidValueError):
            key_of(table, wrong)


@pytest.mark.parametrize(
    "text", ["x:1:2", f"{CAPTURE}:99:0", f"adjusted.bars_1d/{AAPL}/1999-01-01", "adjusted.bars_1d/NOPE/2020-08-28"]
)
def test_what_does_not_exist_is_not_found(own: Lake, text: str) -> None:
    with pytest.raises(NotFoundError):
        explain(own, text)
