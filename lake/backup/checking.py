"""Checking a backup: every object rehashed, every document complete."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256

from lake.backup.documents import Backup, listing_of, object_key
from lake.backup.stores import Store
from lake.errors import CorruptedError, NotFoundError


def check_backup(store: Store, backup: Backup, say: Callable[[str], None] = lambda text: None) -> list[str]:
    """Return what is wrong with a backup: every object rehashed, every document complete; nothing is its absence."""
    faults: list[str] = []
    proved: set[str] = set()
    _check(store, backup.state, "state rows", proved, faults)
    for tail in backup.tails:
        for digest in tail.objects:
            _check(store, digest, f"log {tail.topic}/{tail.partition}", proved, faults)
    for name, table in backup.tables.items():
        say(f"rehashing {name}")
        if not _check(store, table.listing, f"listing of {name}", proved, faults):
            continue
        listing = listing_of(store, table)
        if len(listing) != table.files or sum(size for _, size in listing.values()) != table.bytes:
            faults.append(f"{name}: its listing has {len(listing)} files, the backup says {table.files}")
        for path, (digest, _) in sorted(listing.items()):
            _check(store, digest, f"{name}/{path}", proved, faults)
    return faults


def hashed(chunks: Iterator[bytes], digest: str, what: str) -> Iterator[bytes]:
    """Yield chunks, and raise CorruptedError at the end when they do not have the hash."""
    found = sha256()
    for chunk in chunks:
        found.update(chunk)
        yield chunk
    if found.hexdigest() != digest:
        raise CorruptedError(f"{what} does not have the SHA-256 {digest}")


def _check(store: Store, digest: str, what: str, proved: set[str], faults: list[str]) -> bool:
    if digest in proved:
        return True
    key = object_key(digest)
    try:
        for _ in hashed(store.read(key), digest, key):
            continue
    except NotFoundError:
        faults.append(f"{what}: {key} is missing")
        return False
    except CorruptedError:
        faults.append(f"{what}: {key} is damaged")
        return False
    proved.add(digest)
    return True
