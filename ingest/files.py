"""Recorded files from providers that give files: downloaded whole, then imported by the container path. Shell.

A file that lies in the folder already is not asked for again, and one that was imported lands once, whoever fetched it.
"""

from __future__ import annotations

from pathlib import Path

from ingest.asks import Request
from ingest.imports import ImportReport, import_paths
from ingest.transport.download import Download
from ingest.verdicts import Reading, Verdict
from lake.catalog import Lake
from lake.log.log import Log


def fetch_file(
    lake: Lake, log: Log, download: Download, request: Request, target: Path, provider: str, feed: str
) -> tuple[Reading, ImportReport | None]:
    """Download the answer to a request into `target`, where it does not lie yet, and import it.

    Returns what the provider's answer meant and, where there is a file, what became of it.
    """
    reading = Reading(Verdict.OK, "downloaded before") if target.exists() else download.fetch(request, target)
    if reading.verdict is not Verdict.OK:
        return reading, None
    return reading, import_paths(lake, log, provider, feed, [target])
