"""FIX: the tree of a message, its envelope, and what a recorded log says."""

import json
import re
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.transforms.decode.cases import SAMPLES, messages, sample
from transforms.decode import fix
from transforms.decode.fix_dictionary import DATA_OF, members
from transforms.decode.fix_message import Fields, fields_of, parse
from transforms.numbers import NumberRefusedError

BY_HAND = (SAMPLES / "fix" / "by_hand" / "messages.fix").read_bytes().splitlines()


def written(fields: list[tuple[int, bytes]]) -> bytes:
    """Return an enveloped message with these fields behind its kind."""
    body = b"".join(b"%d=%s\x01" % pair for pair in fields)
    head = b"8=FIX.4.4\x019=%d\x01" % len(body) + body
    return head + b"10=%03d\x01" % (sum(head) % 256)


def test_a_recorded_log_gives_every_index_value_once():
    """The answers are read from the log by a pattern that knows nothing of groups or tables."""
    _, given_messages = sample(SAMPLES / "fix" / "jse_indices")
    distinct = dict.fromkeys(given_messages["payload"].to_pylist())
    told = re.compile(rb"279=0\x0155=(\w+)\x01269=(3|y)\x01270=([-.\d]+)\x01")
    expected = [
        (symbol.decode(), "index_value" if kind == b"3" else "entry_y", Decimal(value.decode()))
        for payload in distinct
        for symbol, kind, value in told.findall(payload)
    ]
    levels = fix.decode(given_messages).tables["normalized.index_levels"].to_pylist()
    found = [(row["symbol"], row["measure"], row["value"]) for row in levels if not row["measure"].endswith("_net_change")]
    assert len(expected) > 60
    assert found == expected


def test_nested_groups_are_told_apart_by_the_dictionary():
    whole = parse(BY_HAND[6]).body
    sets = whole.groups[296]
    assert [[entry.text(299) for entry in one.groups[295]] for one in sets] == [["1", "2"], ["3"]]
    listed = parse(BY_HAND[9]).body.groups[146]
    assert [[leg.text(600) for leg in entry.groups.get(555, [])] for entry in listed] == [[], ["ESH4", "ESM4"], []]
    assert listed[1].text(15) == "USD"
    assert {269, 270, 55, 555} <= members("X", 268)
    assert 55 not in members("W", 268)
    assert members("X", 55) is None


def test_data_may_hold_any_byte_where_its_length_says_so():
    body = parse(BY_HAND[8]).body
    assert (body.text(351), body.text(1194)) == ("a\x01b", "1")
    assert DATA_OF[95] == 96
    wrong = written([(35, b"B"), (95, b"2"), (96, b"abc")])
    with pytest.raises(NumberRefusedError) as refused:
        parse(wrong)
    assert refused.value.rule == "data_length"


@pytest.mark.parametrize(
    ("fields", "rule"),
    [
        ([(268, b"2"), (279, b"0"), (269, b"0")], "entry_count"),
        ([(268, b"1"), (279, b"0"), (269, b"0"), (279, b"0")], "entry_count"),
        ([(268, b"1")], "entry_count"),
        ([(268, b"x"), (279, b"0")], "malformed_number"),
        ([(268, b"99999999999"), (279, b"0")], "malformed_number"),
    ],
)
def test_counts_of_entries_must_be_true(fields, rule):
    with pytest.raises(NumberRefusedError) as refused:
        parse(written([(35, b"X"), *fields]))
    assert refused.value.rule == rule


def test_a_field_twice_in_one_entry_is_refused_where_it_is_read():
    found = fix.decode(
        messages([written([(35, b"X"), (34, b"1"), (268, b"1"), (279, b"0"), (269, b"0"), (55, b"A"), (270, b"1"), (270, b"2")])])
    )
    assert [row["rule"] for row in found.refused.to_pylist()] == ["repeated_field"]


entry = st.fixed_dictionaries({55: st.sampled_from([b"A", b"B"]), 270: st.sampled_from([b"1.5", b"2"]), 9001: st.just(b"own")})
legs = st.lists(st.sampled_from([b"1", b"2"]).map(lambda ratio: {600: b"L", 623: ratio}), max_size=3)


@given(st.lists(st.tuples(entry, legs), min_size=1, max_size=4), st.booleans())
def test_what_was_written_in_groups_is_read_in_groups(entries, has_after):
    flat = [(35, b"X"), (268, b"%d" % len(entries))]
    for fields, parts in entries:
        flat += [(279, b"0"), *fields.items()]
        if parts:
            flat += [(555, b"%d" % len(parts)), *(pair for leg in parts for pair in leg.items())]
    body = parse(written(flat + [(813, b"7")] * has_after)).body
    found = body.groups[268]
    assert [one.values[55] for one in found] == [fields[55] for fields, _ in entries]
    assert [[leg.values for leg in one.groups.get(555, [])] for one in found] == [parts for _, parts in entries]
    assert all(one.values[9001] == b"own" for one in found)
    assert body.values.get(813) == (b"7" if has_after else None)


def test_length_and_sum_are_those_of_the_message():
    whole = BY_HAND[1]
    assert parse(whole).kind == "W"
    rules = set()
    for at in range(1, len(whole) - 1):  # another first field would be a message without envelope; the last mark may be missing
        for changed in (whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :], whole[:at]):
            with pytest.raises(NumberRefusedError) as refused:
                parse(changed)
            rules.add(refused.value.rule)
    assert {"checksum", "body_length", "truncated", "not_fix"} <= rules


@pytest.mark.hypothesis
@given(
    st.lists(
        st.sampled_from(
            [b"8=FIX.4.4", b"9=5", b"35=X", b"268=2", b"279=0", b"269=2", b"711=1", b"457=9", b"95=3", b"10=000", b"=", b"x"]
        )
        | st.binary(max_size=4)
    )
)
def test_any_fields_give_a_tree_or_a_reason(parts):
    payload = b"\x01".join(parts)
    try:
        found = parse(payload)
    except NumberRefusedError as error:
        assert error.rule
        assert error.expected
    else:
        assert isinstance(found.body, Fields)
        json.dumps(found.body.told())


def test_bars_part_fields_as_well():
    assert fields_of(b"35=0|34=1|", b"|") == [(35, b"0"), (34, b"1")]
    assert parse(BY_HAND[18]).kind == "0"


def test_a_message_sent_again_is_the_same_fact():
    entry = [(268, b"1"), (279, b"0"), (269, b"2"), (278, b"t"), (55, b"A"), (270, b"1.5"), (271, b"2")]
    first = [(35, b"X"), (49, b"S"), (56, b"T"), (34, b"7"), (52, b"20240105-23:59:59.500"), *entry]
    again = [*first[:4], (43, b"Y"), (52, b"20240106-00:00:10"), (122, b"20240105-23:59:59.500"), *entry]
    one, two = fix.decode(messages([written(first), written(again)])).tables["normalized.trades"].to_pylist()
    assert {name: one[name] for name in one if name != "message_index"} == {
        name: two[name] for name in two if name != "message_index"
    }
    assert f"{one['ts_event']:%H:%M:%S}" == "23:59:59"
