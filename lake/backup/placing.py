"""Placing: the files of a table into another place, addresses rewritten, and the proof that what is there is what was meant."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256

from lake.backup.documents import Listing
from lake.backup.stores import Store, get, put_bytes
from lake.backup.trees import Document, File, content_of, moved, moved_metadata, tree_of
from lake.errors import CorruptedError, NotFoundError

Chunks = Callable[[File], Iterator[bytes]]
"""Yields the bytes of a file where it comes from."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where a table goes: a store and the address of its root as Iceberg writes it, and the table's folder below both."""

    store: Store
    root: str
    folder: str

    @property
    def location(self) -> str:
        """The table's new place."""
        return f"{self.root}/{self.folder}"

    def key(self, path: str) -> str:
        """Return the key of a file of the table."""
        return f"{self.folder}/{path}"

    def read(self, path: str) -> bytes:
        """Return a small file of the table as placed."""
        return get(self.store, self.key(path))


def folder_of(location: str) -> str:
    """Return a table's folder below its warehouse: the last two names of its location."""
    return "/".join(location.rstrip("/").split("/")[-2:])


def place_data(target: Target, files: Iterable[File], chunks: Chunks, reached: Callable[[], None]) -> tuple[int, int]:
    """Copy data and held files that are not there; return how many and their bytes."""
    count = size = 0
    for file in files:
        if target.store.put(target.key(file.path), chunks(file), file.size):
            count, size = count + 1, size + file.size
            reached()
    return count, size


def place_metadata(target: Target, main: Document, name: str, read: Callable[[str], bytes]) -> str:
    """Write manifests, manifest lists and the metadata document `name` for the new place; return the document's location.

    A metadata file that is there stays: the same file written again has the same content.
    """
    for path, data in moved(main, read, target.location):
        put_bytes(target.store, target.key(path), data)
    put_bytes(target.store, target.key(name), moved_metadata(main, target.location))
    return f"{target.location}/{name}"


def prove(target: Target, name: str, expected: Listing, held: Iterable[File]) -> str:
    """Return the content hash of the placed head, having read every file that the placed document reaches.

    expected   hashes and sizes of data and held files, by path

    Raises CorruptedError that names the first file that is missing, differs, or lies outside the new place.
    """
    main = json.loads(target.read(name))
    tree = tree_of(main, target.read)
    hashes: dict[str, str] = {}
    for file in [*tree.files.values(), *held]:
        if main["location"] != target.location or not file.location.startswith(f"{target.location}/"):
            raise CorruptedError(f"{target.folder}: {file.location} lies outside {target.location}")
        if file.path.startswith("metadata/"):
            continue  # read by walking here; its bytes are new
        hashes[file.path] = digest = _hash_of(target, file.path)
        if expected[file.path][0] != digest:
            raise CorruptedError(f"{target.key(file.path)} does not have the SHA-256 {expected[file.path][0]}")
    return content_of(tree.heads[main["current-snapshot-id"]], hashes)


def _hash_of(target: Target, path: str) -> str:
    found = sha256()
    try:
        for chunk in target.store.read(target.key(path)):
            found.update(chunk)
    except NotFoundError as error:
        raise CorruptedError(f"{target.key(path)} is missing") from error
    return found.hexdigest()
