"""The database tables of mutable state, all of them: one metadata, so that `create` makes every one and a backup dumps it."""

from __future__ import annotations

import sqlalchemy as sa

METADATA = sa.MetaData()
LEASES = sa.Table(
    "leases",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("token", sa.String, nullable=False),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("taken_at_ns", sa.BigInteger, nullable=False),
)
DOCUMENTS = sa.Table(
    "documents",
    METADATA,
    sa.Column("kind", sa.String, primary_key=True),
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("document", sa.Text, nullable=False),
)
AUDIT_LOG = sa.Table(
    "audit_log",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=True),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("who", sa.String, nullable=False),
    sa.Column("what", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("detail", sa.Text, nullable=False),
)
PUBLICATIONS = sa.Table(
    "publications",
    METADATA,
    sa.Column("table_name", sa.String, primary_key=True),
    sa.Column("snapshot_id", sa.BigInteger, primary_key=True),
    sa.Column("act", sa.String, nullable=False),
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("run_id", sa.String, nullable=False),
    sa.Column("published_at_ms", sa.BigInteger, nullable=False),
    sa.Column("before", sa.Text, nullable=False),
    sa.Column("after", sa.Text, nullable=False),
    sa.Column("counts", sa.Text, nullable=False),
    sa.Index("publications_by_run", "table_name", "run_id"),
)
RANGES = sa.Table(
    "publication_ranges",
    METADATA,
    sa.Column("table_name", sa.String, primary_key=True),
    sa.Column("snapshot_id", sa.BigInteger, primary_key=True),
    sa.Column("capture_id", sa.String, primary_key=True),
    sa.Column("first_seq", sa.BigInteger, primary_key=True),
    sa.Column("last_seq", sa.BigInteger, nullable=False),
)
ANSWERED = sa.Table(
    "answered",
    METADATA,
    sa.Column("table_name", sa.String, primary_key=True),
    sa.Column("as_of_ms", sa.BigInteger, nullable=False),
)
CONFIGURATIONS = sa.Table(
    "configurations",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("etag", sa.String, nullable=False),
    sa.Column("at_ns", sa.BigInteger, nullable=False),
    sa.Column("who", sa.String, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
)
TALLIES = sa.Table(
    "tallies",
    METADATA,
    sa.Column("name", sa.String, primary_key=True),
    sa.Column("provider", sa.String, primary_key=True),
    sa.Column("feed", sa.String, primary_key=True),
    sa.Column("label", sa.String, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)


SAME_SNAPSHOT = sa.and_(PUBLICATIONS.c.table_name == RANGES.c.table_name, PUBLICATIONS.c.snapshot_id == RANGES.c.snapshot_id)
