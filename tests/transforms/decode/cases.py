"""Samples as tables of messages, and both forms of the kernel."""

from __future__ import annotations

import importlib.util
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from lake.tables.raw import MESSAGES
from transforms.kernels import binance

SAMPLES = Path(__file__).parents[2] / "samples"
COLUMNS = {field.name: field.type for field in MESSAGES.arrow_schema()}


def messages(
    payloads: Sequence[bytes],
    requests: Sequence[object] | None = None,
    statuses: Sequence[int | None] | None = None,
    headers: Sequence[object] | None = None,
) -> pa.Table:
    """Return the columns of raw.messages that decoders look at."""
    count = len(payloads)
    texts = [[None if value is None else json.dumps(value) for value in given or [None] * count] for given in (requests, headers)]
    return pa.table(
        {
            "payload": pa.array(payloads, COLUMNS["payload"]),
            "request": pa.array(texts[0], COLUMNS["request"]),
            "status": pa.array(statuses or [None] * count, COLUMNS["status"]),
            "headers": pa.array(texts[1], COLUMNS["headers"]),
        }
    )


def sample(folder: Path) -> tuple[dict[str, object], pa.Table]:
    """Return a sample's case.json and its messages."""
    case = json.loads((folder / "case.json").read_text())
    if "lines" in case:
        payloads = (folder / case["lines"]).read_bytes().removesuffix(b"\n").split(b"\n")
        asked = case.get("requests", {})
        return case, messages(payloads, [asked.get(str(number)) for number in range(len(payloads))])
    given = case["messages"]
    payloads = [(folder / one["file"]).read_bytes() if "file" in one else one["text"].encode() for one in given]
    requests = [
        one.get("request", {}) | {"mapping": tomllib.loads((folder / one["mapping"]).read_text())}
        if "mapping" in one
        else one.get("request")
        for one in given
    ]
    return case, messages(payloads, requests, [one.get("status") for one in given], [one.get("headers") for one in given])


def interpreted_kernel():
    """Return the kernel's source as a module, whatever form the package imports."""
    source = Path(binance.__file__).parent / "binance.py"
    spec = importlib.util.spec_from_file_location("interpreted_binance", source)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
