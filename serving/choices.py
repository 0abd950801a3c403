"""What a caller chooses from by name. Light to import: the command line's help lists them all."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Format(StrEnum):
    """How an answer is written."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"
    ARROW = "arrow"
    PARQUET = "parquet"


class Scope(StrEnum):
    """What an API key may be used for; none includes another."""

    READ = "read"
    """Every question, the stream, the Iceberg catalog."""
    SQL = "sql"
    """POST /sql."""
    OPERATE = "operate"
    """What makes tickhouse do something: POST /integration/process."""
    ADMIN = "admin"
    """What changes the configuration: PUT and PATCH /config."""


class BarSource(StrEnum):
    """Where bars come from."""

    AGREED = "agreed"
    BUILT = "built"


class From(StrEnum):
    """Who answers a capture."""

    SIMULATOR = "simulator"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Limits:
    """What one query may take. Time counts from the start of execution; rows beyond the limits are cut off and said so.

    bytes   of the answer as Arrow; `memory` bounds what DuckDB works with, which leaves the answer out
    """

    rows: int = 1_000_000
    seconds: float = 60.0
    memory: str = "1GB"
    threads: int = 2
    bytes: int = 1 << 30


LIMITS = Limits()
"""What the command line and HTTP give a query."""
