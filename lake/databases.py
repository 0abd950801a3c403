"""Databases: one engine for a URL, and how a transaction of the state begins, on SQLite and on PostgreSQL.

PostgreSQL is spoken to by pg8000 (BSD; psycopg is LGPL). `postgresql://` alone means it. TLS as libpq's URLs say it:
`?sslmode=require` (encrypted), `verify-full` (certificate and host checked, with `&sslrootcert=file` by that authority).
"""

from __future__ import annotations

import sqlite3
import ssl
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from lake.errors import SettingsError
from lake.locks import kill_stopped_writer
from lake.settings import without_password

BUSY_TIMEOUT_S = 30
LOOK_S = 1
"""How long a transaction of SQLite waits for a writer before it looks whether that one is stopped."""
IDLE_TIMEOUT_S = 20
"""PostgreSQL ends a transaction whose client was stopped or cut off, before others give up waiting for its locks."""
_STATE_LOCK = 0x7469636B686F7573
"""Advisory lock of transactions that write state: one at a time, as in SQLite, so that what is read first stays true."""
_TLS_MODES = ("disable", "require", "verify-ca", "verify-full")
_PLAIN = ("postgresql://", "postgres://")


def is_sqlite(url: str) -> bool:
    """Return whether a URL names a SQLite file."""
    return url.startswith("sqlite")


def with_driver(url: str) -> str:
    """Return a PostgreSQL URL that names its driver; any other as it is."""
    for plain in _PLAIN:
        if url.startswith(plain):
            return f"postgresql+pg8000://{url[len(plain) :]}"
    return url


def open_engine(url: str) -> sa.Engine:
    """Return an engine that has connected to nothing yet. Raises SettingsError for a URL it cannot be made of."""
    try:
        if is_sqlite(url):
            return sa.create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S} if "timeout=" not in url else {})
        parsed = sa.make_url(with_driver(url))
        mode, authority = str(parsed.query.get("sslmode", "")), parsed.query.get("sslrootcert")
        arguments: dict[str, object] = {}
        if parsed.drivername == "postgresql+pg8000":
            parsed = parsed.difference_update_query(["sslmode", "sslrootcert"])
            arguments = {"ssl_context": _tls(mode, None if authority is None else str(authority))}
        engine = sa.create_engine(parsed, connect_args=arguments, pool_pre_ping=True)
    except (ArgumentError, NoSuchModuleError, ImportError, OSError, ValueError) as error:
        raise SettingsError(f"database {without_password(url)}: {error}") from error
    if engine.dialect.name == "postgresql":
        sa.event.listen(engine, "connect", _set_up_postgresql)
    return engine


def tables_in(url: str) -> list[str]:
    """Return the names of the tables in a database."""
    engine = open_engine(url)
    try:
        return sorted(sa.inspect(engine).get_table_names())
    finally:
        engine.dispose()


def begin_one_writer_at_a_time(engine: sa.Engine) -> None:
    """Let writing transactions of an engine follow each other; reading ones (`is_reading`) see one moment and wait for none."""
    if engine.dialect.name == "sqlite":
        sa.event.listen(engine, "connect", _set_up_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    elif engine.dialect.name == "postgresql":
        sa.event.listen(engine, "begin", _begin_postgresql)


def _tls(mode: str, authority: str | None) -> ssl.SSLContext | None:
    if mode not in ("", *_TLS_MODES):
        raise ValueError(f"sslmode {mode!r}; expected one of {', '.join(_TLS_MODES)}")
    if mode in ("", "disable"):
        return None
    context = ssl.create_default_context(cafile=authority)
    if mode in ("require", "verify-ca"):
        context.check_hostname = False
    if mode == "require":
        context.verify_mode = ssl.CERT_NONE
    return context


def _set_up_postgresql(connection: Any, _record: object) -> None:
    cursor = connection.cursor()
    for setting in (
        f"lock_timeout = '{BUSY_TIMEOUT_S}s'",
        f"idle_in_transaction_session_timeout = '{IDLE_TIMEOUT_S}s'",
        "application_name = 'tickhouse'",
    ):
        cursor.execute(f"SET {setting}")
    cursor.close()
    connection.commit()


def _begin_postgresql(connection: sa.Connection) -> None:
    if connection.get_execution_options().get("is_reading", False):
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
    else:
        # Every statement after it reads what the writer before has committed (READ COMMITTED).
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL READ COMMITTED")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_STATE_LOCK})")


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_TIMEOUT_S * 1000}"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    """Begin as the one writer, waiting for the one before; a writer that was stopped in its transaction is killed."""
    if connection.get_execution_options().get("is_reading", False):
        connection.exec_driver_sql("BEGIN")
        return
    database: Any = connection.connection.dbapi_connection
    database.execute(f"PRAGMA busy_timeout={LOOK_S * 1000}")
    try:
        for _ in range(BUSY_TIMEOUT_S // LOOK_S - 1):
            try:
                # IMMEDIATE: two deferred transactions that both read, then write, fail without waiting.
                database.execute("BEGIN IMMEDIATE")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY:
                    break
            kill_stopped_writer(Path(str(connection.engine.url.database)))
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        database.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_S * 1000}")
