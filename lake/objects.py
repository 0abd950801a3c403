"""Files of an object store: names in a bucket, reached by pyarrow's S3 client.

A put is atomic and durable when it returns, so nothing is fsynced here; there are no folders, no links and no renaming: what
links do in a folder is done by copies inside the store. Buckets are told once, when a lake opens (`attach`), because a
location `s3://bucket/key` names neither endpoint nor keys.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

import fsspec
import pyarrow as pa
import pyarrow.fs

from lake.errors import SettingsError
from lake.instants import EPOCH
from lake.settings import OBJECT_STORE, Settings

_ATTACHED: dict[str, tuple[tuple[str, ...], pyarrow.fs.FileSystem]] = {}
_ATTACHING = threading.Lock()
_CONNECT_TIMEOUT_S, _REQUEST_TIMEOUT_S = 10.0, 60.0


def attach(settings: Settings) -> None:
    """Make the buckets of these settings, warehouse and archive, reachable in this process; nothing is asked of them yet.

    Raises SettingsError when the process has one open with another endpoint or key.
    """
    for place in (str(settings.warehouse), settings.archive_location):
        if place.startswith(OBJECT_STORE):
            _attach(bucket_of(place), settings)


def _attach(bucket: str, settings: Settings) -> None:
    secrets = (settings.s3_secret_access_key.get_secret_value(), settings.s3_session_token.get_secret_value())
    access = (settings.s3_endpoint, settings.s3_region, settings.s3_access_key_id, *secrets)
    with _ATTACHING:
        known = _ATTACHED.get(bucket)
        if known is None:
            _ATTACHED[bucket] = (access, _opened(*access))
        elif known[0] != access:
            raise SettingsError(f"bucket {bucket} is open in this process with another endpoint, region or key")


def filesystem_of(bucket: str) -> pyarrow.fs.FileSystem:
    """Return the client of a bucket. Raises SettingsError when no open lake has it."""
    known = _ATTACHED.get(bucket)
    if known is None:
        raise SettingsError(
            f"bucket {bucket} is of no lake that is open here; see TICKHOUSE_WAREHOUSE, TICKHOUSE_ARCHIVE_LOCATION"
        )
    return known[1]


def client_of(address: str) -> tuple[pyarrow.fs.FileSystem, str]:
    """Return the client of `s3://BUCKET/PREFIX?OPTIONS`, as patient as a lake's own, and bucket with prefix.

    pyarrow's gives up after three seconds without an answer. Raises pa.ArrowInvalid or OSError for an address that is none.
    """
    client, root = pyarrow.fs.FileSystem.from_uri(address)
    rebuilt, (told,) = client.__reduce__()
    return rebuilt({**told, "connect_timeout": _CONNECT_TIMEOUT_S, "request_timeout": _REQUEST_TIMEOUT_S}), root


def bucket_of(location: str) -> str:
    """Return the bucket of `s3://bucket/key`."""
    return location.removeprefix(OBJECT_STORE).partition("/")[0]


def _opened(endpoint: str, region: str, key: str, secret: str, token: str) -> pyarrow.fs.FileSystem:
    login: dict[str, Any] = {"access_key": key, "secret_key": secret, "session_token": token or None} if key else {}
    try:
        return pyarrow.fs.S3FileSystem(
            **login,
            region=region,
            endpoint_override=endpoint or None,
            connect_timeout=_CONNECT_TIMEOUT_S,
            request_timeout=_REQUEST_TIMEOUT_S,
            allow_delayed_open=True,  # one put for a small file, not the three calls of an upload in parts
        )
    except (pa.ArrowInvalid, ValueError) as error:
        raise SettingsError(f"TICKHOUSE_S3_ENDPOINT {endpoint}: {error}") from error


@dataclass(frozen=True, slots=True, order=True)
class ObjectPath:
    """A file of an object store, with as much of a path's manner as the lake needs. As text it is its location."""

    key: str
    """Bucket and name, `bucket/prefix/name`, as pyarrow's client takes it."""

    @classmethod
    def of(cls, location: str) -> Self:
        """Return the file at `s3://bucket/key`."""
        return cls(location.removeprefix(OBJECT_STORE))

    def __str__(self) -> str:
        return OBJECT_STORE + self.key

    def __truediv__(self, name: str) -> ObjectPath:
        return ObjectPath(f"{self.key}/{name}")

    def joinpath(self, *names: str) -> ObjectPath:
        """Return the file under these names below this one."""
        return ObjectPath("/".join((self.key, *names)))

    @property
    def parent(self) -> ObjectPath:
        """The name without its last part."""
        return ObjectPath(self.key.rpartition("/")[0])

    @property
    def name(self) -> str:
        """The last part of the name."""
        return self.key.rpartition("/")[2]

    @property
    def filesystem(self) -> pyarrow.fs.FileSystem:
        """The client of its bucket."""
        return filesystem_of(self.key.partition("/")[0])

    def size(self) -> int:
        """Return its bytes. Raises FileNotFoundError."""
        found = self.filesystem.get_file_info(self.key)
        if found.type is not pyarrow.fs.FileType.File:
            raise FileNotFoundError(str(self))
        return int(found.size)

    def create(self) -> pa.NativeFile:
        """Open it for writing; it is there, whole, when that is closed."""
        return self.filesystem.open_output_stream(self.key)

    def copy_to(self, other: ObjectPath) -> None:
        """Copy it inside the store. Raises FileNotFoundError."""
        self.size()  # the client's copy of a missing key says so in words only
        self.filesystem.copy_file(self.key, other.key)

    def delete(self) -> None:
        """Delete it; one already gone is no error."""
        try:
            self.filesystem.delete_file(self.key)
        except FileNotFoundError:
            return

    def below(self) -> list[ObjectPath]:
        """Return every file whose name goes on after this one and a slash."""
        return [place for place, _, _ in self.listed()]

    def listed(self) -> list[tuple[ObjectPath, int, int]]:
        """Return (file, bytes, nanoseconds since 1970 at which it was put, by the store's clock) of what is `below`."""
        selector = pyarrow.fs.FileSelector(self.key, allow_not_found=True, recursive=True)
        found = self.filesystem.get_file_info(selector)
        return [(ObjectPath(one.path), int(one.size), int(one.mtime_ns)) for one in found if one.is_file]


class ObjectFiles(fsspec.AbstractFileSystem):  # type: ignore[misc]  # fsspec carries no types
    """Attached buckets as DuckDB reads them: its own client of object stores is an extension fetched from the network."""

    protocol = "s3"
    cachable = False

    def info(self, path: str, **_: object) -> dict[str, object]:
        """Return name, size and type of a file. Raises FileNotFoundError."""
        place = ObjectPath.of(path)
        return {"name": path, "size": place.size(), "type": "file"}

    def modified(self, path: str) -> datetime:
        """Return one moment for every file: none is ever changed."""
        return EPOCH

    def glob(self, path: str, **_: object) -> list[str]:
        """Return the path itself: the lake names its files one by one."""
        return [path]

    def exists(self, path: str, **_: object) -> bool:
        """Return whether the file is there."""
        try:
            self.info(path)
        except FileNotFoundError:
            return False
        return True

    def _open(self, path: str, mode: str = "rb", **_: object) -> pa.NativeFile:
        place = ObjectPath.of(path)
        return place.filesystem.open_input_file(place.key)

    open = _open
