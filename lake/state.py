"""Mutable state in one place: leases, descriptions of holds, jobs, the audit log and the publication ledger.

The tables are in `lake.state_tables`. Every method is one transaction. History is not here but in tables (`ops.*`, `quality.*`).
An error of the database becomes CommitUnknownError: look before doing anything again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from lake.databases import begin_one_writer_at_a_time, open_engine
from lake.errors import CommitConflictError, CommitUnknownError, NotFoundError
from lake.instants import Clock
from lake.leases import Holder, Leases
from lake.state_tables import ANSWERED, AUDIT_LOG, DOCUMENTS, LEASES, METADATA, PUBLICATIONS, RANGES, SAME_SNAPSHOT

# Put together once: that takes SQLAlchemy as long as asking does.
_LEASE = sa.select(LEASES.c.token, LEASES.c.holder, LEASES.c.taken_at_ns).where(LEASES.c.name == sa.bindparam("lease"))
_NAMED_LEASES = sa.select(LEASES.c.name, LEASES.c.token).where(LEASES.c.name.in_(sa.bindparam("leases", expanding=True)))
_BOOKED = sa.select(PUBLICATIONS.c.snapshot_id).where(
    PUBLICATIONS.c.table_name == sa.bindparam("of_table"), PUBLICATIONS.c.snapshot_id.in_(sa.bindparam("asked", expanding=True))
)


class State:
    """Mutable state over a SQLAlchemy URL: SQLite files (WAL, written through to disk at each commit) or PostgreSQL.

    On both one transaction writes at a time, and a reading one sees one moment.
    """

    def __init__(
        self,
        url: str,
        clock: Clock,
        lease_timeout_s: float = 30.0,
        sleep: Callable[[float], object] = time.sleep,
        lease_expiry_s: float = 20.0,
    ) -> None:
        self._clock = clock
        self.leases = Leases(self, lease_timeout_s, lease_expiry_s, sleep)
        self._engine = open_engine(url)
        begin_one_writer_at_a_time(self._engine)

    def create(self) -> None:
        """Make the database tables that do not exist yet."""
        with self.writing() as connection:
            METADATA.create_all(connection)

    def close(self) -> None:
        """Close every connection."""
        self.leases.close()
        self._engine.dispose()

    @contextmanager
    def writing(self) -> Iterator[sa.Connection]:
        """One transaction that may write; committed at the end, rolled back on an exception. Raises CommitUnknownError."""
        with self._translated(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """One transaction that only reads. Raises CommitUnknownError."""
        with self._translated(), self._engine.connect().execution_options(is_reading=True) as connection:
            yield connection

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (SQLAlchemyError, OSError) as error:
            # A connection that broke may have left its socket in the pool.
            if isinstance(error, OSError):
                self._engine.dispose()
            raise CommitUnknownError(f"state database: {error}") from error

    # --- leases; lake/leases.py says what they mean

    @contextmanager
    def lease(self, name: str, timeout_s: float | None = None) -> Iterator[str]:
        """Hold the lease `name`, told as a token; see `lake.leases.Leases.lease`. Raises CommitConflictError."""
        with self.leases.lease(name, timeout_s) as token:
            yield token

    def still_holds(self, name: str, token: str) -> bool:
        """Return whether the lease `name` is still the one taken with `token`: a process that was stopped may have lost it."""
        return not self.lost_leases({name: token})

    def lease_holder(self, name: str) -> Holder | None:
        """Return who holds the lease `name`, or None."""
        found = self.find_lease(name)
        return None if found is None else Holder(**json.loads(found[1]))

    def find_lease(self, name: str) -> tuple[str, str, int] | None:
        """Return (token, holder, beat) of a lease, or None. Takes no lock."""
        with self.reading() as connection:
            found = connection.execute(_LEASE, {"lease": name}).first()
        return None if found is None else (found.token, found.holder, found.taken_at_ns)

    def put_lease(self, name: str, token: str, holder: str, found: tuple[str, str, int] | None) -> bool:
        """Put a lease in place of `found`; False when that is not there any more, or beats again."""
        with self.writing() as connection:
            now = connection.execute(_LEASE.with_for_update(), {"lease": name}).first()
            if (None if now is None else tuple(now)) != found:
                return False
            if found is not None:
                connection.execute(sa.delete(LEASES).where(LEASES.c.name == name))
            mine = {"name": name, "token": token, "holder": holder, "taken_at_ns": self._clock()}
            connection.execute(sa.insert(LEASES).values(mine))
        return True

    def renew_leases(self, tokens: Sequence[str]) -> None:
        """Let leases beat once more: `taken_at_ns` is the time of the last beat."""
        beaten = sa.update(LEASES).where(LEASES.c.token.in_(tokens))
        with self.writing() as connection:
            connection.execute(beaten.values(taken_at_ns=self._clock()))

    def drop_lease(self, name: str, token: str) -> None:
        """Give a lease back, if it is still the one taken with `token`."""
        with self.writing() as connection:
            connection.execute(sa.delete(LEASES).where(LEASES.c.name == name, LEASES.c.token == token))

    def lost_leases(self, held: Mapping[str, str]) -> list[str]:
        """Return those of name -> token that are not in force any more."""
        with self.reading() as connection:
            return _lost(connection, _NAMED_LEASES, held)

    # --- documents: jobs and descriptions of holds

    def job(self, key: str) -> dict[str, Any] | None:
        """Return the document saved under `key`, or None."""
        return self.document("job", key)

    def save_job(self, key: str, document: Mapping[str, object]) -> None:
        """Save a JSON document under `key`, in place of the one before."""
        self.save_document("job", key, document)

    def jobs(self, prefix: str = "") -> dict[str, dict[str, Any]]:
        """Return every job document whose key starts with `prefix`, by key."""
        return self.documents("job", prefix)

    def save_hold(self, hold_id: str, document: Mapping[str, object]) -> None:
        """Save the description of a hold. Main's summary decides whether it is held; this only describes it.

        Raises CommitConflictError when a lease of this process was taken: who did may have described and listed the same hold,
        and files of ours may be swept. Leases are read and locked in the transaction that writes, so nothing fits between.
        """
        held = self.leases.held()
        with self.writing() as connection:
            lost = _lost(connection, _NAMED_LEASES.with_for_update(), held)
            if lost:
                raise CommitConflictError(f"lease {', '.join(lost)} was taken by another process; hold {hold_id} stays as it is")
            _put_document(connection, "hold", hold_id, json.dumps(document, default=str))

    def hold(self, hold_id: str) -> dict[str, Any]:
        """Return the description of a hold, also of one released or rejected since. Raises NotFoundError."""
        found = self.document("hold", hold_id)
        if found is None:
            raise NotFoundError(
                f"no hold {hold_id!r} was ever described in the state database; `tickhouse holds` lists those that stand"
            )
        return found

    def document(self, kind: str, key: str) -> dict[str, Any] | None:
        """Return the JSON document of `kind` under `key`, or None."""
        with self.reading() as connection:
            text = connection.scalar(sa.select(DOCUMENTS.c.document).where(DOCUMENTS.c.kind == kind, DOCUMENTS.c.key == key))
        return None if text is None else dict(json.loads(text))

    def documents(self, kind: str, prefix: str = "") -> dict[str, dict[str, Any]]:
        """Return every document of `kind` whose key starts with `prefix`, by key."""
        query = sa.select(DOCUMENTS.c.key, DOCUMENTS.c.document).where(DOCUMENTS.c.kind == kind)
        with self.reading() as connection:  # sorted here: databases differ in how they order texts
            return {
                key: json.loads(text) for key, text in sorted(map(tuple, connection.execute(query))) if key.startswith(prefix)
            }

    def save_document(self, kind: str, key: str, document: Mapping[str, object]) -> None:
        """Save a JSON document of `kind` under `key`, in place of the one before."""
        with self.writing() as connection:
            _put_document(connection, kind, key, json.dumps(document, default=str))

    def change_document(
        self, kind: str, key: str, change: Callable[[dict[str, Any] | None], Mapping[str, object] | None]
    ) -> dict[str, Any] | None:
        """Put what `change` makes of the document of `kind` under `key` in its place, in one transaction; return it.

        change   pure: gets the document or None; None takes it away, the same document writes nothing
        """
        same = {"kind": kind, "key": key}
        with self.writing() as connection:
            text = connection.scalar(sa.select(DOCUMENTS.c.document).filter_by(**same))
            made = change(None if text is None else json.loads(text))
            told = None if made is None else json.dumps(made, default=str)
            if told != text:
                _put_document(connection, kind, key, told)
        return None if told is None else dict(json.loads(told))

    # --- audit log

    def audit(self, who: str, what: str, reason: str, detail: Mapping[str, object] | None = None) -> None:
        """Write down that `who` did `what`, and why."""
        text = json.dumps(detail or {}, default=str)
        row = {"at_ns": self._clock(), "who": who, "what": what, "reason": reason, "detail": text}
        with self.writing() as connection:
            connection.execute(sa.insert(AUDIT_LOG).values(row))

    def audit_log(self) -> list[dict[str, Any]]:
        """Return every audited act, oldest first: at_ns, who, what, reason, detail."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(AUDIT_LOG).order_by(AUDIT_LOG.c.id)).mappings().all()
        return [{key: json.loads(row[key]) if key == "detail" else row[key] for key in row if key != "id"} for row in rows]

    # --- publication ledger; lake/as_of.py says what it means

    def booked(self, table: str, snapshot_ids: Sequence[int]) -> set[int]:
        """Return which of these snapshots of a table are in the ledger."""
        with self.reading() as connection:
            return set(connection.scalars(_BOOKED, {"of_table": table, "asked": snapshot_ids}))

    def book(self, entry: Mapping[str, object], ranges: Sequence[tuple[str, int, int]]) -> bool:
        """Put one snapshot and its message ranges into the ledger, in one transaction; False when it is there already.

        It is booked after every moment that was answered about already, so that no answer changes.
        """
        same = {"table_name": entry["table_name"], "snapshot_id": entry["snapshot_id"]}
        found = sa.select(PUBLICATIONS.c.act).filter_by(**same)
        answered = sa.select(ANSWERED.c.as_of_ms).where(ANSWERED.c.table_name == entry["table_name"])
        rows = [{**same, "capture_id": capture, "first_seq": first, "last_seq": last} for capture, first, last in ranges]
        with self.writing() as connection:
            if connection.scalar(found) is not None:
                return False
            answered_ms = connection.scalar(answered)
            logged_ms = int(str(entry["published_at_ms"]))
            booked_ms = logged_ms if answered_ms is None else max(logged_ms, answered_ms + 1)
            connection.execute(sa.insert(PUBLICATIONS).values({**entry, "published_at_ms": booked_ms}))
            if rows:
                connection.execute(sa.insert(RANGES), rows)
        return True

    def answer(self, table: str, as_of_ms: int, acts: Sequence[str]) -> tuple[list[str], list[tuple[str, int, int]]]:
        """Return (run ids, message ranges) of `acts` booked up to a moment, and mark it as answered.

        The mark and the answer are one transaction: whatever is booked later lies after the mark.
        """
        mark = sa.select(ANSWERED.c.as_of_ms).where(ANSWERED.c.table_name == table)
        with self.reading() as connection:
            answered_ms = connection.scalar(mark)
            if answered_ms is not None and answered_ms >= as_of_ms:
                return _booked_until(connection, table, as_of_ms, acts)
        with self.writing() as connection:
            answered_ms = connection.scalar(mark)
            if answered_ms is None:
                connection.execute(sa.insert(ANSWERED).values(table_name=table, as_of_ms=as_of_ms))
            elif answered_ms < as_of_ms:
                connection.execute(sa.update(ANSWERED).where(ANSWERED.c.table_name == table).values(as_of_ms=as_of_ms))
            return _booked_until(connection, table, as_of_ms, acts)

    def published_ranges(self, acts: Sequence[str]) -> list[dict[str, Any]]:
        """Return every entry of `acts` with each of its ranges (null where it has none), in order of time."""
        ledger, ranges = PUBLICATIONS.c, RANGES.c
        query = (
            sa.select(PUBLICATIONS, ranges.capture_id, ranges.first_seq, ranges.last_seq)
            .select_from(PUBLICATIONS.outerjoin(RANGES, SAME_SNAPSHOT))
            .where(ledger.act.in_(acts))
            .order_by(ledger.published_at_ms, ledger.table_name, ledger.snapshot_id, ranges.capture_id, ranges.first_seq)
        )
        with self.reading() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def ledger(self, table: str, since_ms: int = 0) -> tuple[list[dict[str, Any]], dict[int, list[tuple[str, int, int]]]]:
        """Return the entries of a table published at `since_ms` or later, in order of time, and their ranges by snapshot."""
        mine = (PUBLICATIONS.c.table_name == table, PUBLICATIONS.c.published_at_ms >= since_ms)
        in_order = sa.select(PUBLICATIONS).where(*mine).order_by(PUBLICATIONS.c.published_at_ms, PUBLICATIONS.c.snapshot_id)
        joined = sa.select(RANGES).join(PUBLICATIONS, SAME_SNAPSHOT).where(*mine)
        ranges = joined.order_by(RANGES.c.capture_id, RANGES.c.first_seq)
        found: dict[int, list[tuple[str, int, int]]] = {}
        with self.reading() as connection:
            for row in connection.execute(ranges):
                found.setdefault(row.snapshot_id, []).append((row.capture_id, row.first_seq, row.last_seq))
            return [dict(row) for row in connection.execute(in_order).mappings()], found

    def ranges_of_capture(self, table: str, capture_id: str, from_seq: int) -> list[tuple[int, int]]:
        """Return (first, last) of the booked message ranges of one capture that reach to `from_seq` or beyond."""
        ranges = RANGES.c
        mine = (ranges.table_name == table, ranges.capture_id == capture_id, ranges.last_seq >= from_seq)
        with self.reading() as connection:
            return [(row.first_seq, row.last_seq) for row in connection.execute(sa.select(RANGES).where(*mine))]

    def has_run(self, table: str, run_id: str, acts: Sequence[str]) -> bool:
        """Return whether an entry of `acts` names a run."""
        ledger = PUBLICATIONS.c
        query = sa.select(ledger.act).where(ledger.table_name == table, ledger.run_id == run_id, ledger.act.in_(acts))
        with self.reading() as connection:
            return connection.scalar(query.limit(1)) is not None

    def published_at_ms(self, table: str, snapshot_id: int) -> int | None:
        """Return when a snapshot was booked, or None when it is not in the ledger."""
        query = sa.select(PUBLICATIONS.c.published_at_ms).filter_by(table_name=table, snapshot_id=snapshot_id)
        with self.reading() as connection:
            return connection.scalar(query)

    # --- as portable rows, for backup

    def dump(self) -> dict[str, list[dict[str, Any]]]:
        """Return every row by table, as of one moment, in JSON values; leases are left out, they belong to processes."""
        with self.reading() as connection:
            return {
                table.name: [dict(row) for row in connection.execute(sa.select(table)).mappings()]
                for table in METADATA.sorted_tables
                if table is not LEASES
            }

    def load(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        """Put dumped rows in place of everything but leases, in one transaction."""
        with self.writing() as connection:
            for table in METADATA.sorted_tables:
                if table is LEASES:
                    continue
                connection.execute(sa.delete(table))
                # The audit log is numbered anew, in its order.
                made = [
                    {key: row[key] for key in row if table is not AUDIT_LOG or key != "id"} for row in rows.get(table.name, ())
                ]
                if made:
                    connection.execute(sa.insert(table), made)

    def lease_holders(self) -> dict[str, Holder]:
        """Return who holds each lease."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(LEASES.c.name, LEASES.c.holder)).all()
        return {row.name: Holder(**json.loads(row.holder)) for row in rows}


def _booked_until(
    connection: sa.Connection, table: str, as_of_ms: int, acts: Sequence[str]
) -> tuple[list[str], list[tuple[str, int, int]]]:
    ledger, ranges = PUBLICATIONS.c, RANGES.c
    known = (ledger.table_name == table, ledger.published_at_ms <= as_of_ms, ledger.act.in_(acts))
    runs = connection.scalars(sa.select(ledger.run_id).where(*known)).all()
    joined = sa.select(ranges.capture_id, ranges.first_seq, ranges.last_seq).join(PUBLICATIONS, SAME_SNAPSHOT)
    return list(runs), [(row.capture_id, row.first_seq, row.last_seq) for row in connection.execute(joined.where(*known))]


def _lost(connection: sa.Connection, query: sa.Select[tuple[str, str]], held: Mapping[str, str]) -> list[str]:
    """Return those of name -> token that are not in force any more."""
    now = {row.name: row.token for row in connection.execute(query, {"leases": list(held)})} if held else {}
    return [name for name, token in held.items() if now.get(name) != token]


def _put_document(connection: sa.Connection, kind: str, key: str, text: str | None) -> None:
    """Put a document in place of the one before; None takes that away."""
    connection.execute(sa.delete(DOCUMENTS).filter_by(kind=kind, key=key))
    if text is not None:
        connection.execute(sa.insert(DOCUMENTS).values(kind=kind, key=key, document=text))
