"""Every sample gives the rows written beside it."""

import json
from decimal import Decimal

import pytest

from lake.values import MESSAGE_ITSELF
from tests.transforms.decode.cases import SAMPLES, sample
from transforms.decode.decoded import REFUSED_SCHEMA, decoded_schema
from transforms.feeds import feed_named

FOLDERS = sorted(path.parent for path in SAMPLES.glob("*/*/case.json"))


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_a_sample_gives_its_rows(folder):
    case, given = sample(folder)
    expected = json.loads((folder / "expected.json").read_text())
    feed = feed_named(case["provider"], case["feed"])
    found = feed.decode(given)

    refused = [[row["message_index"], row["ordinal"], row["table_name"], row["rule"]] for row in found.refused.to_pylist()]
    assert refused == expected["refused"]
    assert {name: table.num_rows for name, table in found.tables.items()} == expected["counts"]
    assert (found.control, found.skipped) == (expected["control"], expected["skipped"])
    for name, rows in expected["rows"].items():
        every = found.tables[name].to_pylist()
        for number, row in rows.items():
            assert {key: as_written(every[int(number)][key]) for key in row} == row


def as_written(value):
    if isinstance(value, Decimal):
        return f"{value:f}"
    return value if value is None or isinstance(value, int | bool) else str(value)


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_whatever_is_decoded_has_its_place_and_its_form(folder):
    case, given = sample(folder)
    feed = feed_named(case["provider"], case["feed"])
    found = feed.decode(given)

    assert tuple(found.tables) == feed.tables
    assert found.refused.schema.equals(REFUSED_SCHEMA)
    places = set()
    for name, table in found.tables.items():
        assert table.schema.equals(decoded_schema(name))
        table.validate(full=True)
        places |= {
            (name, *place) for place in zip(*(table[key].to_pylist() for key in ("message_index", "ordinal")), strict=True)
        }
    assert len(places) == found.fact_count
    for row in found.refused.to_pylist():
        assert row["ordinal"] >= MESSAGE_ITSELF
        assert row["rule"]
        assert row["expected"]
    told = {place[1] for place in places} | set(found.refused["message_index"].to_pylist())
    assert len(told) + found.control == given.num_rows


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: f"{folder.parent.name}/{folder.name}")
def test_message_by_message_is_the_same_as_all_at_once(folder):
    case, given = sample(folder)
    decode = feed_named(case["provider"], case["feed"]).decode
    whole, parts = decode(given), [decode(given.slice(number, 1)) for number in range(given.num_rows)]
    assert sum(part.control for part in parts) == whole.control
    for name, table in whole.tables.items():
        rows = [row | {"message_index": number} for number, part in enumerate(parts) for row in part.tables[name].to_pylist()]
        assert rows == table.to_pylist()
