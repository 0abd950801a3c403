"""A real PostgreSQL for the tests: a server of its own, with its own data and port, for one session.

Its programs are found in PATH or where Debian keeps them; as root it runs as another user, for it refuses to be root.
It ends with the process that started it, however that ended: a watcher waits for the end of a pipe.
"""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest
import sqlalchemy as sa

from tests.kafka.broker import free_ports
from tests.optional_parts import go_without

PASSWORD = "s3cret/word"
_SHOWN = "s3cret%2Fword"
_WATCH = 'cat >/dev/null; "$1" -D "$2/data" -w -m immediate stop >/dev/null 2>&1; rm -rf "$2"'
"""What the watcher runs: $1 is pg_ctl, $2 the server's folder."""


def programs() -> Path | None:
    """Return the folder of initdb and pg_ctl, the newest there is; None without."""
    found = shutil.which("pg_ctl")
    if found is not None:
        return Path(found).resolve().parent
    versions = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    return versions[-1].parent if versions else None


class Server:
    """A running server; databases are made by name."""

    def __init__(self, programs: Path) -> None:
        self._programs = programs
        (self.port,) = free_ports(1)
        self._folder = Path(tempfile.mkdtemp(prefix="tickhouse-postgres-"))
        secret = self._folder / "secret"
        secret.write_text(PASSWORD)
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            names = {one.pw_name: one for one in pwd.getpwall()}
            user = names.get("postgres") or names["nobody"]
            self._as = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            for path in (self._folder, secret):
                os.chown(path, user.pw_uid, user.pw_gid)
        self._data = self._folder / "data"
        words = ["-D", str(self._data), "-U", "tickhouse", "-A", "scram-sha-256", f"--pwfile={secret}", "-E", "UTF8", "--no-sync"]
        watch = ["sh", "-c", _WATCH, "watch", str(self._programs / "pg_ctl"), str(self._folder)]
        self._watcher = subprocess.Popen(watch, stdin=subprocess.PIPE, cwd="/", start_new_session=True, **self._as)
        self._run("initdb", *words)
        self.start()

    def _run(self, program: str, *words: str) -> None:
        command = [str(self._programs / program), *words]
        with (self._folder / "said").open("ab+") as said:  # a pipe would stay open as long as the server
            done = subprocess.run(command, stdout=said, stderr=said, cwd=self._folder, check=False, **self._as)
            said.seek(0)
            assert done.returncode == 0, said.read().decode(errors="replace")

    @property
    def folder(self) -> Path:
        """Where all of it is."""
        return self._folder

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = (
            f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off -c shared_buffers=16MB"
        )
        self._run("pg_ctl", "-D", str(self._data), "-w", "-t", "60", "-l", str(self._folder / "log"), "-o", options, "start")

    def stop(self) -> None:
        """Stop it at once, cutting every connection; its data stay."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "immediate", "stop")

    def url(self, database: str) -> str:
        """Return the address of a database, as an operator writes it."""
        return f"postgresql://tickhouse:{_SHOWN}@127.0.0.1:{self.port}/{database}"

    def say(self, *statements: str) -> None:
        """Run statements outside any transaction, as the operator of the server."""
        engine = sa.create_engine(self.url("postgres").replace("://", "+pg8000://", 1), isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for statement in statements:
                connection.exec_driver_sql(statement)
        engine.dispose()

    def database(self, name: str, template: str = "template0") -> str:
        """Make a database anew, as a copy of another if asked; return its address."""
        self.say(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {template}")
        return self.url(name)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._watcher.communicate()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """A PostgreSQL of our own, that a test may stop and start."""
    found = programs()
    if found is None:
        go_without("PostgreSQL was not found on this machine")
    with Server(found) as server:
        yield server
