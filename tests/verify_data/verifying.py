"""Import, land and promote the files of a data folder, and tell what became of each."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ingest.imports import FileReport, import_paths
from ingest.landing import land
from ingest.mappings import load_mapping
from lake.catalog import Lake
from lake.errors import QualityError
from lake.heads import Hold
from lake.instants import parse_instant, system_clock
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.settings import load_settings
from lake.tables import TABLES
from quality_checks.adjusting import adjust
from quality_checks.holds import list_holds, release
from quality_checks.promotion import promote
from tests.verify_data.folders import NOT_DATA, Line

_RELEASES = 3
"""Times that rows which fail are taken out of a held batch before the rest is waived."""


@dataclass(slots=True)
class File:
    """One file of the data folder: what the feeds that took it made of it."""

    path: str
    captures: list[str] = field(default_factory=list)
    taken_by: list[str] = field(default_factory=list)
    messages: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)

    @property
    def problem(self) -> str | None:
        """Why the file is unexplained; None when it is not."""
        if self.errors:
            return "; ".join(self.errors)
        return None if self.captures else "no feed takes it"


@dataclass(slots=True)
class Report:
    """All files, and what went wrong beyond single files."""

    files: list[File]
    troubles: list[str] = field(default_factory=list)
    holds: list[str] = field(default_factory=list)
    """Batches that the gate held, with its reason and what became of them."""

    @property
    def unexplained(self) -> list[str]:
        """Every file that was not read and every trouble, each with its reason."""
        return [f"{file.path}: {file.problem}" for file in self.files if file.problem is not None] + self.troubles


def data_files(data: Path, folders: Sequence[str] = ()) -> list[str]:
    """Return the files below `data` that hold data, as paths relative to it; only those of `folders` where some are named."""
    found = sorted(path for path in data.rglob("*") if path.is_file() and path.name not in NOT_DATA)
    names = [path.relative_to(data).as_posix() for path in found]
    return [name for name in names if "/" in name and (not folders or name.split("/")[0] in folders)]


def verify_data(lake: Lake, log: SegmentLog, data: Path, lines: Iterable[Line], folders: Sequence[str] = ()) -> Report:
    """Import the files below `data` by `lines`, land and promote them folder by folder; returns what became of each file.

    A batch that the gate holds is looked at as an operator would: told with its reason, then released without the rows that
    failed, which go to quarantine.
    """
    files = {name: File(name) for name in data_files(data, folders)}
    report = Report(list(files.values()))
    by_folder: dict[str, list[Line]] = {}
    for line in lines:
        by_folder.setdefault(line.files.split("/")[0], []).append(line)
    for folder, own in by_folder.items():
        if folders and folder not in folders:
            continue
        for line in own:
            _tell(f"importing {line.files} as {line.provider} {line.feed} {line.mapping or ''}")
            for one in _imported(lake, log, data, line):
                _note(one, files, data, line)
        _promote(lake, log, folder, sorted({line.provider for line in own}), report)
    adjust(lake)
    _count(lake, report.files)
    return report


def _promote(lake: Lake, log: SegmentLog, folder: str, providers: Sequence[str], report: Report) -> None:
    """Land and promote what a folder brought, and settle what the gate holds of it."""
    _tell(f"promoting {folder}")
    land(lake, log)
    for provider in providers:
        waiting = promote(lake, provider).waiting
        report.troubles += [f"{folder}: {waiting} messages of {provider} wait"] if waiting else []
    for hold in list_holds(lake):
        _settle(lake, folder, hold, report)


def _settle(lake: Lake, folder: str, hold: Hold, report: Report) -> None:
    """Release a held batch without the rows that failed; where their neighbours fail then, these too, and at last by a waiver."""
    failed = hold.report.get("failed_checks")
    reasons = [str(check) for check in failed] if isinstance(failed, list) else []
    told = f"{folder}: {hold.row_count:,} rows of {hold.table} held for {', '.join(reasons)}"
    for waived in (*[()] * _RELEASES, tuple(reasons)):
        try:
            why = f"verify-data: {', '.join(reasons)}"
            settled = release(lake, hold.hold_id, why, without_failed=not waived, waive=waived, who="verify-data")
        except QualityError as error:
            last = str(error)
            continue
        how = f"{settled.quarantined:,} that failed" + (", the rest by a waiver" if waived else "")
        report.holds.append(f"{told}; released without {how}")
        return
    report.troubles.append(f"{told}: {last}")


def fresh_lake(home: Path) -> tuple[Lake, SegmentLog]:
    """Return a new lake in `home` and its log."""
    settings = load_settings(home=home)
    return Lake.create(settings, system_clock), SegmentLog(settings.log_path, system_clock)


def _imported(lake: Lake, log: SegmentLog, data: Path, line: Line) -> Sequence[FileReport]:
    if line.files.endswith("/"):
        paths = [data / line.files] if (data / line.files).is_dir() else []
    else:
        paths = sorted(path for path in data.glob(line.files) if path.is_file() and path.name not in NOT_DATA)
    if not paths:
        return ()
    mapping = None if line.mapping is None else load_mapping(line.mapping)
    received_at = None if line.received_at is None else parse_instant(line.received_at)
    return import_paths(lake, log, line.provider, line.feed, paths, received_at, mapping).files


def _note(one: FileReport, files: dict[str, File], data: Path, line: Line) -> None:
    """Write what became of a file, or of one member of an archive, beside the file."""
    file = files.get(Path(one.path.partition("!")[0]).relative_to(data).as_posix())
    if file is None or one.status == "skipped":
        return
    if one.error is not None:
        file.errors.append(f"{line.provider} {line.feed}: {one.error}")
    if one.capture_id is not None:
        file.captures.append(one.capture_id)
        file.taken_by.append(f"{line.provider} {line.feed}")
        file.messages += one.messages


def _count(lake: Lake, files: Iterable[File]) -> None:
    """Count rows and refusals of each file by its captures."""
    by_capture = {capture: file for file in files for capture in file.captures}
    for table in TABLES.values():
        if table.namespace not in ("normalized", "reference") or "capture_id" not in table.column_names:
            continue
        counts = read(lake, table.name, ["capture_id"]).group_by("capture_id").aggregate([([], "count_all")])
        for row in counts.to_pylist():
            if row["capture_id"] in by_capture:
                by_capture[row["capture_id"]].rows[table.name] += row["count_all"]
    refused = read(lake, "quality.quarantine", ["capture_id", "rule"])
    for row in refused.group_by(["capture_id", "rule"]).aggregate([([], "count_all")]).to_pylist():
        if row["capture_id"] in by_capture:
            by_capture[row["capture_id"]].refused[row["rule"]] += row["count_all"]


def _tell(text: str) -> None:
    print(text, file=sys.stderr)
