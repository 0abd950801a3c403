"""Verify a data folder: `python -m tests.verify_data DATA [FOLDER…]`; exit code 1 when anything is unexplained.

With folders named, only these are read. The lake is fresh and removed afterwards; `--keep HOME` leaves it there.
"""

from __future__ import annotations

import argparse
import tempfile
import warnings
from collections import Counter
from pathlib import Path

from tests.verify_data.folders import LINES
from tests.verify_data.truths import truths_of
from tests.verify_data.verifying import File, Report, fresh_lake, verify_data


def main() -> int:
    """Read the data, print the report; returns the exit code."""
    parser = argparse.ArgumentParser(prog="verify-data", description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("folders", nargs="*")
    parser.add_argument("--keep", type=Path, metavar="HOME")
    given = parser.parse_args()
    if not given.data.is_dir():
        parser.error(f"no data folder {given.data}: name one with DATA=...")
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(prefix="verify-data-") as scratch:
        lake, log = fresh_lake(given.keep or Path(scratch) / "home")
        with lake, log:
            report = verify_data(lake, log, given.data, LINES, given.folders)
            told = truths_of(lake, given.data, given.folders)
    report.troubles += [f"truth: {one.name}: {one.difference}" for one in told if one.difference is not None]
    print_report(report)
    for one in told:
        print(f"truth: {one.name}: {one.checked}")
    return print_unexplained(report)


def print_report(report: Report) -> None:
    """Print one paragraph a folder, then files that gave no row."""
    folders: dict[str, list[File]] = {}
    for file in report.files:
        folders.setdefault(file.path.split("/")[0], []).append(file)
    for folder, files in folders.items():
        print(f"{folder}: {len(files)} files, {sum(file.messages for file in files):,} messages")
        rows, refused = totals(files)
        for table, count in sorted(rows.items()):
            print(f"    {count:>10,} rows of {table}")
        for rule, count in sorted(refused.items()):
            print(f"    {count:>10,} quarantined: {rule}")
    for told in report.holds:
        print(f"held: {told}")
    silent = [file for file in report.files if file.captures and not file.rows]
    print(f"{len(silent)} files gave no row:")
    for file in silent:
        print(f"    {file.path}: {', '.join(file.taken_by)}: {dict(file.refused) or 'says nothing of the market'}")
    rows, refused = totals(report.files)
    messages = sum(file.messages for file in report.files)
    print(f"in all: {len(report.files)} files, {messages:,} messages, {rows.total():,} rows, {refused.total():,} quarantined")


def totals(files: list[File]) -> tuple[Counter[str], Counter[str]]:
    """Return rows by table and refusals by rule of some files."""
    rows: Counter[str] = Counter()
    refused: Counter[str] = Counter()
    for file in files:
        rows += file.rows
        refused += file.refused
    return rows, refused


def print_unexplained(report: Report) -> int:
    """Print what is unexplained; returns the exit code."""
    print(f"unexplained: {len(report.unexplained)}")
    for line in report.unexplained:
        print(f"    {line}")
    return 1 if report.unexplained else 0


if __name__ == "__main__":
    raise SystemExit(main())
