"""Importing recorded files through the same way as everything else: file → messages → log → raw.

Shell. Each file is one capture whose id comes from provider, feed, content, mapping and delivery, so the same file twice
lands once, and an interrupted import goes on where the log left off.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

import orjson

from ingest.asks import Gap
from ingest.containers.registry import CONTAINERS, Container, container_named
from ingest.containers.source import Piece, Source, Told, manifest_entry, sources_of
from ingest.history import HISTORY_OWNER, HISTORY_PARTITION, captures_announced, gap_rows
from ingest.mappings import shipped_mappings
from ingest.recorder import Recorder, code_version, messages_in_log
from lake.catalog import Lake
from lake.errors import CorruptedError, InvalidValueError, NotFoundError
from lake.instants import Clock
from lake.log.blocks import MAX_MESSAGES
from lake.log.log import HISTORY_TOPIC, Log
from lake.scan import Where, read
from lake.values import Capture, CaptureKind, Message
from transforms.decode.csv_mapping import parse_mapping

NOT_DATA = (".md", ".toml", ".txt", ".py")
"""Ends of names of files that lie beside data and are none."""


@dataclass(frozen=True, slots=True)
class FileReport:
    """What became of one file.

    status     imported; already (landed or in the log before); skipped (in a folder, not of this feed); failed
    messages   messages of the file's capture, in all
    appended   messages appended by this call
    gaps       stretches missing by the file's own numbers, each an open row of quality.gaps
    error      what is wrong, also with a file imported as far as it can be read
    """

    path: str
    status: str
    capture_id: str | None = None
    messages: int = 0
    appended: int = 0
    error: str | None = None
    gaps: int = 0


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What became of all files, in the order taken."""

    provider: str
    feed: str
    files: tuple[FileReport, ...]

    @property
    def messages(self) -> int:
        """Messages of all files."""
        return sum(file.messages for file in self.files)

    @property
    def appended(self) -> int:
        """Messages appended by this call."""
        return sum(file.appended for file in self.files)

    @property
    def errors(self) -> tuple[str, ...]:
        """What went wrong, each with its file's name."""
        return tuple(f"{file.path}: {file.error}" for file in self.files if file.error is not None and file.status != "skipped")

    def document(self) -> dict[str, object]:
        """Return the report as JSON values."""
        return {**asdict(self), "messages": self.messages, "appended": self.appended, "errors": list(self.errors)}


def import_paths(
    lake: Lake,
    log: Log,
    provider: str,
    feed: str,
    paths: Sequence[Path | str],
    received_at: datetime | None = None,
    mapping: Mapping[str, object] | None = None,
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> ImportReport:
    """Append the messages of files, and of the feed's files in folders, to the log; returns what became of each.

    received_at   when the provider delivered the files, where neither a response nor a manifest says it
    mapping       what the columns of a CSV file are (`transforms/decode/csv_files.py`)

    A bad file never stops the others: see the report. Raises NotFoundError for a path or feed that does not exist, and
    InvalidValueError for a naive `received_at` or a missing mapping.
    """
    container = container_named(provider, feed)
    if provider == "csv":
        _check_mapping(feed, mapping)
    if received_at is not None and received_at.tzinfo is None:
        raise InvalidValueError(f"received_at {received_at.isoformat()} has no time zone")
    files: list[FileReport] = []
    for path, is_told in _files(paths):
        sources, damage = _sources(path)
        for source in sources:
            files.append(_import_file(lake, log, (provider, feed), container, source, received_at, mapping, is_told, sleep))
        if damage is not None or not sources:
            status = "failed" if is_told else "skipped"
            files.append(FileReport(str(path), status, error=damage or "the archive holds no file"))
    return ImportReport(provider, feed, tuple(files))


def _sources(path: Path) -> tuple[list[Source], str | None]:
    try:
        return sources_of(path)
    except OSError as error:
        return [], f"cannot be read: {error}"


def _check_mapping(feed: str, mapping: Mapping[str, object] | None) -> None:
    if mapping is None:
        shipped = ", ".join(shipped_mappings())
        raise InvalidValueError(f"import of csv {feed} needs a mapping that says what the columns are; shipped are {shipped}")
    found = parse_mapping(dict(mapping)).kind
    if found != feed:
        raise InvalidValueError(f"import of csv {feed} with a mapping of kind {found!r}; expected kind = {feed!r}")


def _files(paths: Sequence[Path | str]) -> Iterator[tuple[Path, bool]]:
    given = [Path(path) for path in paths]
    missing = [str(path) for path in given if not path.exists()]
    if missing:
        raise NotFoundError(f"no such file or folder: {', '.join(missing)}")
    for path in given:
        if not path.is_dir():
            yield path, True
            continue
        for found in sorted(path.rglob("*")):
            if found.is_file() and not found.name.startswith(("_", ".")) and found.suffix not in NOT_DATA:
                yield found, False


def _import_file(
    lake: Lake,
    log: Log,
    named: tuple[str, str],
    container: Container,
    source: Source,
    received_at: datetime | None,
    mapping: Mapping[str, object] | None,
    is_told: bool,
    sleep: Callable[[float], None],
) -> FileReport:
    try:
        if not container.is_one(source.name, source.beginning()) and not (
            is_told and (_is_table(source, mapping) or _could_be(named, source))
        ):
            wrong = f"does not look like {named[0]} {named[1]}"
            return FileReport(source.label, "failed" if is_told else "skipped", error=source.damage or wrong)
        archive = None if source.member is None else source.path.name
        told = Told(source.name, received_at, mapping, manifest_entry(source.path), archive)
        own = None if container.feed_of is None else container.feed_of(source)
        capture, size = _capture_of(lake, (named[0], own or named[1]), source, told)
        if size == 0:
            return FileReport(source.label, "failed", error=source.damage or "the file is empty")
        return _append(lake, log, capture, container.split(source, told), source, sleep)
    except (InvalidValueError, CorruptedError) as error:
        return FileReport(source.label, "failed", error=str(error))


def _is_table(source: Source, mapping: Mapping[str, object] | None) -> bool:
    """Whether a file begins as a table of a mapping's delimiter does, whatever other feed it may look like."""
    if mapping is None:
        return False
    first, _, _ = source.beginning().lstrip(b"\r\n").partition(b"\n")
    return str(mapping.get("delimiter", ",")).encode() in first


def _could_be(named: tuple[str, str], source: Source) -> bool:
    """A file named by the user is taken on trust, unless it is surely another feed's or holds nothing."""
    beginning = source.beginning()
    if not beginning:
        return source.damage is None
    others = (other for feed, other in CONTAINERS.items() if feed[0] != named[0] or named[0] == "binance")
    return not any(other.is_one(source.name, beginning) for other in others)


def _capture_of(lake: Lake, named: tuple[str, str], source: Source, told: Told) -> tuple[Capture, int]:
    size = sum(len(chunk) for chunk in source.chunks())
    delivery = {"received_at": told.received_at and told.received_at.isoformat(), "manifest": told.manifest}
    identity = orjson.dumps([*named, source.sha256, told.mapping, delivery], option=orjson.OPT_SORT_KEYS, default=str)
    provider, feed = named
    detail = {"file": told.file, "sha256": source.sha256, "bytes": size, "damage": source.damage, **delivery}
    capture = Capture(
        capture_id=f"{provider}-{feed}-import-{hashlib.sha256(identity).hexdigest()[:24]}",
        provider=provider,
        feed=feed,
        kind=CaptureKind.IMPORT,
        started_at_ns=lake.clock(),
        code_version=code_version(),
        configuration_hash=lake.settings.configuration_hash(),
        detail=orjson.dumps(detail, option=orjson.OPT_SORT_KEYS, default=str).decode(),
    )
    return capture, size


def _append(
    lake: Lake, log: Log, capture: Capture, pieces: Iterable[Piece], source: Source, sleep: Callable[[float], None]
) -> FileReport:
    key, sha256 = f"import:{capture.capture_id}", source.sha256
    job = lake.state.job(key)
    if job is not None and job.get("status") == "done":
        total = int(str(job["messages"]))
        return FileReport(source.label, "already", capture.capture_id, total, 0, source.damage)
    with lake.state.lease(key):
        present = 0
        if job is not None or _is_announced(lake, log, capture.capture_id):
            present = max(messages_in_log(log, capture.capture_id), _messages_landed(lake, capture.capture_id))
        partitions = lake.settings.log_partitions
        recorder = Recorder(
            log, capture, clock=lake.clock, steps=lake.steps, sleep=sleep, partitions=partitions, first_seq=present
        )
        lake.state.save_job(key, {"status": "started", "messages": present})
        recorder.begin()
        total, missed = _record(recorder, pieces, present, lake.clock)
        if source.sha256 != sha256:
            changed = "the file changed while it was imported: what was read is in the log, import it again"
            return FileReport(source.label, "failed", capture.capture_id, total, max(total - present, 0), changed)
        lake.state.save_job(key, {"status": "done", "messages": total})
    status = "already" if total and total <= present else "imported" if total else "failed"
    error = source.damage or (None if total else "the file holds no messages")
    return FileReport(source.label, status, capture.capture_id, total, max(total - present, 0), error, missed)


def _record(recorder: Recorder, pieces: Iterable[Piece], present: int, clock: Clock) -> tuple[int, int]:
    """Append pieces beyond the first `present`, and every gap; returns (messages, gaps opened) of the whole file.

    Gaps before messages that are present are told again: who appended those may have died before telling them, and landing
    drops a row of history whose key it has.
    """
    now_ns, total, missed = clock(), 0, 0
    gaps: list[Gap] = []
    for number, piece in enumerate(pieces):
        total += 1
        if number >= present:
            recorder.record([_message(number, piece, now_ns)])
        gaps += piece.gaps
        if len(gaps) >= MAX_MESSAGES:
            missed += _miss(recorder, gaps, clock)
    recorder.flush()
    return total, missed + _miss(recorder, gaps, clock)


def _miss(recorder: Recorder, gaps: list[Gap], clock: Clock) -> int:
    """Record gaps after the messages before them, and forget them; returns how many were opened."""
    opened = sum(gap.status == "open" for gap in gaps)
    if gaps:
        recorder.flush()
        recorder.history("quality.gaps", gap_rows(recorder.capture, gaps, clock()))
        gaps.clear()
    return opened


def _is_announced(lake: Lake, log: Log, capture_id: str) -> bool:
    """True when the capture stands in ops.captures or on its way there: it does so before its first message is appended."""
    if read(lake, "ops.captures", ["capture_id"], [Where("capture_id", "=", capture_id)]).num_rows:
        return True
    bounds = log.bounds(HISTORY_TOPIC).get(HISTORY_PARTITION)
    if bounds is None:
        return False
    landed = lake.head("ops.captures").position.get(HISTORY_OWNER, {}).get(str(HISTORY_PARTITION), 0)
    return capture_id in captures_announced(log, max(bounds.first, landed))


def _messages_landed(lake: Lake, capture_id: str) -> int:
    found = read(lake, "raw.messages", ["message_seq"], [Where("capture_id", "=", capture_id)])
    return max(found["message_seq"].to_pylist(), default=-1) + 1


def _message(number: int, piece: Piece, now_ns: int) -> Message:
    return Message(
        message_seq=number,
        ts_recv_ns=now_ns if piece.ts_recv_ns is None else piece.ts_recv_ns,
        content_type=piece.content_type,
        payload=piece.payload,
        request=None if piece.request is None else orjson.dumps(piece.request, default=str).decode(),
        status=piece.status,
        headers=None if piece.headers is None else orjson.dumps(piece.headers).decode(),
    )
