"""CSV texts as the messages that an import makes of them."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from ingest.mappings import load_mapping
from tests.transforms.decode.cases import messages
from transforms.decode.decoded import Decoded
from transforms.feeds import feed_named


def csv_messages(mapping: str | Mapping[str, object], file: str, *texts: str | bytes) -> pa.Table:
    """Return messages of one file under a mapping, shipped or given."""
    document = load_mapping(mapping) if isinstance(mapping, str) else dict(mapping)
    payloads = [text.encode() if isinstance(text, str) else text for text in texts]
    return messages(payloads, [{"mapping": document, "file": file, "first_record": 0} for _ in payloads])


def read_csv(mapping: str | Mapping[str, object], file: str, *texts: str | bytes) -> Decoded:
    """Return what the mapping's feed reads of the texts of one file."""
    document = load_mapping(mapping) if isinstance(mapping, str) else mapping
    return feed_named("csv", str(document["kind"])).decode(csv_messages(mapping, file, *texts))


def rows_of(found: Decoded) -> list[dict[str, object]]:
    """Return the rows of the one table that a CSV feed fills, without their nulls; decimals and instants as text."""
    (table,) = found.tables.values()
    return [
        {name: value if isinstance(value, bool | int) else str(value) for name, value in row.items() if value is not None}
        for row in table.to_pylist()
    ]
