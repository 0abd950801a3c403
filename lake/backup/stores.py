"""Stores: places where files are kept by key; a local folder, or an S3-compatible bucket.

What is put is there whole or not at all, and on the disk when `put` returns. Objects are named by their content, so a
put that finds the key with the same size has nothing to do.
"""

from __future__ import annotations

import shutil
import stat
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import BinaryIO, Protocol

import pyarrow as pa
import pyarrow.fs as arrow_fs

from lake.durable import NewFile, make_folder, sync_folder, told_of
from lake.errors import NotFoundError, SettingsError, StorageError
from lake.objects import attach, bucket_of, client_of, filesystem_of
from lake.settings import OBJECT_STORE, Settings, without_password

CHUNK_BYTES = 4 << 20
_INCOMING = ".incoming"


class Store(Protocol):
    """Files by key; keys are relative paths with forward slashes."""

    address: str

    def put(self, key: str, chunks: Iterable[bytes], size: int) -> bool:
        """Keep `size` bytes under `key` unless it is there with that size; return whether something was written.

        An error in `chunks` passes on and leaves nothing. Raises StorageError when the place is full or not to be reached.
        """
        ...

    def read(self, key: str) -> Iterator[bytes]:
        """Yield the bytes under `key`. Raises NotFoundError."""
        ...

    def size(self, key: str) -> int | None:
        """Return the size of what is under `key`; None: nothing is."""
        ...

    def list(self, prefix: str) -> Iterator[str]:
        """Yield every key that lies in the folder `prefix`, in order."""
        ...

    def delete(self, key: str) -> None:
        """Remove what is under `key`; nothing there is no error."""
        ...

    def tidy(self) -> None:
        """Remove what killed writers left aside. Only for who is the one writer."""
        ...


def get(store: Store, key: str) -> bytes:
    """Return the bytes under `key`. Raises NotFoundError."""
    return b"".join(store.read(key))


def put_bytes(store: Store, key: str, data: bytes) -> bool:
    """Keep a small document under `key`."""
    return store.put(key, (data,), len(data))


def open_store(address: str | Path) -> Store:
    """Return the store at a folder, or at `s3://BUCKET[/PREFIX][?endpoint_override=HOST:PORT&scheme=http&region=R]`.

    Keys of S3 come from the environment, as the AWS tools read them. Raises SettingsError for an address that is none.
    """
    text = str(address)
    if text.startswith("s3://"):
        return S3Store(text)
    if "://" in text and not text.startswith("file://"):
        raise SettingsError(f"{without_password(text)!r} is no place for files; expected a folder or s3://BUCKET/PREFIX")
    return LocalStore(Path(text.removeprefix("file://")))


class LocalStore:
    """A folder: files are written aside, fsynced, renamed, and their folder is fsynced."""

    def __init__(self, root: Path) -> None:
        self.root = root.expanduser().absolute()
        self.address = str(self.root)

    def put(self, key: str, chunks: Iterable[bytes], size: int) -> bool:
        """See Store.put."""
        target = self.root / key
        if self.size(key) == size:
            return False
        incoming = self.root / _INCOMING / uuid.uuid4().hex
        with told_of(f"writing {key} to {self.address}"):
            make_folder(incoming.parent)
            make_folder(target.parent)
        try:
            with told_of(f"writing {key} to {self.address}", FileNotFoundError):
                with closing(NewFile(incoming)) as file:
                    for chunk in chunks:
                        file.write(chunk)
                    file.sync()
                if incoming.stat().st_size != size:
                    raise StorageError(f"{key}: {incoming.stat().st_size} bytes came, {size} were announced")
                incoming.replace(target)
                sync_folder(target.parent)
        finally:
            incoming.unlink(missing_ok=True)
        return True

    def read(self, key: str) -> Iterator[bytes]:
        """See Store.read."""
        try:
            with (self.root / key).open("rb") as file:
                yield from _chunks(file)
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.address} has no {key}") from error

    def size(self, key: str) -> int | None:
        """See Store.size."""
        try:
            found = (self.root / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def list(self, prefix: str) -> Iterator[str]:
        """See Store.list."""
        found = (path for path in (self.root / prefix).rglob("*") if path.is_file())
        keys = (path.relative_to(self.root).as_posix() for path in found)
        yield from sorted(key for key in keys if not key.startswith(_INCOMING))

    def delete(self, key: str) -> None:
        """See Store.delete."""
        (self.root / key).unlink(missing_ok=True)

    def tidy(self) -> None:
        """See Store.tidy."""
        if (self.root / _INCOMING).is_dir():
            shutil.rmtree(self.root / _INCOMING)


def warehouse_store(settings: Settings) -> Store:
    """Return where a lake's own tables are, as a store: a folder, or a bucket reached with the lake's endpoint and keys."""
    if isinstance(settings.warehouse, Path):
        return LocalStore(settings.warehouse)
    attach(settings)
    return S3Store(settings.warehouse, filesystem_of(bucket_of(settings.warehouse)))


class S3Store:
    """A bucket, or a part of one. An object appears when its upload is complete; what a killed upload left is no object.

    `put` looks before it writes; two writers of one key write the same bytes, for keys name contents.
    """

    def __init__(self, address: str, client: arrow_fs.FileSystem | None = None) -> None:
        self.address = without_password(address.partition("?")[0])
        try:
            if client is None:
                client, self._root = client_of(address)
            else:
                self._root = address.removeprefix(OBJECT_STORE)
            self._files = client
            if not self._root.strip("/"):
                raise SettingsError(f"{self.address!r} names no bucket; expected s3://BUCKET/PREFIX")
        except (pa.ArrowInvalid, OSError) as error:
            raise SettingsError(f"{self.address!r} is no bucket: {error}") from error

    def put(self, key: str, chunks: Iterable[bytes], size: int) -> bool:
        """See Store.put."""
        if self.size(key) == size:
            return False
        path = self._path(key)
        with told_of(f"writing {key} to {self.address}", FileNotFoundError):
            stream = self._files.open_output_stream(path)
            try:
                with stream:
                    for chunk in chunks:
                        stream.write(chunk)
            except BaseException:
                self.delete(key)  # closing completed an object that is not whole
                raise
        if self.size(key) != size:
            self.delete(key)
            raise StorageError(f"{key} in {self.address} has another size than the {size} bytes that were sent")
        return True

    def read(self, key: str) -> Iterator[bytes]:
        """See Store.read."""
        try:
            with (
                told_of(f"reading {key} of {self.address}", FileNotFoundError),
                self._files.open_input_stream(self._path(key)) as file,
            ):
                yield from _chunks(file)
        except FileNotFoundError as error:
            raise NotFoundError(f"{self.address} has no {key}") from error

    def size(self, key: str) -> int | None:
        """See Store.size."""
        with told_of(f"looking for {key} in {self.address}", FileNotFoundError):
            found = self._files.get_file_info(self._path(key))
        return int(found.size) if found.type == arrow_fs.FileType.File else None

    def list(self, prefix: str) -> Iterator[str]:
        """See Store.list."""
        selector = arrow_fs.FileSelector(self._path(prefix), allow_not_found=True, recursive=True)
        with told_of(f"listing {self.address}", FileNotFoundError):
            found = self._files.get_file_info(selector)
        start = len(self._root.rstrip("/")) + 1
        yield from sorted(one.path[start:] for one in found if one.type == arrow_fs.FileType.File)

    def delete(self, key: str) -> None:
        """See Store.delete."""
        with told_of(f"deleting {key} of {self.address}", FileNotFoundError):
            if self._files.get_file_info(self._path(key)).type == arrow_fs.FileType.File:
                self._files.delete_file(self._path(key))

    def tidy(self) -> None:
        """See Store.tidy: an upload that was not completed is no object; the bucket's own rule removes its parts."""
        return None

    def _path(self, key: str) -> str:
        return f"{self._root.rstrip('/')}/{key}".rstrip("/")


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


def _chunks(file: BinaryIO | _Readable) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk
