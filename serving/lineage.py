"""The way back of a value: row, step, inputs, gate, publication, message, request, bytes.

`explain` works for a fact (`CAPTURE:MESSAGE:ORDINAL`), a whole message (`CAPTURE:MESSAGE`) and a derived row
(`adjusted.bars_1d/INSTRUMENT/SESSION` and the other tables of the adjusted layer). It reads, and re-proves the hash of
every payload it shows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from lake import as_of as ledger
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError
from lake.tables import TABLES, Table, table_named
from lake.values import MESSAGE_ITSELF, CaptureKind, event_id, parse_event_id
from quality_checks import waivers
from quality_checks.gaps import why_asked
from serving.built_inputs import inputs_of_built
from serving.formats import records
from serving.instruments import instrument_named
from serving.kept_rows import KeptRows, name_of
from transforms.built_bars import BUILT
from transforms.feeds import feed_named
from transforms.steps import step_named

EXCERPT_BYTES = 400
"""Of a payload shown to a person; the whole payload is one query away."""
MAX_DEPTH = 6
"""Longest way a row can have: adjusted bar, factor, agreed bar, normalized row, message."""
AGREED, FACTORS = "adjusted.agreed_bars", "adjusted.factors"
AGREED_KEY = table_named(AGREED).key
Row = dict[str, object]


@dataclass(slots=True)
class Node:
    """One row on the way back, with what made it and what it was made of."""

    event_id: str
    table: str
    row: Row
    step: str
    role: str = ""
    publication: Row | None = None
    gate: Row | None = None
    message: Row | None = None
    notes: list[str] = field(default_factory=list)
    inputs: list[Node] = field(default_factory=list)

    def document(self) -> dict[str, object]:
        """Return the tree as plain values."""
        shown: dict[str, object] = {"event_id": self.event_id, "table": self.table, "step": self.step}
        if self.role:
            shown["role"] = self.role
        shown["row"] = self.row
        for name in ("publication", "gate", "message"):
            if getattr(self, name) is not None:
                shown[name] = getattr(self, name)
        if self.notes:
            shown["notes"] = list(self.notes)
        shown["inputs"] = [node.document() for node in self.inputs]
        return shown

    def messages(self) -> Iterator[Row]:
        """Return every message below this node, each as often as it is used."""
        if self.message is not None:
            yield self.message
        for node in self.inputs:
            yield from node.messages()


def explain(lake: Lake, text: str) -> Node:
    """Return the way back of the row or message called `text`. Raises InvalidValueError and NotFoundError."""
    if not text.isprintable() or len(text) > 512:
        raise InvalidValueError("event id is not CAPTURE:MESSAGE:ORDINAL or TABLE/KEY: too long, or not printable")
    reader = _Reader(lake)
    if "/" in text and text.partition("/")[0] in TABLES:
        return reader.derived(_with_instrument_id(lake, text))
    if ":" not in text:
        raise InvalidValueError(
            f"event id {text!r} is neither CAPTURE:MESSAGE:ORDINAL nor TABLE/KEY, like adjusted.bars_1d/AAPL/2020-08-28"
        )
    capture_id, message_seq, ordinal = parse_event_id(text if text.count(":") != 1 else f"{text}:{MESSAGE_ITSELF}")
    if not -1 <= ordinal < 2**31 or not 0 <= message_seq < 2**63:
        raise InvalidValueError(f"event id {text!r} has a number out of range")
    return reader.fact(capture_id, message_seq, ordinal)


def _with_instrument_id(lake: Lake, text: str) -> str:
    """Let a person write a symbol where the key has an instrument id: `adjusted.bars_1d/AAPL/2020-08-28`."""
    name, first, *rest = text.split("/")
    if not rest or table_named(name).key[0] != "instrument_id" or first.isdigit():
        return text
    return "/".join((name, str(instrument_named(lake, first).instrument_id), *rest))


def key_of(table: Table, text: str) -> dict[str, object]:
    """Return the key values in a derived event id such as `adjusted.factors/123/2020-08-31/split/…`. Raises InvalidValueError."""
    parts = text.split("/")[1:]
    if len(parts) != len(table.key):
        raise InvalidValueError(f"event id {text!r} has {len(parts)} key values; {table.name} has {', '.join(table.key)}")
    try:
        return {name: _parsed(table.column(name).type, part) for name, part in zip(table.key, parts, strict=True)}
    except (ValueError, OverflowError) as error:
        raise InvalidValueError(f"event id {text!r}: {error}; expected {'/'.join((table.name, *table.key))}") from error


def _parsed(type_: str, text: str) -> object:
    if type_ in ("long", "int"):
        number = int(text)
        if not -(2**63) <= number < 2**63:
            raise ValueError(f"{text} is not a 64-bit number")
        return number
    if type_ == "date":
        return date.fromisoformat(text)
    if type_ == "timestamptz":
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is None:
            raise ValueError(f"{text} has no time zone")
        return instant
    return text


class _Reader:
    """Reads the rows of one explanation; each message and each ledger once."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._messages: dict[tuple[str, int], Row] = {}
        self._publications: list[dict[str, Any]] | None = None
        self._gates: dict[tuple[str, object], Row | None] = {}
        self._asked: dict[str, list[str]] = {}
        self._kept = KeptRows(lake)

    def fact(self, capture_id: str, message_seq: int, ordinal: int, table: str | None = None) -> Node:
        """Return a normalized fact (of `table`, where it is known), a quarantined one, or the message itself."""
        message = self._message(capture_id, message_seq)
        name = event_id(capture_id, message_seq, ordinal)
        if ordinal != MESSAGE_ITSELF:
            tables = feed_named(str(message["provider"]), str(message["feed"])).tables if table is None else (table,)
            for one in tables:
                found = self._kept.fact(one, capture_id, message_seq, ordinal)
                if found.num_rows:
                    node = self._node(one, name, found, "decode and normalize")
                    node.notes += self._why_asked(capture_id)
                    return node
        quarantined = self._kept.matching("quality.quarantine", {"event_id": name})
        if quarantined.num_rows:
            node = Node(name, "quality.quarantine", records(quarantined)[0], "refused by a row rule or the gate", message=message)
            node.notes = [f"rule {row['rule']}: found {row['value']}, expected {row['expected']}" for row in records(quarantined)]
            return node
        if ordinal == MESSAGE_ITSELF:
            return Node(name, "raw.messages", {"capture_id": capture_id, "message_seq": message_seq}, "capture", message=message)
        node = Node(name, "raw.messages", {}, "capture", message=message)
        node.notes = self._whereabouts(capture_id, message_seq) or [
            "the message is here, but no row of this ordinal: it was a repeat of a fact already known, or there is none"
        ]
        return node

    def derived(self, text: str, role: str = "", depth: int = 0) -> Node:
        """Return a row of a table that names its rows by key, with everything it was made of."""
        table = table_named(text.partition("/")[0])
        found = self._kept.derived(table, key_of(table, text))
        if not found.num_rows:
            raise NotFoundError(
                f"no row {text!r} on main of {table.name}; its rows are named {'/'.join((table.name, *table.key))}"
            )
        node = self._node(table.name, text, found, "", role)
        if table.name == FACTORS:
            waiver = waivers.waiver_of(self._lake, found["instrument_id"][0].as_py(), found["ex_date"][0].as_py())
            node.notes += [] if waiver is None else [str(waiver)]
        if depth >= MAX_DEPTH:
            node.notes.append("the way goes on; explain one of the inputs by itself")
            return node
        self._add_inputs(node, found, depth)
        return node

    def _add_inputs(self, node: Node, found: pa.Table, depth: int) -> None:
        run_id = found["run_id"][0].as_py() if "run_id" in found.column_names else None
        lineage = self._kept.lineage(node.event_id, run_id)
        inputs = sorted({(row["role"], row["input_event_id"], row["input_table"], row["step"]) for row in lineage})
        if not inputs and node.table == "adjusted.bars_1d":
            inputs = [(role, name, table, "adjust") for role, name, table in self._inputs_of_bar(found)]
        if node.table == BUILT:
            parts, words = inputs_of_built(self._lake, found.slice(0, 1).to_pylist()[0])
            inputs = [(role, name, table, step_named("build").identity) for role, name, table in parts]
            node.notes.append(words)
        if inputs:
            node.step = inputs[0][3]
            self._kept.keep_lineage([name for _, name, table, _ in inputs if table.startswith("adjusted.")])
        for role, name, table, _ in inputs:
            node.inputs.append(self._input(name, role, depth, table))
        if node.message is None and not node.inputs and "capture_id" in found.column_names:
            row = found.slice(0, 1).to_pylist()[0]
            node.inputs.append(self._input(event_id(row["capture_id"], row["message_seq"], row["ordinal"]), "source", depth))

    def _input(self, name: str, role: str, depth: int, table: str | None = None) -> Node:
        try:
            if "/" in name and name.partition("/")[0] in TABLES:
                return self.derived(name, role, depth + 1)
            node = self.fact(*parse_event_id(name), table)
        except NotFoundError as error:
            return Node(name, "", {}, "", role, notes=[str(error)])
        node.role = role
        return node

    def _inputs_of_bar(self, found: pa.Table) -> Iterator[tuple[str, str, str]]:
        """The agreed bar of the session, then every factor in force whose ex-date lies after it and has come."""
        bar = found.slice(0, 1).to_pylist()[0]
        agreed = self._kept.of_instrument(AGREED, bar["instrument_id"])
        daily = agreed.filter(pc.equal(agreed["interval"], "1d")).select([*AGREED_KEY, "session_date"]).to_pylist()
        of_day = sorted((row for row in daily if row["session_date"] == bar["session_date"]), key=lambda row: row["known_at"])
        if of_day:
            yield "bar", name_of(table_named(AGREED), of_day[-1]), AGREED
        last = max((row["session_date"] for row in daily), default=bar["session_date"])
        newest: dict[tuple[object, object], dict[str, Any]] = {}
        factors = self._kept.of_instrument(FACTORS, bar["instrument_id"]).to_pylist()
        for row in sorted(factors, key=lambda row: row["known_at"]):
            if bar["session_date"] < row["ex_date"] <= last:
                newest[row["ex_date"], row["kind"]] = row
        for (_, kind), row in sorted(newest.items(), key=lambda item: item[0]):
            if row["status"] != "rescinded":
                yield str(kind), name_of(table_named(FACTORS), row), FACTORS

    def _node(self, table: str, name: str, found: pa.Table, step: str, role: str = "") -> Node:
        row = found.slice(0, 1)
        node = Node(name, table, records(row)[0], step, role)
        values = row.to_pylist()[0]
        node.publication = self._publication(table, values)
        if node.publication is not None:
            node.gate = self._gate(table, node.publication)
        if step and "message_seq" in values:
            node.message = self._message(values["capture_id"], values["message_seq"])
        return node

    def _message(self, capture_id: str, message_seq: int) -> Row:
        known = self._messages.get((capture_id, message_seq))
        if known is not None:
            return known
        found = self._kept.matching("raw.messages", {"capture_id": capture_id, "message_seq": message_seq})
        if not found.num_rows:
            raise NotFoundError(f"no message {capture_id}:{message_seq} in raw.messages")
        row = found.slice(0, 1).to_pylist()[0]
        shown = _message_document(row)
        captures = self._kept.matching("ops.captures", {"capture_id": capture_id})
        shown["capture"] = records(captures)[0] if captures.num_rows else None
        calls = self._kept.matching("ops.provider_calls", {"capture_id": capture_id, "message_seq": message_seq})
        shown["calls"] = records(calls)
        self._messages[capture_id, message_seq] = shown
        return shown

    def _why_asked(self, capture_id: str) -> list[str]:
        """Say which gaps a backfill was to fill, why, and what came of it; nothing of other captures."""
        if capture_id not in self._asked:
            kept = self._kept.matching("ops.captures", {"capture_id": capture_id}).to_pylist()
            is_backfill = bool(kept) and kept[0]["kind"] == CaptureKind.BACKFILL.value
            known = why_asked(self._lake, capture_id, kept[0]["started_at"]) if is_backfill else []
            self._asked[capture_id] = [
                f"asked for because of gap {gap.gap_id}: {reason}; it is {gap.status.value}: {gap.reason}"
                for gap, reason in known
            ]
        return self._asked[capture_id]

    def _publication(self, table: str, row: Mapping[str, Any]) -> Row | None:
        if self._publications is None:
            self._publications = ledger.publications(self._lake).to_pylist()
        for entry in self._publications:
            if entry["table_name"] == table and _publishes(entry, row):
                return {name: entry[name] for name in ("run_id", "snapshot_id", "published_at", "owner")}
        return None

    def _gate(self, table: str, publication: Mapping[str, object]) -> Row | None:
        key = (table, publication["run_id"])
        if key not in self._gates:
            found = records(self._kept.matching("quality.gate_runs", {"run_id": publication["run_id"], "table_name": table}))
            judged = [row for row in found if row["verdict"] == "passed"] or found
            self._gates[key] = judged[-1] if judged else None
        return self._gates[key]

    def _whereabouts(self, capture_id: str, message_seq: int) -> list[str]:
        """Say which holds keep facts of this message back."""
        return [
            f"held back by the gate: {hold.hold_id} ({name})"
            for name in TABLES
            for hold in self._lake.head(name).holds
            if any(one.capture_id == capture_id and one.first_seq <= message_seq <= one.last_seq for one in hold.ranges)
        ]


def _publishes(entry: Mapping[str, Any], row: Mapping[str, Any]) -> bool:
    if "run_id" in row:
        return bool(entry["run_id"] == row["run_id"])
    if entry["capture_id"] is None or entry["capture_id"] != row.get("capture_id"):
        return False
    return bool(entry["first_seq"] <= row["message_seq"] <= entry["last_seq"])


def _message_document(row: Mapping[str, Any]) -> Row:
    payload: bytes = row["payload"]
    proved = hashlib.sha256(payload).hexdigest() == row["sha256"]
    return {
        "capture_id": row["capture_id"],
        "message_seq": row["message_seq"],
        "provider": row["provider"],
        "feed": row["feed"],
        "ts_recv": row["ts_recv"],
        "content_type": row["content_type"],
        "status": row["status"],
        "request": _json(row["request"]),
        "headers": _json(row["headers"]),
        "byte_count": len(payload),
        "sha256": row["sha256"],
        "is_sha256_proved": proved,
        "excerpt": payload[:EXCERPT_BYTES].decode("utf-8", "backslashreplace"),
        "log": {"partition": row["log_partition"], "offset": row["log_offset"]},
    }


def _json(text: str | None) -> object:
    if text is None:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return text
