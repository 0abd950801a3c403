"""The data dictionary, drawn from the tables: `make docs` writes it to DICTIONARY.md beside this file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from lake.tables import TABLES
from lake.tables.definition import Column, PublishedBy, Table

PATH = Path(__file__).with_name("DICTIONARY.md")

_LAYERS: Mapping[str, str] = {
    "raw": "Every message as received.",
    "normalized": "One row per fact, exact, every revision.",
    "reference": "Facts valid over a range of dates.",
    "adjusted": "What the providers agree on, and prices restated for splits and dividends.",
    "quality": "What was refused, found, judged and missing.",
    "ops": "What tickhouse itself did.",
}

_PUBLISHED: Mapping[PublishedBy, str] = {
    PublishedBy.MESSAGE: "by `capture_id` and `message_seq` in the publication ledger",
    PublishedBy.RUN: "by `run_id` in the publication ledger",
    PublishedBy.RECORDED: "the row's own `recorded_at`",
}


def dictionary(tables: Iterable[Table] = tuple(TABLES.values())) -> str:
    """Return the data dictionary of `tables` as one Markdown page, namespaces in the order of the layers."""
    by_layer: dict[str, list[Table]] = {}
    for table in tables:
        by_layer.setdefault(table.namespace, []).append(table)
    layers = [*(name for name in _LAYERS if name in by_layer), *sorted(set(by_layer) - set(_LAYERS))]
    parts = [
        "# Data dictionary",
        "Made by `make docs` from `lake/tables`; do not edit. Times are UTC in microseconds, intervals half open, decimals "
        "exact. Columns in *italics* are stamps of ours: no part of the business content hash.",
        "\n".join(
            f"- **{layer}**: " + ", ".join(f"[{table.short_name}](#{_anchor(table.name)})" for table in by_layer[layer])
            for layer in layers
        ),
    ]
    for layer in layers:
        parts.append(f"## {layer}\n\n{_LAYERS.get(layer, '')}".rstrip())
        parts.extend(_entry(table) for table in by_layer[layer])
    return "\n\n".join(parts) + "\n"


def _entry(table: Table) -> str:
    partition = ", ".join(name if transform == "identity" else f"{transform}({name})" for name, transform in table.partition)
    facts = [
        f"- key: {_names(table.key)}" + (f"; null counts in {_names(table.nullable_key)}" if table.nullable_key else ""),
        f"- partition: {f'`{partition}`' if partition else 'none'}; sorted by {_names(table.order)}",
        f"- published_at: {_PUBLISHED[table.published_by]}",
    ]
    lines = [
        "| id | column | type | null | meaning |",
        "| --- | --- | --- | --- | --- |",
        *(_row(column) for column in table.columns),
    ]
    return "\n\n".join([f"### {table.name}", table.doc, "\n".join(facts), "\n".join(lines)])


def _row(column: Column) -> str:
    name = f"`{column.name}`"
    shown = f"*{name}*" if column.is_stamp else name
    meaning = column.doc.replace("|", "\\|")
    return f"| {column.field_id} | {shown} | {column.type} | {'never' if column.required else 'may be'} | {meaning} |"


def _names(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "none"


def _anchor(heading: str) -> str:
    return heading.replace(".", "").lower()


def main() -> None:
    """Write the page."""
    PATH.write_text(dictionary(), encoding="utf-8")


if __name__ == "__main__":
    main()
