"""Any bytes, any request and any status give a Decoded: facts, refused rows or control, never an exception."""

import json

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.decode.cases import SAMPLES, messages, sample
from transforms.feeds import FEEDS

pytestmark = pytest.mark.hypothesis

LARGEST = 6_000
"""Payloads longer than this are cut: the same paths, sooner."""


def seeds(key):
    """Messages of a feed's own samples, then of its provider's others: whatever is registered is fuzzed from what lies there."""
    own, others = [], []
    for folder in sorted(path.parent for path in (SAMPLES / key[0]).glob("*/case.json")):
        case, table = sample(folder)
        for payload, request in zip(table["payload"].to_pylist(), table["request"].to_pylist(), strict=True):
            if payload:
                (own if case["feed"] == key[1] else others).append((payload[:LARGEST], request))
    return [*own[:40], *others[:10]]


SEEDS = {key: seeds(key) for key in FEEDS}
BITS = [
    b"",
    b"0",
    b"-",
    b"null",
    b"[]",
    b"{}",
    b'"',
    b"1e999",
    b"\\ud800",
    b"\xff\xfe",
    b"\n",
    b",",
    b";",
    b"99999999999999999999",
    b"**",
    b"..........ENT:",
]

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@st.composite
def damaged(draw, key):
    payload, request = draw(st.sampled_from(SEEDS[key]))
    changed = bytearray(payload)
    for _ in range(draw(st.integers(0, 5))):
        place = draw(st.integers(0, len(changed)))
        length = draw(st.integers(0, 30))
        changed[place : place + length] = draw(st.sampled_from(BITS) | st.binary(max_size=4))
    return bytes(changed), request


@st.composite
def replaced(draw, key):
    """A JSON payload with one value somewhere replaced by any other."""
    payload, request = draw(st.sampled_from(SEEDS[key]))
    try:
        whole = json.loads(payload)
    except (ValueError, RecursionError):
        return payload, request
    place = whole
    while isinstance(place, dict | list) and place:
        key = draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        if not isinstance(place[key], dict | list) or not place[key] or draw(st.integers(0, 4)) == 0:
            place[key] = draw(json_values)
            break
        place = place[key]
    return json.dumps(whole).encode(), request


def assert_accounted(feed, payload, request, status=None, headers=None):
    table = messages([payload, payload], statuses=[status, None], headers=[headers, None])
    table = table.set_column(table.schema.get_field_index("request"), "request", pa.array([request, request], pa.string()))
    found = feed.decode(table)
    told = set(found.refused["message_index"].to_pylist())
    for name, rows in found.tables.items():
        rows.validate(full=True)
        rows.to_pylist()  # every value is one that Python can hold
        told |= set(rows["message_index"].to_pylist())
        assert name in feed.tables
    assert len(told) + found.control == 2


def test_every_registered_feed_is_fuzzed_from_samples_of_its_provider():
    assert set(SEEDS) == set(FEEDS)
    assert [key for key, found in SEEDS.items() if not found] == []


@pytest.mark.parametrize("key", FEEDS, ids="-".join)
def test_bytes_of_any_kind_are_accounted_for(key):
    @given(
        st.binary(max_size=60), st.none() | st.text(max_size=20), st.none() | st.sampled_from([200, 204, 404, 500]), json_values
    )
    def run(payload, request, status, headers):
        assert_accounted(FEEDS[key], payload, request, status, headers)

    run()


@pytest.mark.parametrize("key", FEEDS, ids="-".join)
def test_damaged_messages_are_accounted_for(key):
    @given(damaged(key) | replaced(key))
    def run(message):
        assert_accounted(FEEDS[key], *message)

    run()


@pytest.mark.parametrize("key", [("csv", "bars"), ("csv", "actions")], ids="-".join)
def test_any_mapping_is_accounted_for(key):
    mappings = [json.loads(request)["mapping"] for _, request in SEEDS[key] if request and "mapping" in json.loads(request)]

    @given(st.sampled_from(SEEDS[key]), st.sampled_from(mappings), st.data())
    def run(seed, mapping, data):
        changed = dict(mapping)
        for _ in range(data.draw(st.integers(1, 2))):
            changed[data.draw(st.sampled_from([*sorted(mapping), "time_format", "label", "numbers", "price_exponent"]))] = (
                data.draw(
                    json_values
                    | st.sampled_from(["%Y%Y", "%Y-%m-%d", "epoch_ms", "end", "float_image", 3, -3, "\x00", {"time": "a"}])
                )
            )
        assert_accounted(FEEDS[key], seed[0], json.dumps({"mapping": changed}))

    run()


@pytest.mark.parametrize("key", FEEDS, ids="-".join)
@pytest.mark.parametrize(
    "payload", [b"[" * 100_000, b'{"a":' * 100_000, b"9" * 200_000, b'"' * 100_000], ids=["lists", "objects", "digits", "quotes"]
)
def test_depth_and_length_do_no_harm(key, payload):
    assert_accounted(FEEDS[key], payload, json.dumps({"mapping": json.loads(SEEDS["csv", "bars"][0][1])["mapping"]}))
