"""Who is compared with the lake, each in a module of its own, so that a process imports only the engine that it measures.

Every engine answers the same questions (`point`, `bars`, `all_bars`, `as_of`, `snapshot`) with a number of rows, or writes
the same rows; the names below lead to the modules.
"""

from __future__ import annotations

import importlib
import json
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ORDER = ("instrument_id", "ts_event", "ts_event_nanos", "sequence")
"""In which everybody sorts who sorts: the order of normalized.trades."""


@dataclass(frozen=True)
class Given:
    """What every engine gets: plain values, so that another process can be told them."""

    folder: str
    """Where it may keep a store of its own."""
    home: str
    """The lake."""
    paths: tuple[str, ...]
    """The lake's Parquet files."""
    session: str
    """The newest session in order of arrival, as an Arrow file."""
    day: str
    noon: str
    instruments: tuple[int, ...]
    """Those that are asked about: a busy one, a middling one, a quiet one."""

    def told(self) -> str:
        return json.dumps(asdict(self))

    @staticmethod
    def heard(told: str) -> Given:
        found = json.loads(told)
        return Given(**found | {"paths": tuple(found["paths"]), "instruments": tuple(found["instruments"])})


@dataclass(frozen=True)
class Engine:
    """Where an engine stands: a class of questions made of (given), or a function (folder, rows) that returns what writes."""

    module: str
    attribute: str
    package: str | None = None
    """A package that need not be there."""

    def load(self) -> Any:
        return getattr(importlib.import_module(f"{__name__}.{self.module}"), self.attribute)

    def missing(self) -> str | None:
        """Return why it cannot run in this interpreter, or None."""
        if self.package is None or find_spec(self.package) is not None:
            return None
        where = "in an environment of its own: make bench-peers" if self.package == "arcticdb" else "by the extra `bench`"
        return f"{self.package} is not installed; it comes {where}"


OURS = "tickhouse, from files"
ARCTICDB = "ArcticDB, LMDB"
READERS = {
    OURS: Engine("tickhouse", "Files"),
    "tickhouse, hot": Engine("tickhouse", "Hot"),
    "DuckDB on the same Parquet": Engine("duckdb_parquet", "DuckDB"),
    "Polars on the same Parquet": Engine("polars_parquet", "Polars"),
    "chDB, MergeTree": Engine("chdb_merge_tree", "Chdb", "chdb"),
    ARCTICDB: Engine("arcticdb_lmdb", "Arctic", "arcticdb"),
}
APPENDS = {
    "tickhouse, log (visible in the tail)": Engine("tickhouse", "to_log"),
    "tickhouse, commit to main": Engine("tickhouse", "to_main"),
    "limit: Arrow bytes, write and fsync": Engine("arrow_bytes", "append"),
    "PyIceberg append": Engine("pyiceberg_table", "as_it_came"),
    "DuckDB insert": Engine("duckdb_parquet", "insert"),
    "delta-rs": Engine("delta_rs", "append", "deltalake"),
    ARCTICDB: Engine("arcticdb_lmdb", "append", "arcticdb"),
}
"""A thousand rows made durable."""
LOADS = {
    "tickhouse: sorted, tuned, committed": Engine("tickhouse", "to_main"),
    "PyIceberg append, sorted first": Engine("pyiceberg_table", "sorted_first"),
    "PyIceberg append, as it came": Engine("pyiceberg_table", "as_it_came"),
    "DuckDB COPY, sorted": Engine("duckdb_parquet", "copy"),
    "delta-rs, as it came": Engine("delta_rs", "append", "deltalake"),
    "chDB, MergeTree, sorted": Engine("chdb_merge_tree", "load", "chdb"),
    "ArcticDB, LMDB, as it came, prices as doubles": Engine("arcticdb_lmdb", "append", "arcticdb"),
}
"""A session in one go."""


def place_for(given: Given, name: str) -> Path:
    """Return the folder of one engine's own store."""
    found = Path(given.folder) / "".join(letter if letter.isalnum() else "-" for letter in name)
    found.mkdir(parents=True, exist_ok=True)
    return found
