"""What a table is: quantities placed as columns, with partition, order and key.

One definition gives the Arrow and Iceberg schema, the contract's columns, the SQL names and the data dictionary.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import pyarrow as pa
from pyiceberg.schema import Schema
from pyiceberg.types import (
    BinaryType,
    BooleanType,
    DateType,
    DecimalType,
    DoubleType,
    IcebergType,
    IntegerType,
    LongType,
    NestedField,
    StringType,
    TimestamptzType,
)

_SIMPLE: dict[str, tuple[pa.DataType, IcebergType]] = {
    "string": (pa.string(), StringType()),
    "binary": (pa.binary(), BinaryType()),
    "int": (pa.int32(), IntegerType()),
    "long": (pa.int64(), LongType()),
    "double": (pa.float64(), DoubleType()),
    "boolean": (pa.bool_(), BooleanType()),
    "date": (pa.date32(), DateType()),
    "timestamptz": (pa.timestamp("us", tz="UTC"), TimestamptzType()),
}
_DECIMAL = re.compile(r"decimal\((\d+),(\d+)\)\Z")


class Encoding(StrEnum):
    """How a column is written in Parquet; chosen per quantity from measurements (DESIGN.md section 5)."""

    DELTA = "DELTA_BINARY_PACKED"
    """Stamps, sequences, ids and integer prices: never a dictionary on stamps."""
    DELTA_BYTES = "DELTA_BYTE_ARRAY"
    """Text that differs a little from row to row, like trade ids."""
    DELTA_LENGTHS = "DELTA_LENGTH_BYTE_ARRAY"
    """Text of one length or nearly, that has little in common from row to row; never declared, found (lake/encodings.py)."""
    DICTIONARY = "RLE_DICTIONARY"
    """Few distinct values: symbols, venues, conditions, sizes."""
    PLAIN = "PLAIN"
    """Payloads and what repeats nothing."""


class PublishedBy(StrEnum):
    """How a row of a table finds its `published_at` in the publication ledger."""

    MESSAGE = "message"
    """By (capture_id, message_seq): nothing is stored per row."""
    RUN = "run"
    """By the row's `run_id`, the promotion run that wrote it."""
    RECORDED = "recorded"
    """History written by ourselves: the row's own `recorded_at`."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """One measurable thing: same quantity, same unit, same name in every table."""

    name: str
    type: str
    doc: str
    encoding: Encoding = Encoding.DICTIONARY
    is_stamp: bool = False
    """True for stamps of ours (receive time, ids, offsets): left out of the business content hash."""

    def at(self, field_id: int, *, required: bool = False, doc: str | None = None, name: str | None = None) -> Column:
        """Return this quantity placed as the column with Iceberg field id `field_id`; ids are never reused."""
        return Column(field_id, name or self.name, self.type, doc or self.doc, required, self.encoding, self.is_stamp)


@dataclass(frozen=True, slots=True)
class Column:
    """A quantity placed in a table."""

    field_id: int
    name: str
    type: str
    doc: str
    required: bool
    encoding: Encoding
    is_stamp: bool

    @property
    def arrow_type(self) -> pa.DataType:
        """The Arrow type."""
        return arrow_type(self.type)

    @property
    def iceberg_type(self) -> IcebergType:
        """The Iceberg type."""
        found = _DECIMAL.match(self.type)
        return DecimalType(int(found[1]), int(found[2])) if found else _SIMPLE[self.type][1]


def arrow_type(name: str) -> pa.DataType:
    """Return the Arrow type of a type name such as `decimal(18,9)`."""
    found = _DECIMAL.match(name)
    return pa.decimal128(int(found[1]), int(found[2])) if found else _SIMPLE[name][0]


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the lake.

    partition   (column, transform) pairs; transforms: identity, day, month, bucket[N]
    order       columns the rows of a file are sorted by
    key         columns that name a row; a null in one of them means the row has no natural key, but for nullable_key:
                there null is a value like any other
    """

    name: str
    doc: str
    columns: tuple[Column, ...]
    partition: tuple[tuple[str, str], ...]
    order: tuple[str, ...]
    key: tuple[str, ...]
    published_by: PublishedBy
    nullable_key: tuple[str, ...] = ()
    _by_name: dict[str, Column] = field(default_factory=dict, compare=False, repr=False)
    _schemas: list[pa.Schema] = field(default_factory=list, compare=False, repr=False)

    def __post_init__(self) -> None:
        self._by_name.update({column.name: column for column in self.columns})
        ids = [column.field_id for column in self.columns]
        if len(set(ids)) != len(ids) or len(self._by_name) != len(ids):
            raise ValueError(f"{self.name}: a field id or a column name stands twice")
        unknown = {*self.order, *self.key, *(name for name, _ in self.partition)} - set(self._by_name)
        unknown |= set(self.nullable_key) - set(self.key)
        if unknown:
            raise ValueError(f"{self.name}: unknown columns {sorted(unknown)}")

    @property
    def namespace(self) -> str:
        """The layer, or `reference`, `quality`, `ops`."""
        return self.name.partition(".")[0]

    @property
    def short_name(self) -> str:
        """The name without its namespace."""
        return self.name.partition(".")[2]

    @property
    def column_names(self) -> tuple[str, ...]:
        """All columns, in order."""
        return tuple(column.name for column in self.columns)

    @property
    def business_columns(self) -> tuple[str, ...]:
        """Columns of the content hash: all but stamps of ours."""
        return tuple(column.name for column in self.columns if not column.is_stamp)

    @property
    def telling_key(self) -> tuple[str, ...]:
        """Columns of the key in which a null says that the row has no natural key."""
        return tuple(name for name in self.key if name not in self.nullable_key)

    @property
    def is_revised(self) -> bool:
        """True where another version of a fact is one more row: `known_at` is part of the key."""
        return "known_at" in self.key

    def column(self, name: str) -> Column:
        """Return the column called `name`. Raises KeyError."""
        return self._by_name[name]

    def arrow_schema(self) -> pa.Schema:
        """Return the Arrow schema, each field with its Iceberg field id for Parquet."""
        if not self._schemas:
            fields = [
                pa.field(
                    column.name,
                    column.arrow_type,
                    nullable=not column.required,
                    metadata={"PARQUET:field_id": str(column.field_id)},
                )
                for column in self.columns
            ]
            self._schemas.append(pa.schema(fields))
        return self._schemas[0]

    def iceberg_schema(self) -> Schema:
        """Return the Iceberg schema."""
        return Schema(
            *[
                NestedField(column.field_id, column.name, column.iceberg_type, required=column.required, doc=column.doc)
                for column in self.columns
            ]
        )


def rows(table: Table, columns: dict[str, Sequence[object]]) -> pa.Table:
    """Return an Arrow table in `table`'s schema from Python columns; a column left out is null."""
    length = len(next(iter(columns.values()))) if columns else 0
    unknown = set(columns) - set(table.column_names)
    if unknown:
        raise ValueError(f"{table.name} has no columns {sorted(unknown)}")
    arrays = [
        pa.array(columns[column.name], column.arrow_type) if column.name in columns else pa.nulls(length, column.arrow_type)
        for column in table.columns
    ]
    return pa.Table.from_arrays(arrays, schema=table.arrow_schema())
