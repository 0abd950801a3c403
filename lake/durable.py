"""Durable files: what is written is on the disk, its name too, before anything refers to it.

A place is a local path or a file of an object store (lake/objects.py), which is durable when a write returns: there is nothing
to fsync, and a link is a copy. `DurableFileIO` is PyIceberg's FileIO for the lake (property `py-io-impl`): manifests,
manifest lists and metadata of a local warehouse are fsynced with their folders (3 ms a commit).
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

import pyarrow.fs
from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from lake.errors import InvalidValueError, StorageError
from lake.faults import SHORT, doors, error_of
from lake.objects import ObjectPath, filesystem_of
from lake.settings import OBJECT_STORE

Place = Path | ObjectPath
_SCHEME = "file://"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that say that there is no room."""


@contextmanager
def told_of(act: str, but: type[OSError] | tuple[()] = ()) -> Iterator[None]:
    """Turn what a disk or an object store refuses into StorageError, which tells what was being done; `but` passes on."""
    try:
        yield
    except but:
        raise
    except OSError as error:
        why = "no room is left" if error.errno in FULL else "the place refused"
        raise StorageError(f"{act}: {why}: {error}") from error


def local_path(location: str) -> Path:
    """Return the path of a local Iceberg location (`file:///a/b` or `/a/b`). Raises InvalidValueError for another store."""
    if location.startswith(_SCHEME):
        return Path(location[len(_SCHEME) :])
    if "://" in location:
        raise InvalidValueError(f"location {location!r} is not a local file")
    return Path(location)


def place_of(location: str) -> Place:
    """Return the file that an Iceberg location names. Raises InvalidValueError for a store that is neither."""
    return ObjectPath.of(location) if location.startswith(OBJECT_STORE) else local_path(location)


def location_of(place: Place) -> str:
    """Return the Iceberg location of a place."""
    return f"{_SCHEME}{place}" if isinstance(place, Path) else str(place)


def sync_folder(folder: Place) -> None:
    """Put the names in a folder on the disk."""
    if isinstance(folder, ObjectPath):
        return
    doors().enter("folder", folder)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Put the bytes of a file on the disk; its name is the folder's business."""
    doors().enter("fsync", path)
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def make_folder(folder: Place) -> None:
    """Make a folder and its parents, names on the disk; an object store has none."""
    if isinstance(folder, ObjectPath):
        return
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


class NewFile:
    """A file being written under a name that did not exist: what Parquet is written to. Not on the disk when closed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("xb")
        self.failure: OSError | None = None
        """The first error of the disk: a library that writes may hide it behind one of its own."""

    def write(self, data: bytes) -> int:
        """Write bytes."""
        try:
            if doors().enter("write", self._path):
                self._file.write(memoryview(data)[: len(data) // 2])
                raise error_of(SHORT, self._path)
            return self._file.write(data)
        except OSError as error:
            self.failure = self.failure or error
            raise

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._file.tell()

    def flush(self) -> None:
        """Hand the bytes to the system."""
        self._file.flush()

    def sync(self) -> None:
        """Put the bytes on the disk."""
        self._file.flush()
        doors().enter("fsync", self._path)
        os.fsync(self._file.fileno())

    @property
    def closed(self) -> bool:
        """Whether the file is closed."""
        return self._file.closed

    def close(self) -> None:
        """Close the file."""
        self._file.close()


@contextmanager
def new_file(place: Place) -> Iterator[Any]:
    """Open a new file for writing; its bytes are on the disk at the end, its name once the folder is.

    An error of the disk comes out as itself, also where the library that writes hid it behind one of its own.
    """
    if isinstance(place, ObjectPath):
        with place.create() as stream:
            yield stream
        return
    with closing(NewFile(place)) as file:
        try:
            yield file
            file.sync()
        except Exception as error:
            if file.failure is None or error is file.failure:
                raise
            raise file.failure from error


def link(place: Place, name: Place) -> None:
    """Give a file a second name, on the disk once the folder is; in an object store a copy. Raises FileNotFoundError."""
    if isinstance(place, ObjectPath):
        assert isinstance(name, ObjectPath)
        place.copy_to(name)
    else:
        assert isinstance(name, Path)
        doors().enter("link", name)
        os.link(place, name)


def listed(folder: Place) -> list[tuple[Place, int, int]]:
    """Return (file, bytes, nanoseconds since 1970 at which it was written) of every file below a folder, by name.

    One request for a thousand objects; a local file that goes meanwhile is left out.
    """
    if isinstance(folder, ObjectPath):
        return [*sorted(folder.listed())]
    found: list[tuple[Place, int, int]] = []
    for path in sorted(folder.rglob("*")):
        try:
            told = path.stat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(told.st_mode):
            found.append((path, told.st_size, told.st_mtime_ns))
    return found


def is_below(place: Place, folder: Place) -> bool:
    """Return whether a file is in a folder or below it."""
    if isinstance(place, ObjectPath) or isinstance(folder, ObjectPath):
        return str(place).startswith(f"{folder}/")
    return place.is_relative_to(folder)


def size_of(place: Place) -> int:
    """Return the bytes of a file. Raises FileNotFoundError."""
    return place.size() if isinstance(place, ObjectPath) else place.stat().st_size


def exists(place: Place) -> bool:
    """Return whether a file is there."""
    if isinstance(place, Path):
        return place.exists()
    try:
        return place.size() >= 0
    except FileNotFoundError:
        return False


def delete(place: Place) -> None:
    """Delete a file; one already gone is no error."""
    if isinstance(place, ObjectPath):
        place.delete()
        return
    doors().enter("delete", place)
    place.unlink(missing_ok=True)


def delete_folder(folder: Place) -> None:
    """Delete a folder and what is in it; one that is not there is no error."""
    if isinstance(folder, ObjectPath):
        for place in folder.below():
            place.delete()
    elif folder.exists():
        shutil.rmtree(folder)


def readable(place: Place) -> dict[str, Any]:
    """Return how pyarrow is told a file to read: its path, and in an object store the client."""
    if isinstance(place, ObjectPath):
        return {"source": place.key, "filesystem": place.filesystem}
    return {"source": str(place)}


class DurableStream:
    """An output stream that fsyncs file and folder when it is closed without an error."""

    def __init__(self, path: Path) -> None:
        make_folder(path.parent)
        self._path = path
        self._file = NewFile(path)

    def write(self, b: bytes) -> int:
        """Write bytes."""
        return self._file.write(b)

    def tell(self) -> int:
        """Return the number of bytes written."""
        return self._file.tell()

    @property
    def closed(self) -> bool:
        """Whether the stream is closed."""
        return self._file.closed

    def close(self) -> None:
        """Put file and name on the disk; a second call does nothing."""
        if self._file.closed:
            return
        try:
            self._file.sync()
        finally:
            self._file.close()
        sync_folder(self._path.parent)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is None:
            self.close()
        else:
            self._file.close()


class DurableFile(PyArrowFile):
    """A local file of the lake whose output stream is durable."""

    def create(self, overwrite: bool = False) -> OutputStream:
        """Open the file for writing; names are never reused, so an existing one is an error unless `overwrite`."""
        path = Path(self._path)
        if overwrite:
            path.unlink(missing_ok=True)
        return DurableStream(path)


class DurableFileIO(PyArrowFileIO):
    """PyIceberg's Arrow FileIO with durable output on local disks, and the lake's own client of its object store."""

    def _initialize_fs(self, scheme: str, netloc: str | None = None) -> pyarrow.fs.FileSystem:
        if scheme == "s3" and netloc:
            return filesystem_of(netloc)
        return super()._initialize_fs(scheme, netloc)

    def new_output(self, location: str) -> PyArrowFile:
        """Return a file to write to."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return super().new_output(location)
        return DurableFile(fs=self.fs_by_scheme(scheme, netloc), location=location, path=path)
