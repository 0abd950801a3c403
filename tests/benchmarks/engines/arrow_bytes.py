"""The limit of appending: Arrow's bytes at the end of a file, on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa


def append(folder: Path, rows: pa.Table) -> Callable[[], int]:
    """Return what writes the rows at the end of a file and waits for the disk."""

    def run() -> int:
        sink = pa.BufferOutputStream()
        with pa.ipc.new_stream(sink, rows.schema) as stream:
            stream.write_table(rows)
        with (folder / "bare").open("ab") as file:
            file.write(sink.getvalue())
            file.flush()
            os.fsync(file.fileno())
        return rows.num_rows

    return run
