"""Answers as bytes: digits are never lost, whatever the format."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from decimal import Decimal

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lake.errors import InvalidValueError
from serving.formats import Format, columns, decimal_texts, encode, plain_decimal, plain_value, records

PRICES = pa.decimal128(18, 9)
SAMPLE = pa.table(
    {
        "price": pa.array([Decimal("129.040000000"), Decimal("0.000000001"), None], PRICES),
        "at": pa.array(
            [datetime(2020, 8, 31, 13, 30, tzinfo=UTC), datetime(2020, 8, 31, 0, 0, 0, 5, tzinfo=UTC), None],
            pa.timestamp("us", "UTC"),
        ),
        "day": pa.array([date(2020, 8, 31), None, date(1970, 1, 1)]),
        "bytes": pa.array([b"\xff\x00", b"", None]),
        "ok": pa.array([True, None, False]),
        "f": pa.array([1.5, float("nan"), float("inf")]),
    }
)


@given(st.lists(st.none() | st.decimals(min_value=-(10**9) + 1, max_value=10**9 - 1, places=9), max_size=30))
def test_decimals_keep_every_digit_and_are_never_scientific(values: list[Decimal | None]) -> None:
    written = decimal_texts(pa.chunked_array([pa.array(values, PRICES)]))
    assert [None if text is None else Decimal(text) for text in written] == values
    assert all(text is None or ("E" not in text and not (("." in text) and text.endswith("0"))) for text in written)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("1E-9", "0.000000001"),
        ("-0.0", "0"),
        ("100", "100"),
        ("1.50", "1.5"),
        ("1E+3", "1000"),
        ("-1E-20", "-0.00000000000000000001"),
    ],
)
def test_plain_decimals(value: str, text: str) -> None:
    assert plain_decimal(Decimal(value)) == text


def test_json_has_columns_strings_for_decimals_and_nulls_for_what_is_no_number() -> None:
    body = orjson.loads(encode(SAMPLE, Format.JSON, {"basis": "as_traded"}))
    assert body["metadata"] == {"basis": "as_traded"}
    assert body["row_count"] == 3
    assert body["columns"] == {
        "price": ["129.04", "0.000000001", None],
        "at": ["2020-08-31T13:30:00Z", "2020-08-31T00:00:00.000005Z", None],
        "day": ["2020-08-31", None, "1970-01-01"],
        "bytes": ["/wA=", "", None],
        "ok": [True, None, False],
        "f": [1.5, None, None],
    }


def test_csv_reads_back() -> None:
    rows = list(csv.reader(io.StringIO(encode(SAMPLE, Format.CSV).decode())))
    assert rows[0] == SAMPLE.column_names
    assert rows[1] == ["129.04", "2020-08-31T13:30:00Z", "2020-08-31", "/wA=", "true", "1.5"]
    assert rows[3] == ["", "", "1970-01-01", "", "false", ""]


def test_arrow_and_parquet_carry_the_exact_table() -> None:
    stream = pa.ipc.open_stream(encode(SAMPLE, Format.ARROW, {"basis": "as_traded"}))
    assert orjson.loads((stream.schema.metadata or {})[b"tickhouse"]) == {"basis": "as_traded"}
    assert stream.read_all().replace_schema_metadata().drop(["f"]).equals(SAMPLE.drop(["f"]))
    assert pq.read_table(io.BytesIO(encode(SAMPLE, Format.PARQUET))).drop(["f"]).equals(SAMPLE.drop(["f"]))


def test_a_column_name_that_stands_twice_is_numbered() -> None:
    twice = SAMPLE.select(["day"]).append_column("day", SAMPLE["ok"])
    assert list(columns(twice)) == ["day", "day_2"]


def test_a_table_for_people_has_no_bytes() -> None:
    with pytest.raises(InvalidValueError, match="csv, json, arrow or parquet"):
        encode(SAMPLE, Format.TABLE)


def test_records_are_rows() -> None:
    assert records(SAMPLE.select(["price", "ok"]))[0] == {"price": "129.04", "ok": True}


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats()
        | st.text()
        | st.binary()
        | st.decimals(allow_nan=False, allow_infinity=False),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_any_value_becomes_json(value: object) -> None:
    if not any("\ud800" <= char <= "\udfff" for char in repr(value)):
        assert orjson.loads(orjson.dumps(plain_value(value))) == plain_value(value)


def test_instants_of_another_zone_are_told_in_utc() -> None:
    noon = datetime(2020, 8, 31, 12, tzinfo=UTC)
    table = pa.table({"at": pa.array([noon], pa.timestamp("us", "Europe/Paris"))})
    assert columns(table) == {"at": ["2020-08-31T12:00:00Z"]}
