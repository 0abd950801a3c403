"""Every recorded chart: restored prices are the same floats, adjusted closes stay theirs, the live row is told."""

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from tests.transforms.decode.cases import messages
from transforms.decode import yahoo
from transforms.decode.decoded import BARS, CORPORATE_ACTIONS

RECORDINGS = Path(__file__).parents[3] / "ingest" / "simulator" / "recordings" / "yahoo"
CHARTS = sorted(RECORDINGS.glob("chart_*.json"))
DATES = {one["file"]: one["date"] for one in json.loads((RECORDINGS / "_manifest.json").read_text())}


def decoded_chart(path, date=None):
    headers = date or DATES.get(path.name)
    return yahoo.decode(messages([path.read_bytes()], statuses=[200], headers=[headers and {"date": headers}]))


def test_there_are_recordings():
    assert len(CHARTS) > 15


@pytest.mark.parametrize("path", CHARTS, ids=lambda path: path.stem)
def test_every_row_of_a_chart_is_a_bar_with_the_same_floats(path):
    found = decoded_chart(path)
    bars = found.tables[BARS].to_pylist()
    (result,) = json.loads(path.read_bytes())["chart"]["result"]
    stamps, quote = result.get("timestamp", []), result["indicators"]["quote"][0]
    closes = result["indicators"].get("adjclose", [{}])[0].get("adjclose")
    assert len(bars) + found.refused.num_rows + found.skipped == len(stamps)
    for bar in bars:
        place = bar["ordinal"]
        for name in ("open", "high", "low", "close"):
            assert np.float32(float(bar[name])) == np.float32(quote[name][place])
        assert bar["volume"] == quote["volume"][place]
        if closes is not None:
            assert float(bar["provider_adjusted_close"]) == pytest.approx(closes[place], rel=1e-7)
        assert bar["symbol"] == result["meta"]["symbol"]
    days = [bar["ts_open"] for bar in bars]
    assert days == sorted(set(days))


@pytest.mark.parametrize("path", CHARTS, ids=lambda path: path.stem)
def test_every_event_of_a_chart_is_an_action(path):
    found = decoded_chart(path)
    (result,) = json.loads(path.read_bytes())["chart"]["result"]
    events = result.get("events", {})
    actions = found.tables[CORPORATE_ACTIONS].to_pylist()
    assert len(actions) == sum(len(part) for part in events.values())
    splits = {row["ex_date"]: (row["ratio_new"], row["ratio_old"]) for row in actions if row["kind"] == "split"}
    assert sorted(splits.values()) == sorted((one["numerator"], one["denominator"]) for one in events.get("splits", {}).values())


def test_prices_of_a_cent_are_restored_to_the_cent():
    bars = decoded_chart(RECORDINGS / "chart_PM_1d_2008_2022_dividends.json").tables[BARS].to_pylist()
    cents = sum(bar["close"] == round(bar["close"], 2) for bar in bars)
    assert cents == len(bars)


def test_the_live_row_of_a_day_takes_the_open_of_its_session():
    path = RECORDINGS / "chart_PM_1d_2008_2022_dividends.json"
    last = decoded_chart(path).tables[BARS].to_pylist()[-1]
    assert last["ts_open"] == datetime(2022, 3, 4, 14, 30, tzinfo=UTC)
    assert last["is_final"]
    early = decoded_chart(path, "Fri, 04 Mar 2022 20:59:59 GMT").tables[BARS].to_pylist()
    assert [bar["is_final"] for bar in early[-2:]] == [True, False]


def test_a_delivery_is_told_by_the_date_header_then_by_the_request():
    path = RECORDINGS / "chart_OCDO.L_1d_pence.json"
    asked = {"received_at": "2025-02-21"}
    both = yahoo.decode(
        messages([path.read_bytes()] * 3, [asked, asked, None], headers=[{"DATE": DATES[path.name]}, {"date": "soon"}, None])
    )
    assert [bar["delivered_at"] for bar in both.tables[BARS].to_pylist()] == [
        datetime(2025, 2, 20, 11, 47, 41, tzinfo=UTC),
        datetime(2025, 2, 21, 23, 59, 59, 999999, tzinfo=UTC),
        None,
    ]


def test_a_truncated_answer_is_refused_whole():
    body = CHARTS[0].read_bytes()
    found = yahoo.decode(messages([body[: len(body) // 2]], statuses=[200]))
    assert found.fact_count == 0
    assert found.refused["rule"].to_pylist() == ["malformed"]
