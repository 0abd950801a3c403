"""Reconcile: what was listened to of feeds without numbers is asked for again by REST, whole, once its provider's history is.

A short silence leaves no trace in such a feed: only the provider's own history tells what it swallowed. Each span (provider,
feed, table, symbol, day) becomes a gap of the ledger, asked, proved and closed like any other, after all others. Shell.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ingest.backfill_asks import HISTORY
from ingest.configuration import Reconcile
from ingest.history import finding_row
from ingest.offers import Offer
from lake.catalog import Lake
from lake.conditions import Where
from lake.instants import to_datetime
from lake.log.history import append_history
from lake.log.log import Log
from quality_checks.alerts import Alerts, Severity
from quality_checks.gap_bounds import NUMBERED
from quality_checks.gap_proofs import clock_unit_ns
from quality_checks.gaps import RECONCILE, GapLedger, GapStatus, KnownGap, newest_gaps
from quality_checks.heard import Heard, Window, heard, without
from quality_checks.missing_numbers import look as look_at_numbers
from quality_checks.reconciled import Reconciled
from transforms.clocks import cut

UNRECONCILABLE = "unreconcilable"
"""Kind of the alert about a feed whose history nobody offers, or not to this key; while it stands, nobody is asked."""
DIFFERS = "reconcile_differs"
"""Kind of the alert about a feed whose history does not say what it pushed; while it stands, nobody is asked."""
MISSED = "missed_in_silence"
"""Kind of the findings and alerts about what a feed never pushed and reconciling found."""
_LOOKING = "reconcile:look"
_TOLD, _AGREES = "reconcile_told", "reconcile_agrees"
_NEW_YORK, _UTC = ZoneInfo("America/New_York"), ZoneInfo("UTC")


@dataclass(slots=True)
class Looked:
    """What a look came to.

    opened          spans that are to be reconciled from now on, and runs of numbers that are missing
    waiting         spans whose provider's history is not said to be whole yet
    unreconcilable  provider, feed and table that nobody can be asked for, in words
    """

    opened: list[KnownGap] = field(default_factory=list)
    waiting: int = 0
    unreconcilable: list[str] = field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return it as JSON values."""
        opened = [gap.gap_id for gap in self.opened]
        return {"opened": opened, "not_whole_yet": self.waiting, "unreconcilable": self.unreconcilable}


def look(
    lake: Lake, log: Log, ledger: GapLedger, offers: Sequence[Offer], rules: Reconcile, since: datetime | None = None
) -> Looked:
    """Open a gap for each span that can be reconciled now and never was; safe to repeat, and for several at once.

    Feeds that number their events need no question: what is missing between two numbers is opened as a gap of its own.

    since   looks so far back; None: as far as the rules say

    What no history is offered of is told by one alert a feed and table, once.
    """
    found, now = Looked(), to_datetime(lake.clock())
    since = now - timedelta(days=rules.lookback_days) if since is None else since
    if not rules.enabled:
        return found
    alerts, none_offered = Alerts(lake.state, lake.clock, log), dict[str, None]()
    with lake.state.lease(_LOOKING):
        ledger.refresh()
        known = _known(lake, ledger, since)
        for key, windows in sorted(heard(lake, since).items(), key=lambda one: str(one[0])):
            if key.provider in rules.without:
                continue
            settled = now - timedelta(seconds=rules.settled_s(key.provider))
            if (key.provider, key.table) in NUMBERED:
                found.opened += look_at_numbers(lake, ledger, key, windows, settled, now)
                continue
            offer = _own_offer(key, offers)
            if offer is None:
                none_offered[_words(key.provider, key.feed, key.table, key.interval)] = None
                continue
            for span in _spans(_whole(key, windows), _zone(offer)):
                for left in without(span, known[key]):
                    found.waiting += left.end > settled
                    if left.end <= settled:
                        gap = _gap(key, left, now)
                        found.opened += [gap] if ledger.open(gap) else []
    found.unreconcilable = [_none_offered(lake, alerts, subject) for subject in none_offered]
    return found


def tell(lake: Lake, log: Log, gap: KnownGap, told: Reconciled) -> None:
    """Tell what reconciling a span found: what the feed never pushed, and where its history says something else."""
    if told.agreed and not told.is_alarming:
        lake.state.save_document(_AGREES, feed_of(gap), {"gap_id": gap.gap_id})
    found = {}
    day, feed = f"{gap.gap_start:%Y-%m-%d}", feed_of(gap)
    if told.missed:
        found[MISSED] = f"{told.missed} {_noun(gap)} of {gap.symbol} of {day} were missed in silence and came by asking again"
    if told.doubled or told.refused:
        found[DIFFERS] = (
            f"of {told.facts} {_noun(gap)} of {gap.symbol} of {day} that the history tells, {told.doubled} stand beside others of"
            f" the same instant, price and size, and {told.refused} were refused: the feed pushed them in other words"
        )
    alerts, now = Alerts(lake.state, lake.clock, log), to_datetime(lake.clock())
    for kind, words in found.items():
        row = finding_row(f"{gap.gap_id}/{kind}", kind, str(gap.table_name), words, now, gap.gap_id)
        append_history(log, "quality.findings", row)
        if kind == MISSED:
            alerts.raise_alert(kind, feed, Severity.WARNING, words)
        elif told.is_alarming:
            words += "; nothing of the feed is reconciled until `tickhouse alerts --resolve` says so"
            alerts.raise_alert(kind, feed, Severity.ERROR, words)


def feed_of(gap: KnownGap) -> str:
    """Return what a span is of, in words: provider, feed, table and length of bars."""
    return _words(gap.provider, gap.feed, str(gap.table_name), gap.interval)


def is_known_to_agree(lake: Lake, gap: KnownGap) -> bool:
    """Return whether some span of the same feed was reconciled, and its history told what was heard in the same words."""
    return lake.state.document(_AGREES, feed_of(gap)) is not None


def tell_refused(lake: Lake, log: Log, gap: KnownGap) -> None:
    """Tell, once, that a provider does not give the history of a feed to this key."""
    words = f"cannot be reconciled: {gap.reason}; later spans are asked for once `tickhouse alerts --resolve` says so"
    Alerts(lake.state, lake.clock, log).raise_alert(UNRECONCILABLE, feed_of(gap), Severity.INFO, words)


def paused(lake: Lake, gap: KnownGap) -> str:
    """Return the kind of the alert for whose sake a feed is not reconciled now; empty when it is."""
    alerts = Alerts(lake.state, lake.clock)
    return next((kind for kind in (UNRECONCILABLE, DIFFERS) if alerts.is_open(kind, feed_of(gap))), "")


def _known(lake: Lake, ledger: GapLedger, since: datetime) -> Mapping[Heard, list[Window]]:
    """Return what was asked for again before, or is to be: of any span, of gaps those that their own provider filled."""
    found: dict[Heard, list[Window]] = defaultdict(list)
    for gap in [*newest_gaps(lake, [Where("recorded_at", ">=", since)]), *ledger.under_way()]:
        is_told = gap.is_reconcile or gap.is_filled_by_own
        if is_told and gap.gap_start is not None and gap.gap_end is not None:
            key = Heard(gap.provider, gap.feed, str(gap.table_name), gap.symbol, gap.interval)
            found[key].append(Window(gap.gap_start, gap.gap_end))
    return found


def _own_offer(key: Heard, offers: Iterable[Offer]) -> Offer | None:
    for offer in offers:
        is_of_feed = (offer.provider, offer.feed, offer.table) == (key.provider, key.feed, key.table)
        if is_of_feed and offer.kind in HISTORY and (not offer.intervals or key.interval in offer.intervals):
            return offer
    return None


def _zone(offer: Offer) -> ZoneInfo:
    """Return where the days of a feed are cut: at midnight of New York, after all its sessions; of crypto by UTC."""
    return _UTC if offer.asset_classes == {"crypto"} else _NEW_YORK


def _whole(key: Heard, windows: Iterable[Window]) -> Iterator[Window]:
    """Yield windows cut to the unit of a feed's clocks: an instant told coarser lies on the same side as told finer."""
    unit_ns = clock_unit_ns(key.provider, key.feed)
    yield from (Window(cut(window.start, unit_ns), cut(window.end, unit_ns)) for window in windows)


def _spans(windows: Iterable[Window], zone: ZoneInfo) -> Iterator[Window]:
    """Yield what was listened to, day by day."""
    for window in windows:
        start = window.start
        while start < window.end:
            day = start.astimezone(zone).date() + timedelta(days=1)
            midnight = datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(start.tzinfo)
            yield Window(start, min(midnight, window.end))
            start = min(midnight, window.end)


def _gap(key: Heard, window: Window, now: datetime) -> KnownGap:
    kind = key.table.partition(".")[2]
    names = [key.provider, key.feed, key.symbol, kind, *([key.interval] if key.interval else [])]
    return KnownGap(
        gap_id=RECONCILE + "-".join([*names, *(f"{at:%Y%m%dT%H%M%S.%f}" for at in (window.start, window.end))]),
        provider=key.provider,
        feed=key.feed,
        symbol=key.symbol,
        status=GapStatus.OPEN,
        reason="to be reconciled: a silence leaves no trace in a feed without numbers",
        recorded_at=now,
        table_name=key.table,
        interval=key.interval,
        gap_start=window.start,
        gap_end=window.end,
    )


def _words(provider: str, feed: str, table: str, interval: str | None) -> str:
    return "/".join([provider, feed, table.partition(".")[2], *([interval] if interval else [])])


def _none_offered(lake: Lake, alerts: Alerts, subject: str) -> str:
    """Return in words that nobody can be asked, and raise the alert that says so when nobody was told before."""
    words = (
        f"{subject} cannot be reconciled: nobody offers its history; what falls into a short silence is not known to be missing"
    )
    if lake.state.document(_TOLD, subject) is None:
        alerts.raise_alert(UNRECONCILABLE, subject, Severity.INFO, words)
        lake.state.save_document(_TOLD, subject, {"told": words})
    return words


def _noun(gap: KnownGap) -> str:
    return str(gap.table_name).partition(".")[2]
