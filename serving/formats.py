"""Arrow tables as bytes: JSON, CSV, an Arrow stream, Parquet; the same for HTTP and the command line.

JSON carries columns, not a list of objects, and decimals as strings: a JSON number is a binary float to most readers, and a
price of 129.040000001 would lose digits on the way. Instants are ISO 8601 in UTC, bytes are base64, a missing value is null.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.ipc
import pyarrow.parquet as pq

from lake.errors import InvalidValueError
from serving.choices import Format as Format

MEDIA_TYPES: dict[Format, str] = {
    Format.JSON: "application/json",
    Format.CSV: "text/csv; charset=utf-8",
    Format.ARROW: "application/vnd.apache.arrow.stream",
    Format.PARQUET: "application/vnd.apache.parquet",
}


def encode(table: pa.Table, format_: Format, metadata: Mapping[str, object] | None = None) -> bytes:
    """Return `table` in a format other than TABLE; `metadata` goes into the JSON body or the Arrow schema."""
    if format_ is Format.JSON:
        return orjson.dumps({"metadata": metadata or {}, "row_count": table.num_rows, "columns": columns(table)}) + b"\n"
    if metadata:
        table = table.replace_schema_metadata({b"tickhouse": orjson.dumps(metadata)})
    if format_ is Format.CSV:
        return _csv(table)
    sink = io.BytesIO()
    if format_ is Format.ARROW:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    elif format_ is Format.PARQUET:
        pq.write_table(table, sink, compression="zstd", store_decimal_as_integer=True)
    else:
        raise InvalidValueError(f"format {format_.value!r} has no bytes; expected csv, json, arrow or parquet")
    return sink.getvalue()


def columns(table: pa.Table) -> dict[str, list[object]]:
    """Return the columns as plain lists, ready for JSON. A column name that stands twice gets a number behind it."""
    names: dict[str, list[object]] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        unique, number = name, 1
        while unique in names:
            number += 1
            unique = f"{name}_{number}"
        names[unique] = _plain(column)
    return names


def records(table: pa.Table) -> list[dict[str, object]]:
    """Return the rows as plain dicts, for small answers such as a listing of holds."""
    by_name = columns(table)
    return [dict(zip(by_name, values, strict=True)) for values in zip(*by_name.values(), strict=True)]


def decimal_texts(column: pa.ChunkedArray | pa.Array) -> list[str | None]:
    """Return decimals digit by digit, without trailing zeros and never in scientific notation."""
    written = pc.cast(column, pa.string())
    if column.type.scale > 0:
        is_plain = pc.and_(pc.match_substring(written, "."), pc.invert(pc.match_substring(written, "E")))
        written = pc.if_else(is_plain, pc.utf8_rtrim(pc.utf8_rtrim(written, "0"), "."), written)
    values: list[str | None] = written.to_pylist()
    return [value if value is None or "E" not in value else plain_decimal(Decimal(value)) for value in values]


def plain_decimal(value: Decimal) -> str:
    """Return `value` digit by digit, without trailing zeros: `0.0000001`, `125`, never `1E-7`."""
    text = format(value, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def instant_text(value: datetime) -> str:
    """Return an instant as ISO 8601 in UTC with a `Z`."""
    return value.isoformat().replace("+00:00", "Z")


def _plain(column: pa.ChunkedArray) -> list[object]:
    kind = column.type
    if pa.types.is_decimal(kind):
        return list(decimal_texts(column))
    if pa.types.is_timestamp(kind) and kind.tz is not None and kind.unit == "us":
        text = pc.strftime(column.cast(pa.timestamp("us", "UTC")), "%Y-%m-%dT%H:%M:%S")
        return [None if value is None else _short_seconds(value) for value in text.to_pylist()]
    if pa.types.is_date(kind):
        return [None if value is None else value.isoformat() for value in column.to_pylist()]
    if pa.types.is_floating(kind):
        return [None if value is None or value != value or value in (_INF, -_INF) else value for value in column.to_pylist()]
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return list(column.to_pylist())
    return [plain_value(value) for value in column.to_pylist()]


_INF = float("inf")


def _short_seconds(text: str) -> str:
    """`…:00.000000` -> `…:00Z`, other fractions kept whole."""
    return (text[:-7] if text.endswith(".000000") else text) + "Z"


def plain_value(value: object) -> object:
    """Return any value as JSON knows it; what JSON does not know becomes text."""
    if isinstance(value, float):
        return None if value != value or value in (_INF, -_INF) else value
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**64 else str(value)
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if isinstance(value, datetime):
        return instant_text(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (bytes, bytearray, memoryview)):
        return base64.b64encode(bytes(value)).decode()
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain_value(item) for item in value]
    return str(value)


def _csv(table: pa.Table) -> bytes:
    by_name = columns(table)
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(by_name)
    lists = [[_cell(value) for value in values] for values in by_name.values()]
    writer.writerows(zip(*lists, strict=True))
    return sink.getvalue().encode()


def _cell(value: object) -> object:
    if isinstance(value, bool):
        return "true" if value else "false"
    return orjson.dumps(value).decode() if isinstance(value, (list, dict)) else value
