"""An answer cut at any byte gives facts, refused rows or control, never an exception."""

from __future__ import annotations

import pyarrow as pa
import pytest

from tests.transforms.decode.cases import SAMPLES, messages, sample
from transforms.feeds import feed_named

LONGEST = 1_500
FOLDERS = sorted(path.parent for path in SAMPLES.glob("*/*/case.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_every_cut_of_a_message_is_accounted_for(folder):
    case, given = sample(folder)
    feed = feed_named(case["provider"], case["feed"])
    for payload, request in zip(given["payload"].to_pylist(), given["request"].to_pylist(), strict=True):
        if len(payload) > LONGEST:
            continue
        cuts = [payload[:length] for length in range(len(payload))]
        table = messages(cuts)
        table = table.set_column(table.schema.get_field_index("request"), "request", pa.array([request] * len(cuts), pa.string()))
        found = feed.decode(table)
        told = set(found.refused["message_index"].to_pylist())
        for rows in found.tables.values():
            told |= set(rows["message_index"].to_pylist())
        assert len(told) + found.control == len(cuts)
