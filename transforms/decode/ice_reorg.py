"""ICE "reorg" files: 80-column announcements of splits and reverse splits, several a file; a file is one message.

An announcement begins at its `ENT:` line and ends at `**`; a line of 9s ends the file. The five characters after `IND:` are:
kind of event (7 split, + reverse split), N new, U update or D deletion, the kind updated, options, type of security.

The chain: a new announcement's action_key is its TEXT#; an update names the announcement it revises (UPDTEXT), a deletion the
one it withdraws (DELTEXT, status rescinded). What a new one says was known on its declaration date, what an update says on
the date it was entered, at midnight in New York: a correction dated back was not known before. Other kinds of events are
refused as unsupported_action, so that none that moves a price goes unseen. Source: the files, and how github.com/alpacahq/
marketstore (contrib/ice/reorg) names their columns.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa

from transforms.decode.decoded import CORPORATE_ACTIONS, Decoded, Refusals, Rows, decoded, payloads, texts
from transforms.decode.delivery import delivered_at
from transforms.numbers import PRICE_SCALE, NumberRefusedError, exact_decimal, lowest_terms

ZONE = "America/New_York"
"""Where ICE's announcements are dated: they are made for US settlement (DTC)."""

_HEAD = re.compile(r"\.{10,} *ENT:")
_FILLER = re.compile(r"(?:\*{10,}|9{10,})\s*\Z")
_ENTERED = re.compile(r"ENT:(\d\d)/(\d\d)/(\d\d):\((\d{4})\)")
_TEXT = re.compile(r"TEXT#:\s*(\d{1,12})\s*:")
_UPDATED = re.compile(r"UPDTEXT:\s*(\d{1,12})\s*:")
_DELETED = re.compile(r"DELTEXT:\s*(\d{1,12})\s*:")
_INDICATOR = re.compile(r"IND:(.)(.)(.)(.)(.):")
_TARGET = re.compile(r"^TARGET:([^:\n]{1,12}):[^:\n]*:([^:\n]*):", re.MULTILINE)
_REMARKS = re.compile(r"REMARKS:([^:\n]*):")
_NAME = re.compile(r'"([^"\n]+)"')
_NEW_RATE = re.compile(r"NEW RATE:\s*([^:\n]*):")
_OLD_RATE = re.compile(r"OLD RATE:\s*([^:\n]*):")
_LABELLED = r"^{}:[ \t]*([A-Z]+ +\d{{1,2}}, *\d{{4}})"
_DATES = {
    "announcement_date": re.compile(_LABELLED.format("DECLARATION DATE"), re.MULTILINE),
    "ex_date": re.compile(_LABELLED.format("EX-DATE"), re.MULTILINE),
    "record_date": re.compile(_LABELLED.format("RECORD DATE"), re.MULTILINE),
    "pay_date": re.compile(_LABELLED.format("PAYABLE DATE"), re.MULTILINE),
}
_CONTINUATION = "CONTINUATION OF TEXT NO."
_SPLITS = {"7": "split", "+": "split"}
_REVERSE = "+"
_SHARES = {"C", "P", "S", "A", "O", " "}
"""Common, preferred, beneficial interest, receipt, ordinary; blank where not told."""
_CUSIP = re.compile(r"[0-9A-Z*@#]{8}[0-9]\Z")


@dataclass(frozen=True, slots=True)
class _Announcement:
    text: str
    is_whole: bool
    """False where the file broke off inside it."""


def decode(messages: pa.Table) -> Decoded:
    """Return the corporate actions that reorg files announce."""
    rows, refused, skipped = Rows(CORPORATE_ACTIONS), Refusals(), 0
    requests, headers = texts(messages, "request"), texts(messages, "headers")
    for message, payload in enumerate(payloads(messages)):
        delivered = delivered_at(headers[message], requests[message])
        found = list(_announcements(payload.decode("latin-1")))
        if not found and not _is_empty(payload):
            refused.add_message(message, "malformed", payload[:200], "announcements that begin with an ENT: line")
        for ordinal, announcement in enumerate(found):
            if _CONTINUATION in announcement.text:
                skipped += 1
                continue
            try:
                rows.add(message, ordinal, _action(announcement) | {"delivered_at": delivered})
            except NumberRefusedError as error:
                refused.add(message, ordinal, CORPORATE_ACTIONS, error.rule, error.value, error.expected)
    return decoded({CORPORATE_ACTIONS: rows.to_table()}, refused, messages.num_rows, skipped)


def _is_empty(payload: bytes) -> bool:
    """A day without announcements: nothing, or the end of file alone."""
    return not payload.strip(b"*9 \r\n\t")


def _announcements(text: str) -> Iterator[_Announcement]:
    """Yield the announcements of a file, in order. Lines before the first ENT: line belong to none."""
    lines: list[str] | None = None
    for line in re.split(r"\r?\n", text):
        if _HEAD.match(line):
            if lines is not None:
                yield _whole(lines)
            lines = []
        if lines is not None and line.strip() and not _FILLER.match(line):
            lines.append(line.rstrip())
    if lines is not None:
        yield _whole(lines)


def _whole(lines: list[str]) -> _Announcement:
    return _Announcement("\n".join(lines), is_whole=lines[-1].endswith("**"))


def _action(announcement: _Announcement) -> dict[str, object]:
    text = announcement.text
    number = _one(_TEXT, text, "TEXT#")
    if not announcement.is_whole:
        raise NumberRefusedError("truncated", f"TEXT# {number}", "an announcement up to its `**`")
    entered = _entered(text)
    indicator = _INDICATOR.search(text)
    if indicator is None:
        raise NumberRefusedError("missing_field", f"TEXT# {number}", "IND: kind, N, U or D, and security")
    kind, state, security = indicator[1], indicator[2], indicator[5]
    if kind not in _SPLITS:
        remarks = _REMARKS.search(text)
        said = f"TEXT# {number}, {kind} {'' if remarks is None else remarks[1].strip()}"
        raise NumberRefusedError("unsupported_action", said, "IND: 7 (split) or + (reverse split)")
    new, old = _ratio(text, is_reverse=kind == _REVERSE)
    dates = {name: _date(pattern, text) for name, pattern in _DATES.items()}
    if dates["ex_date"] is None:
        raise NumberRefusedError("missing_ex_date", f"TEXT# {number}", "EX-DATE: a date like AUGUST 31, 2020")
    declared = dates["announcement_date"]
    known = entered if state != "N" or declared is None else min(declared, entered)
    name = _NAME.search(text)
    return {
        **dates,
        "symbol": _symbol(text),
        "action_key": _key(state, number, text),
        "kind": _SPLITS[kind],
        "ratio_new": new,
        "ratio_old": old,
        "status": "rescinded" if state == "D" else "announced",
        "known_at": datetime.combine(known, datetime.min.time(), ZoneInfo(ZONE)).astimezone(UTC),
        "exchange_zone": ZONE,
        "asset_class": "equity" if security in _SHARES else "other",
        "name": None if name is None else name[1].strip(),
    }


def _one(pattern: re.Pattern[str], text: str, name: str) -> str:
    found = pattern.search(text)
    if found is None:
        raise NumberRefusedError("missing_field", text[:80], f"{name}:")
    return found[1].strip()


def _entered(text: str) -> date:
    """Return the ENT date; its year stands twice, with and without the century."""
    found = _ENTERED.search(text)
    try:
        if found is None or found[3] != found[4][2:]:
            raise ValueError("no ENT:MM/DD/YY:(YYYY)")
        return date(int(found[4]), int(found[1]), int(found[2]))
    except ValueError as error:
        raise NumberRefusedError("malformed_date", text[:80].strip(". "), f"ENT: the date of entry ({error})") from error


def _date(pattern: re.Pattern[str], text: str) -> date | None:
    """Return a labelled date; None where the announcement has none (NOT REPORTED)."""
    found = pattern.search(text)
    if found is None:
        return None
    try:
        return datetime.strptime(" ".join(found[1].replace(",", " ").split()), "%B %d %Y").date()  # noqa: DTZ007  a date has no zone
    except ValueError as error:
        raise NumberRefusedError("malformed_date", found[0], "a date like AUGUST 31, 2020") from error


def _ratio(text: str, *, is_reverse: bool) -> tuple[int, int]:
    rates = [_rate(_one(pattern, text, name)) for pattern, name in ((_NEW_RATE, "NEW RATE"), (_OLD_RATE, "OLD RATE"))]
    new, old = lowest_terms(rates[0], rates[1])
    if new == old or (new < old) != is_reverse:
        kind = "a reverse split has fewer shares after" if is_reverse else "a split has more shares after"
        raise NumberRefusedError("impossible_ratio", f"{new}:{old}", kind)
    return new, old


def _rate(text: str) -> Decimal:
    return exact_decimal(text, PRICE_SCALE)


def _symbol(text: str) -> str:
    """Return the ticker after TARGET:. A CUSIP there, as its check digit tells, names no listing that we know yet."""
    symbol = _one(_TARGET, text, "TARGET")
    if not symbol:
        raise NumberRefusedError("missing_symbol", text[:80].strip(". "), "TARGET: a ticker")
    if _CUSIP.match(symbol) and _cusip_digit(symbol[:8]) == int(symbol[8]):
        raise NumberRefusedError("unmapped_cusip", symbol, "TARGET: a ticker; CUSIPs are not mapped to listings")
    return symbol


def _cusip_digit(stem: str) -> int:
    """Return the check digit of a CUSIP's first eight characters (double add double)."""
    total = 0
    for place, char in enumerate(stem):
        value = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ*@#".index(char) * (2 if place % 2 else 1)
        total += value // 10 + value % 10
    return -total % 10


def _key(state: str, number: str, text: str) -> str:
    """Return the TEXT# that the chain goes by."""
    if state == "N":
        return number
    pattern = {"U": _UPDATED, "D": _DELETED}.get(state)
    if pattern is None:
        raise NumberRefusedError("unknown_status", state, "IND: N, U or D")
    return _one(pattern, text, "UPDTEXT" if state == "U" else "DELTEXT")
