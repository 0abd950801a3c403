"""Durable local files: what is written is on the disk, its name too, before anything refers to it.

`DurableFileIO` is PyIceberg's FileIO for the lake (property `py-io-impl`): manifests, manifest lists and metadata of a
local warehouse are fsynced with their folders (3 ms a commit); other stores are durable when a write returns.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Self

from pyiceberg.io import OutputStream
from pyiceberg.io.pyarrow import PyArrowFile, PyArrowFileIO

from lake.errors import InvalidValueError
from lake.faults import SHORT, doors, error_of

_SCHEME = "file://"
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors that say that there is no room."""


def local_path(location: str) -> Path:
    """Return the path of a local Iceberg location (`file:///a/b` or `/a/b`). Raises InvalidValueError for another store."""
    if location.startswith(_SCHEME):
        return Path(location[len(_SCHEME) :])
    if "://" in location:
        raise InvalidValueError(f"location {location!r} is not a local file")
    return Path(location)


def location_of(path: Path) -> str:
    """Return the Iceberg location of a local path."""
    return f"{_SCHEME}{path}"


def sync_folder(folder: Path) -> None:
    """Put the names in a folder on the disk."""
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


def make_folder(folder: Path) -> None:
    """Make a folder and its parents, names on the disk."""
    missing = [parent for parent in (folder, *folder.parents) if not parent.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for made in missing:
        sync_folder(made.parent)


def link(path: Path, name: Path) -> None:
    """Give a file a second name; on the disk once the folder is."""
    doors().enter("link", name)
    os.link(path, name)


def delete(path: Path) -> None:
    """Delete a file; one already gone is no error."""
    doors().enter("delete", path)
    path.unlink(missing_ok=True)


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
    """PyIceberg's Arrow FileIO with durable output on local disks."""

    def new_output(self, location: str) -> PyArrowFile:
        """Return a file to write to."""
        scheme, netloc, path = self.parse_location(location, self.properties)
        if scheme != "file":
            return super().new_output(location)
        return DurableFile(fs=self.fs_by_scheme(scheme, netloc), location=location, path=path)
