"""FIX's frequent increments: the kernel says what the tree says, whatever it is given."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.decode.cases import SAMPLES, messages, sample
from tests.transforms.decode.test_fix import written
from transforms.decode import fix
from transforms.kernels import fix as kernel


def both(table):
    by_tree, by_kernel = fix.decode_with(table, None), fix.decode_with(table, kernel.read_increments)
    assert (by_kernel.control, by_kernel.skipped) == (by_tree.control, by_tree.skipped)
    assert by_kernel.refused.equals(by_tree.refused)
    for name, rows in by_tree.tables.items():
        assert by_kernel.tables[name].combine_chunks().equals(rows.combine_chunks()), name
    return by_kernel


def read_by_kernel(payloads: list[bytes]) -> int:
    offsets = np.cumsum([0, *map(len, payloads)]).astype(np.int64)
    return kernel.read_increments(b"".join(payloads), offsets.tobytes()).read


@pytest.mark.parametrize("case", ["jse_indices", "by_hand"])
def test_samples_are_the_same_by_kernel_and_by_tree(case):
    _, table = sample(SAMPLES / "fix" / case)
    assert both(table).fact_count


def test_the_frequent_messages_of_the_recording_are_read_by_the_kernel():
    _, table = sample(SAMPLES / "fix" / "jse_indices")
    increments = [payload for payload in table["payload"].to_pylist() if b"\x0135=X\x01" in payload]
    words = sum(b"\x0158=LIVE\x01" in payload for payload in increments)
    assert read_by_kernel(increments) == len(increments) - words > 50


numbers = st.one_of(
    st.decimals(-10_000, 10_000, places=4).map(lambda value: f"{value:f}".encode()),
    st.sampled_from(
        [
            b"0",
            b"-0",
            b"+1.50",
            b"1.000000000000",
            b"1.2345678901",
            b"007",
            b".5",
            b"1.",
            b"",
            b"1e3",
            b"999999999999999999",
            b"x",
        ]
    ),
)
times = st.sampled_from(
    [b"00:00:00", b"23:59:59.999", b"12:00:00.123456789", b"06:30:00.000", b"24:00:00", b"0630", b"06:30", b"12:00:60"]
)
fields = st.fixed_dictionaries(
    {55: st.sampled_from([b"EUR/USD", b"A", b"A", b"N/A", b"\xc3\xa9"])},
    optional={
        269: st.sampled_from([b"0", b"1", b"1", b"2", b"3", b"3", b"y", b"7", b"x", b"A", b"J", b""]),
        270: numbers,
        271: numbers,
        278: st.sampled_from([b"1", b"id-7", b"\xff"]),
        273: times,
        451: numbers,
        15: st.sampled_from([b"USD", b"EUR", b"usd"]),
        83: st.just(b"1"),
        58: st.just(b"words"),
        280: st.just(b"0"),
        711: st.just(b"0"),
    },
)
stamps = st.sampled_from(
    [
        b"20240229-12:00:00",
        b"20230229-12:00:00",
        b"20111124-06:28:56.151",
        b"20240101-00:00:00.000000001",
        b"19991231-23:59:59.9",
        b"2024",
    ]
)


@st.composite
def increments(draw):
    entries = draw(st.lists(st.tuples(st.sampled_from([b"0", b"0", b"1", b"2", b"3"]), fields), min_size=0, max_size=4))
    head = draw(
        st.fixed_dictionaries(
            {52: stamps},
            optional={
                34: st.sampled_from([b"1", b"x"]),
                49: st.just(b"LP"),
                56: st.just(b"US"),
                1180: st.just(b"CH"),
                1181: st.sampled_from([b"7", b"-7"]),
                43: st.just(b"Y"),
            },
        )
    )
    body = [(35, b"X"), *head.items(), (268, b"%d" % (len(entries) + draw(st.sampled_from([0, 0, 0, 1]))))]
    for action, told in entries:
        body += [(279, action), *told.items()]
    return written(body + draw(st.sampled_from([[], [], [(813, b"1")], [(270, b"5")]])))


@pytest.mark.hypothesis
@given(st.lists(increments(), min_size=1, max_size=4))
def test_any_increments_are_the_same_by_kernel_and_by_tree(payloads):
    both(messages(payloads))
    assert read_by_kernel(payloads) <= len(payloads)


@pytest.mark.hypothesis
@given(increments(), st.integers(0, 400), st.binary(max_size=3))
def test_damaged_increments_are_the_same_by_kernel_and_by_tree(payload, place, put):
    damaged = payload[:place] + put + payload[place + len(put) :]
    both(messages([damaged, payload[:place], payload]))
    assert read_by_kernel([payload[: max(place, 1) - 1]]) in (0, 1)
