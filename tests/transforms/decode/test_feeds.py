"""The registry finds feeds, and mappings say what is wrong with them."""

import json
import tomllib

import pyarrow as pa
import pytest

from lake.errors import InvalidValueError, NotFoundError
from tests.transforms.decode.cases import SAMPLES, messages
from transforms.decode.csv_mapping import parse_mapping
from transforms.decode.decoded import BARS, Rows, decoded_schema, quoted
from transforms.decode.delivery import zone_named
from transforms.feeds import FEEDS, feed_named

MAPPING = tomllib.loads((SAMPLES / "csv" / "aapl_raw" / "mapping.toml").read_text())


def test_feeds_are_found_by_name_and_others_are_named():
    assert feed_named("yahoo", "chart").provider == "yahoo"
    with pytest.raises(NotFoundError, match="binance spot, binance usdm"):
        feed_named("yahoo", "options")


def test_no_messages_give_an_empty_table_of_every_table():
    for feed in FEEDS.values():
        found = feed.decode(messages([]))
        assert {name: table.schema for name, table in found.tables.items()} == {
            name: decoded_schema(name) for name in feed.tables
        }
        assert found.fact_count == found.control == found.skipped == found.refused.num_rows == 0


def test_payloads_alone_are_enough():
    for feed in FEEDS.values():
        found = feed.decode(pa.table({"payload": pa.chunked_array([pa.array([b"?"]), pa.array([b"", b"?"])])}))
        assert found.control + len(set(found.refused["message_index"].to_pylist())) == 3


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"intervall": "1d"}, "unknown keys intervall"),
        ({"interval": "2d"}, "expected one of 1m"),
        ({"basis": "raw"}, "as_traded"),
        ({"time_zone": "New York"}, "IANA"),
        ({"delimiter": ",,"}, "one character"),
        ({"columns": {"time": "Epoch"}}, "lacks close"),
        ({"columns": MAPPING["columns"] | {"bid": "Bid"}}, "bid"),
        ({"symbol": None}, "columns.symbol"),
        ({"time_format": "%H:%M"}, "no year"),
        ({"time_format": None}, "expected text"),
        ({"time_format": "%Y%Y"}, "twice"),
        ({"time_format": "%Y-%Q"}, "directive"),
        ({"price_exponent": 40}, "power of ten"),
        ({"numbers": "float_image", "price_exponent": -2}, "exact digits"),
        ({"label": "end", "interval": "1mo"}, "minutes and days"),
        ({"kind": "actions"}, r"\[columns\]"),
        ({"kinds": {"Split": "stock_split"}, "kind": "actions", "columns": {"ex_date": "Ex"}}, "split or cash_dividend"),
    ],
)
def test_a_mapping_says_what_is_wrong_with_it(change, word):
    with pytest.raises(InvalidValueError, match=word):
        parse_mapping(MAPPING | change)


def test_a_mapping_for_the_other_feed_is_refused():
    found = feed_named("csv", "actions").decode(messages([b"x"], [{"mapping": MAPPING}]))
    assert found.refused["rule"].to_pylist() == ["invalid_mapping"]


@pytest.mark.parametrize("numbers", ["exact", "float_image"])
def test_a_file_of_float_images_is_restored_and_one_of_exact_digits_is_not(numbers):
    line = b"2020-08-31 04:00:00,129.0399932861328,129.0399932861328,129.0399932861328,129.0399932861328,1\n"
    found = feed_named("csv", "bars").decode(
        messages([b"Epoch,Open,High,Low,Close,Volume\n" + line], [{"mapping": MAPPING | {"numbers": numbers}}])
    )
    if numbers == "exact":
        assert found.refused["rule"].to_pylist() == ["excess_digits"]
    else:
        assert str(found.tables[BARS]["close"][0].as_py()) == "129.040000000"


def test_exponents_move_the_point():
    columns = {"time": "d", "open": "o", "high": "o", "low": "o", "close": "o", "volume": "v"}
    mapping = {
        "kind": "bars",
        "symbol": "X",
        "columns": columns,
        "price_exponent": -4,
        "volume_exponent": 2,
        "label": "session_date",
    }
    found = feed_named("csv", "bars").decode(
        messages([b"d,o,v\n2020-01-02,1234567,1.2345\n2020-01-03,-5,7\n"], [{"mapping": mapping}])
    )
    rows = found.tables[BARS].to_pylist()
    assert [(str(row["open"]), str(row["volume"])) for row in rows] == [
        ("123.456700000", "123.45000000"),
        ("-0.000500000", "700.00000000"),
    ]
    assert [str(row["session_date"]) for row in rows] == ["2020-01-02", "2020-01-03"]


@pytest.mark.parametrize(
    ("label", "form", "stamp", "opened", "session"),
    [
        ("start", "epoch_s", "1598880600", "2020-08-31 13:30:00+00:00", None),
        ("start", "epoch_ms", "1598880600000", "2020-08-31 13:30:00+00:00", None),
        ("start", "iso", "2020-08-31T09:30:00-04:00", "2020-08-31 13:30:00+00:00", None),
        ("start", "iso", "2020-08-31", "2020-08-31 04:00:00+00:00", None),
        ("end", "iso", "2020-09-01", "2020-08-31 04:00:00+00:00", "2020-08-31"),
        ("end", "iso", "2020-08-31T16:00", "2020-08-31 04:00:00+00:00", "2020-08-31"),
        ("session_date", "%m/%d/%y", "08/31/20", "2020-08-31 04:00:00+00:00", "2020-08-31"),
        ("session_date", "epoch_s", "1598846400", "2020-08-31 04:00:00+00:00", "2020-08-31"),
    ],
)
def test_a_label_says_what_a_stamp_names(label, form, stamp, opened, session):
    mapping = MAPPING | {"label": label, "time_format": form, "time_zone": "America/New_York"}
    payload = f"Epoch,Open,High,Low,Close,Volume\n{stamp},1,1,1,1,1\n".encode()
    (row,) = feed_named("csv", "bars").decode(messages([payload], [{"mapping": mapping}])).tables[BARS].to_pylist()
    assert str(row["ts_open"]) == opened
    assert (row["session_date"] and str(row["session_date"])) == session


def test_zones_that_are_none_are_none():
    assert [zone_named(name) for name in ("", "America", "../etc/passwd", "\0", "Mars/Olympus", None, 5, "x" * 300)] == [None] * 8


def test_a_refused_value_is_quoted_short_and_as_text():
    assert quoted(b"\xff" * 1000).endswith("…")
    assert quoted("\ud800") == "?"
    assert quoted(None) is None


def test_a_column_that_a_table_does_not_have_is_an_error():
    rows = Rows(BARS)
    rows.add(0, 0, {"bid": 1})
    with pytest.raises(KeyError):
        rows.to_table()


def test_request_json_of_any_kind_has_no_mapping():
    for request in ("[1]", "{", json.dumps({"mapping": []})):
        table = messages([b"a\n1\n"])
        table = table.set_column(1, "request", [[request]])
        assert feed_named("csv", "bars").decode(table).refused["rule"].to_pylist() == ["invalid_mapping"]
