"""Every row decoded from a sample finds its instrument, session and time, and passes the rules of its table or is listed here."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lake.tables import table_named
from lake.values import CaptureKind
from quality_checks.rules import apply_rules
from tests.transforms.decode.cases import SAMPLES, sample
from transforms.feeds import feed_named
from transforms.normalize import normalize

FOLDERS = sorted(path.parent for path in SAMPLES.glob("*/*/case.json"))
REFUSED = {
    "binance/odd_frames": ["price_not_positive"],  # made by hand
    "iex_cloud/stock": ["bar_outside_range"] * 2,  # an open above its high and a minute below its low, changed by their author
}
"""Sample -> rules that refuse rows of it, beyond those its decoder refused."""
NOW = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
@pytest.mark.parametrize("kind", [CaptureKind.IMPORT, CaptureKind.LIVE])
def test_decoded_rows_reach_their_tables(folder, kind):
    case, given = sample(folder)
    feed = feed_named(case["provider"], case["feed"])
    count = given.num_rows
    whole = {
        "capture_id": ["capture"] * count,
        "message_seq": list(range(count)),
        "provider": [feed.provider] * count,
        "feed": [feed.feed] * count,
        "ts_recv": pa.array([NOW] * count, pa.timestamp("us", tz="UTC")),
    }
    decoded = feed.decode(given)
    found = normalize(feed, pa.table(whole), decoded, {"capture": kind}, "run", NOW)
    rules = found.refused["rule"].to_pylist()[decoded.refused.num_rows :]
    for name, rows in found.tables.items():
        assert rows.schema.equals(table_named(name).arrow_schema())
        for row in rows.to_pylist() if "ts_event" in rows.column_names else []:
            assert -1 <= (row["session_date"] - (row["ts_event"] or row["ts_recv"]).date()).days <= 4  # as the contracts want it
        ruled = apply_rules(name, rows, feed, NOW, "run", found.instruments)
        rules += ruled.refused["rule"].to_pylist()
    assert sorted(rules) == sorted(REFUSED.get(f"{folder.parent.name}/{folder.name}", []))
