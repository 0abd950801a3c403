"""IEX's HIST files: which there are for a day, and where each lies. Machine: no I/O.

The list names TOPS and DEEP captures (pcap, gzip), a day after; they are downloaded and imported by the container path
(`ingest/containers/captures.py`). No key is wanted. Source: PROVIDERS.md section 3, iextrading.com/trading/market-data.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from urllib.parse import parse_qsl, urlsplit

import orjson

from ingest.asks import Request, Response
from ingest.verdicts import Reading, Verdict

PROVIDER = "iex"
ADDRESS = "https://iextrading.com"
FEEDS = ("tops", "deep")
LISTS = "hist"
"""The feed of answers that are no files: lists and refusals."""
_HOSTS = re.compile(r"(?:[a-z0-9-]+\.)*(?:iextrading\.com|googleapis\.com|iex\.io)\Z")


@dataclass(frozen=True, slots=True)
class HistFile:
    """One file of a day: its feed, version, size in bytes where told, and where it lies."""

    day: str
    feed: str
    version: str
    size: int | None
    address: str
    request: Request

    @property
    def name(self) -> str:
        """What the file is called here."""
        return f"{self.day}_IEXTP1_{self.feed.upper()}{self.version}.pcap.gz"


def list_request(day: date) -> Request:
    """Return the request for the files of a day."""
    params = (("date", f"{day:%Y%m%d}"),)
    return Request("GET", "/api/1.0/hist", params, (("accept", "application/json"), ("accept-encoding", "identity")), "hist")


def read_list(response: Response) -> tuple[Reading, tuple[HistFile, ...]]:
    """Return what an answer means and the files that it names; those at other hosts than IEX's are left out. Never raises."""
    words = " ".join(response.body[:200].decode("utf-8", "replace").split())
    if response.status == 429:
        return Reading(Verdict.THROTTLED, words), ()
    if (broken := response.broken(words)) is not None:
        return broken, ()
    if response.status == 404:
        return Reading(Verdict.EMPTY_VALID, f"no files: {words}"), ()
    if response.status != 200:
        return Reading(Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}"), ()
    try:
        found = orjson.loads(response.body)
    except orjson.JSONDecodeError as error:
        return Reading(Verdict.MALFORMED, f"not JSON: {error}"), ()
    if not isinstance(found, list):
        return Reading(Verdict.MALFORMED, "expected a list of files"), ()
    files = tuple(file for entry in found if (file := _file(entry)) is not None)
    return Reading(Verdict.OK if files else Verdict.EMPTY_VALID, f"{len(files)} of {len(found)} files"), files


def read_refusal(response: Response) -> Reading:
    """Return what an answer without a file means."""
    words = " ".join(response.body[:200].decode("utf-8", "replace").split())
    if response.status == 429:
        return Reading(Verdict.THROTTLED, words)
    if (broken := response.broken(words)) is not None:
        return broken
    return Reading(Verdict.EMPTY_VALID if response.status == 404 else Verdict.BAD_REQUEST, f"HTTP {response.status}: {words}")


def _file(entry: object) -> HistFile | None:
    """Return a file of the list; None for an entry that is of another feed, or lies elsewhere."""
    told = entry if isinstance(entry, dict) else {}
    feed, day, version, size = (str(told.get(name, "")) for name in ("feed", "date", "version", "size"))
    try:
        parts = urlsplit(str(told.get("link", "")))
        params = tuple(parse_qsl(parts.query))
        host = parts.hostname or ""
    except ValueError:
        return None
    is_one = re.match(r"\d{8}\Z", day) and feed.lower() in FEEDS and re.match(r"\d\.\d{1,2}\Z", version)
    if not is_one or parts.scheme != "https" or not _HOSTS.match(host):
        return None
    request = Request("GET", parts.path, params, (), "hist/file", is_encoded=True)
    return HistFile(day, feed.lower(), version, int(size) if size.isdigit() else None, f"https://{parts.netloc}", request)
