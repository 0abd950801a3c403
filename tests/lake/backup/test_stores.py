"""Stores: one set of laws over a folder and over a bucket."""

from __future__ import annotations

import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from pyarrow.fs import FileSystem

from lake.backup.backing_up import back_up
from lake.backup.checking import check_backup
from lake.backup.replicas import SYNCED, sync
from lake.backup.restoring import restore
from lake.backup.stores import LocalStore, Store, get, open_store, put_bytes
from lake.catalog import Lake
from lake.errors import InvalidValueError, NotFoundError, SettingsError
from lake.instants import system_clock
from lake.publish import hold, publish, stage, stage_release
from lake.scan import replaced_files
from lake.settings import load_settings, without_password
from tests.lake.backup.making import TRADES, content, grow, settings_at
from tests.lake.made import trade_batch
from tests.object_store import Store as Bucket
from tests.postgres import Server


@pytest.fixture(scope="module")
def s3_server() -> Iterator[str]:
    """moto's S3 server on a free port of loopback, in a process of its own; yields its address."""
    command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True) as process:
        assert process.stderr is not None
        address = next(found.group(1) for line in process.stderr if (found := re.search(r"http://(127\.0\.0\.1:\d+)", line)))
        # It tells of every request: a full pipe would stop it.
        reading = threading.Thread(target=process.stderr.read)
        reading.start()
        try:
            yield address
        finally:
            process.kill()
            reading.join()


def bucket(address: str) -> str:
    return f"s3://kept/some/place?scheme=http&endpoint_override={address}&region=us-east-1&allow_bucket_creation=true"


def in_bucket(address: str, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Return a store in a bucket that is there, with keys as a user sets them."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    files, root = FileSystem.from_uri(bucket(address))
    files.create_dir(root.partition("/")[0])
    return open_store(bucket(address))


def check_laws(store: Store) -> None:
    assert put_bytes(store, "a/b/one", b"1" * 10)
    assert not put_bytes(store, "a/b/one", b"1" * 10)
    assert put_bytes(store, "a/two", b"")
    assert (get(store, "a/b/one"), store.size("a/b/one"), store.size("a/two")) == (b"1" * 10, 10, 0)
    assert store.size("a/b") is None and store.size("none") is None
    assert list(store.list("a")) == ["a/b/one", "a/two"] and list(store.list("none")) == []
    with pytest.raises(NotFoundError, match="none"):
        get(store, "none")

    def broken() -> Iterator[bytes]:
        yield b"half"
        raise ValueError("the source broke")

    with pytest.raises(ValueError, match="the source broke"):
        store.put("a/three", broken(), 8)
    assert store.size("a/three") is None
    assert put_bytes(store, "a/b/one", b"longer than before"), "what has another size is not what was put"
    store.delete("a/b/one")
    store.delete("a/b/one")
    store.tidy()
    assert list(store.list("a")) == ["a/two"]


def test_a_folder_keeps_the_laws(tmp_path: Path) -> None:
    check_laws(open_store(tmp_path / "store"))
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["a"]


@pytest.mark.needs("moto")
def test_a_bucket_keeps_the_laws(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    store = in_bucket(s3_server, monkeypatch)
    check_laws(store)


@pytest.mark.needs("moto")
def test_a_lake_comes_back_from_a_bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    store = in_bucket(s3_server, monkeypatch)
    with Lake.create(settings_at(tmp_path / "home"), system_clock) as lake:
        grow(lake, 0, 9)
        made = back_up(lake, store, None)
        was = content(lake)
    assert check_backup(store, made) == []
    restore(store, settings_at(tmp_path / "there"), system_clock)
    with Lake.open(settings_at(tmp_path / "there"), system_clock) as lake:
        assert content(lake) == was


@pytest.mark.needs("moto")
def test_a_lake_is_restored_into_a_bucket_and_a_database_and_kept_from_there(
    postgres: Server, object_store: Bucket, tmp_path: Path
) -> None:
    store = open_store(tmp_path / "store")
    with Lake.create(settings_at(tmp_path / "home"), system_clock) as lake:
        grow(lake, 0, 9)
        back_up(lake, store, None)
        was, held = content(lake), hold(lake, stage(lake, trade_batch(10, 14)), {})
        back_up(lake, store, None)
    places = {"catalog_url": postgres.database("restored"), **object_store.settings("restored")}
    there = load_settings(home=tmp_path / "there", **places)
    restore(store, there, system_clock)
    with Lake.open(there, system_clock) as lake:
        assert content(lake) == was
        assert {file.split("/data/")[0] for file in data_files(lake)} == {"s3://restored/lake/normalized/trades"}
        publish(lake, stage_release(lake, held))
        assert check_backup(store, back_up(lake, store, None)) == []
        sync(lake, tmp_path / "replica", None)
        now = content(lake)
    for used in ({"warehouse": tmp_path / "folder"}, {"catalog_url": "", "state_url": ""}):
        with pytest.raises(InvalidValueError, match="is not empty"):
            restore(store, load_settings(home=tmp_path / "other", **places | used), system_clock)
    with pytest.raises(InvalidValueError, match="REST catalog"):
        restore(store, load_settings(home=tmp_path / "other", catalog_url="rest+http://127.0.0.1:1"), system_clock)
    restore(store, settings_at(tmp_path / "back"), system_clock)
    for home in (tmp_path / "back", tmp_path / "replica"):
        with Lake.open(settings_at(home), system_clock) as lake:
            assert content(lake) == now
            synced = lake.state.job(SYNCED)
            assert synced is None or synced["from_state"] == without_password(there.state_url), "a password stays where it is"


def data_files(lake: Lake) -> list[str]:
    """Return where main's trades are."""
    return [file.file_path for file in replaced_files(lake, TRADES)]


@pytest.mark.parametrize("address", ["ftp://host/x", "s3://"])
def test_what_is_no_place_is_refused(address: str) -> None:
    with pytest.raises(SettingsError):
        open_store(address)


def test_a_home_is_meant_as_the_shell_means_it() -> None:
    found = open_store("~/somewhere")
    assert isinstance(found, LocalStore) and found.root == Path.home() / "somewhere"
