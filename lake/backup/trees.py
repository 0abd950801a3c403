"""A table's files as Iceberg ties them together: metadata, manifest lists, manifests, data; and the same tree elsewhere.

Iceberg names every file by its full address, so a tree that moves is written again: manifest lists, manifests and metadata
with new addresses, everything else in them as it was. Data files name nobody and move as they are.
"""

from __future__ import annotations

import io
import json
import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import fastavro

from lake.dropped import BEFORE, PROPERTY
from lake.errors import CorruptedError
from lake.heads import POSITION

Reader = Callable[[str], bytes]
"""Relative path -> bytes of a metadata file of the tree."""
Document = dict[str, Any]
_DELETED = 2
_OUTSIDE = "data/outside"


@dataclass(frozen=True, slots=True)
class File:
    """One file of a table: path relative to the table's place, and its size; -1: not told by what names it."""

    path: str
    size: int
    location: str


@dataclass(frozen=True, slots=True)
class Tree:
    """What a metadata document reaches through the snapshots that main had.

    files   every file but the metadata document itself, by path
    heads   snapshot id -> paths of its live data files
    """

    files: dict[str, File]
    heads: dict[int, frozenset[str]]


def relative(location: str, path: str) -> str:
    """Return a file's path below its table's place; a file kept elsewhere (an archive) gets a name below `data/outside/`."""
    place = location.rstrip("/") + "/"
    if path.startswith(place):
        return path[len(place) :]
    return f"{_OUTSIDE}/{sha256(path.encode()).hexdigest()[:16]}/{posixpath.basename(path)}"


def main_only(metadata: Document, until_ms: int | None = None) -> Document | None:
    """Return a metadata document as main was at a moment (None: as it is): later snapshots and every other branch are gone.

    What retention dropped later is not told any more: it is there again.

    None is returned when the document does not reach back so far.
    """
    log = [entry for entry in metadata["snapshot-log"] if until_ms is None or entry["timestamp-ms"] <= until_ms]
    if not log:
        return None
    kept = {entry["snapshot-id"] for entry in log}
    snapshots = [one for one in metadata["snapshots"] if one["snapshot-id"] in kept]
    known = {one["snapshot-id"]: one for one in snapshots}
    head = log[-1]["snapshot-id"]
    if head not in known:
        return None
    properties = dict(metadata.get("properties", {}))
    if POSITION in properties:
        properties[POSITION] = known[head]["summary"][POSITION]
    summaries = {one["snapshot-id"]: one["summary"] for one in metadata["snapshots"]}
    later = [summaries.get(entry["snapshot-id"], {}) for entry in metadata["snapshot-log"] if entry["snapshot-id"] not in kept]
    undone = next((summary[BEFORE] for summary in later if BEFORE in summary), None)
    if undone is not None:
        properties[PROPERTY] = undone
    return {
        **metadata,
        "properties": properties,
        "snapshots": snapshots,
        "snapshot-log": [entry for entry in log if entry["snapshot-id"] in known],
        "current-snapshot-id": head,
        "refs": {"main": {"snapshot-id": head, "type": "branch"}},
        "metadata-log": [],
        "statistics": [],
        "partition-statistics": [],
    }


def summary_of(metadata: Document) -> dict[str, str]:
    """Return the summary of the current snapshot."""
    head = metadata["current-snapshot-id"]
    return dict(next(one["summary"] for one in metadata["snapshots"] if one["snapshot-id"] == head))


def tree_of(metadata: Document, read: Reader, seen: dict[str, tuple[File, ...]] | None = None) -> Tree:
    """Return what a document reaches. `seen` remembers manifests between calls: they never change."""
    location = metadata["location"]
    known = {} if seen is None else seen
    files: dict[str, File] = {}
    heads: dict[int, frozenset[str]] = {}
    for snapshot in metadata["snapshots"]:
        listed = relative(location, snapshot["manifest-list"])
        files[listed] = File(listed, -1, snapshot["manifest-list"])
        live: set[str] = set()
        for entry in _records(read(listed), listed):
            path = relative(location, entry["manifest_path"])
            files[path] = File(path, entry["manifest_length"], entry["manifest_path"])
            if path not in known:
                known[path] = tuple(_data_files(location, read(path), path))
            for file in known[path]:
                files[file.path] = file
                live.add(file.path)
        heads[snapshot["snapshot-id"]] = frozenset(live)
    return Tree(files, heads)


def moved(metadata: Document, read: Reader, location: str) -> Iterator[tuple[str, bytes]]:
    """Yield (path, bytes) of every manifest, then manifest list of a tree, written again for the place `location`."""
    source = metadata["location"]
    lengths: dict[str, int] = {}
    for snapshot in metadata["snapshots"]:
        listed = relative(source, snapshot["manifest-list"])
        found = fastavro.reader(io.BytesIO(read(listed)))
        entries = []
        for entry in found:
            assert isinstance(entry, dict)
            path = relative(source, entry["manifest_path"])
            if path not in lengths:
                manifest = _moved_manifest(read(path), source, location)
                lengths[path] = len(manifest)
                yield path, manifest
            entries.append({**entry, "manifest_path": f"{location}/{path}", "manifest_length": lengths[path]})
        yield listed, _written(found, entries)


def moved_metadata(metadata: Document, location: str) -> bytes:
    """Return the metadata document for the place `location`."""
    source = metadata["location"]
    snapshots = [
        {**one, "manifest-list": f"{location}/{relative(source, one['manifest-list'])}"} for one in metadata["snapshots"]
    ]
    return json.dumps({**metadata, "location": location, "snapshots": snapshots}).encode()


def content_of(paths: frozenset[str], hashes: Mapping[str, str]) -> str:
    """Return one hash of a head's data files: their paths and contents, in order of path."""
    told = "\n".join(f"{path} {hashes[path]}" for path in sorted(paths))
    return sha256(told.encode()).hexdigest()


def _data_files(location: str, data: bytes, path: str) -> Iterator[File]:
    for entry in _records(data, path):
        if entry["status"] != _DELETED:
            file = entry["data_file"]
            yield File(relative(location, file["file_path"]), file["file_size_in_bytes"], file["file_path"])


def _records(data: bytes, path: str) -> Iterator[dict[str, Any]]:
    try:
        for record in fastavro.reader(io.BytesIO(data)):
            assert isinstance(record, dict)
            yield record
    except (ValueError, EOFError, KeyError, IndexError) as error:
        raise CorruptedError(f"{path} is no Avro file: {error}") from error


def _moved_manifest(data: bytes, source: str, location: str) -> bytes:
    found = fastavro.reader(io.BytesIO(data))
    entries = []
    for entry in found:
        assert isinstance(entry, dict)
        file = entry["data_file"]
        path = f"{location}/{relative(source, file['file_path'])}"
        entries.append({**entry, "data_file": {**file, "file_path": path}})
    return _written(found, entries)


def _written(found: Any, entries: list[dict[str, Any]]) -> bytes:
    out = io.BytesIO()
    kept = {key: value for key, value in found.metadata.items() if not key.startswith("avro.")}
    fastavro.writer(out, found.writer_schema, entries, codec=found.codec, metadata=kept)
    return out.getvalue()
