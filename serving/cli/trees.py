"""The way back of a value, drawn as a tree for a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from serving.formats import plain_value

MAX_INPUTS = 12
"""Inputs of one row drawn; the JSON form has them all."""
_HIDDEN = frozenset({"instrument_id", "run_id", "capture_id", "message_seq", "ordinal", "inputs_hash", "ts_event_nanos"})
_EXCERPT = 160


Document = Mapping[str, Any]


def print_lineage(console: Console, node: Document) -> None:
    """Print the document of `serving.lineage`: each row below what was made of it, each message where it first appears."""
    tree = Tree(_title(node), guide_style="dim")
    _fill(tree, node, set())
    console.print(tree)


def _fill(branch: Tree, node: Document, seen: set[tuple[object, object]]) -> None:
    if node["row"]:
        branch.add(Text(_facts(node["row"])))
    for note in node.get("notes", ()):
        branch.add(Text(note, style="yellow"))
    published, gate = node.get("publication"), node.get("gate")
    if published is not None:
        branch.add(Text(f"published {plain_value(published['published_at'])} in snapshot {published['snapshot_id']}", "green"))
    if gate is not None:
        words = "{verdict} the gate: {checks_evaluated} of {checks_expected} checks on {row_count} rows".format(**gate)
        branch.add(Text(words, "green" if gate["verdict"] == "passed" else "red"))
    if node.get("message") is not None:
        _add_message(branch, node["message"], seen)
    inputs = node["inputs"]
    for one in inputs[:MAX_INPUTS]:
        _fill(branch.add(_title(one)), one, seen)
    if len(inputs) > MAX_INPUTS:
        branch.add(Text(f"… and {len(inputs) - MAX_INPUTS} more inputs (--json has them)", style="dim"))


def _title(node: Document) -> Text:
    title = Text()
    if node.get("role"):
        title.append(f"{node['role']}: ", style="cyan")
    title.append(node["event_id"], style="bold")
    if node["table"] and not node["event_id"].startswith(node["table"]):
        title.append(f"  in {node['table']}", style="dim")
    if node["step"]:
        title.append(f"  by {node['step']}", style="dim")
    return title


def _facts(row: Mapping[str, object]) -> str:
    return "  ".join(f"{name}={plain_value(value)}" for name, value in row.items() if value is not None and name not in _HIDDEN)


def _add_message(branch: Tree, message: Mapping[str, object], seen: set[tuple[object, object]]) -> None:
    name = (message["capture_id"], message["message_seq"])
    line = branch.add(
        Text.assemble(
            ("message ", "cyan"),
            (f"{name[0]}:{name[1]}", "bold"),
            f"  {message['content_type']}, {message['byte_count']:,} bytes",
        )
    )
    if name in seen:
        line.add(Text("shown above", style="dim"))
        return
    seen.add(name)
    proved = "proved again now" if message["is_sha256_proved"] else "DOES NOT MATCH the payload"
    line.add(Text(f"sha256 {message['sha256']} ({proved})", "green" if message["is_sha256_proved"] else "bold red"))
    line.add(Text(f"received {plain_value(message['ts_recv'])} from {message['provider']} {message['feed']}"))
    if message["request"] is not None:
        status = f" -> {message['status']}" if message["status"] is not None else ""
        line.add(Text(f"asked {_request(message['request'])}{status}"))
    if message["headers"]:
        line.add(Text(f"headers {_cut(json.dumps(message['headers']))}", style="dim"))
    capture = message["capture"]
    if isinstance(capture, Mapping):
        line.add(
            Text(
                f"capture of kind {capture['kind']}, started {plain_value(capture['started_at'])}, code {capture['code_version']}"
            )
        )
    line.add(Text(f"bytes {_cut(str(message['excerpt']))}", style="dim"))


def _request(request: object) -> str:
    if isinstance(request, Mapping) and "url" in request:
        return f"{request.get('method', 'GET')} {request['url']}"
    return _cut(json.dumps(request))


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _EXCERPT else flat[: _EXCERPT - 1] + "…"
