"""Backfill as a person or `up` runs it: who can be asked, within quotas and breakers; what is wanted; rounds until it stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta

from ingest.asks import Ask
from ingest.backfill import Backfill, BackfillReport, Supply
from ingest.health import HealthEvent, Kind
from ingest.landing import land
from ingest.offers import Offer
from ingest.providers.registry import PROVIDERS
from ingest.reach import Reach
from ingest.reconcile import Looked
from ingest.reconcile import look as look_for_spans
from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import InvalidValueError, NotFoundError
from lake.instants import to_datetime
from lake.log.log import Log
from lake.scan import read
from quality_checks.gaps import Fill, GapLedger, GapStatus, KnownGap
from quality_checks.missing import Series, look, series_of
from serving.operate.configured import open_configured
from serving.operate.pipeline import Turn, promote_all, turn
from serving.operate.rights import rights

ROUNDS = 12
"""Turns of asking and promoting of one command; what is not closed then is told, and goes on with the next."""
WHO = "backfill"


@dataclass(frozen=True, slots=True)
class WantedRange:
    """History that somebody wants: a kind of rows (bars, trades, quotes) of symbols over `[start, end)`.

    provider, feed   who is asked first; None: the first of the registry that offers it
    """

    kind: str
    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    interval: str = "1d"
    provider: str | None = None
    feed: str | None = None


@contextmanager
def supplied(lake: Lake, log: Log, reach: Reach, *, is_recorded: bool) -> Iterator[Supply]:
    """Give everybody who can be asked: enabled, with keys; calls wait for quotas and breakers, and leave live work its share."""
    with rights(lake, log, reach) as found:
        configuration = found.configured.in_force()
        offers = [offer for offer in found.offers if configuration.provider(offer.provider).enabled]

        def choose(kind: str, asset_class: str, ask: Ask) -> Sequence[Offer]:
            return [choice.offer for choice in found.router.choose(kind, asset_class, ask)]

        def failed_over(fill: Fill, following: str) -> None:
            detail = f"{fill.detail}; {following} is asked next"
            found.health.tell(HealthEvent(Kind.FAILOVER, fill.provider, None, fill.verdict, detail))

        yield Supply(
            offers,
            reach.asked,
            lambda provider: found.permits(provider, "backfill"),
            choose,
            failed_over,
            is_recorded=is_recorded,
        )


def open_wanted(lake: Lake, log: Log, wanted: WantedRange, offers: Sequence[Offer]) -> list[str]:
    """Put what is wanted and not there into the ledger; returns the ids of its gaps, also of those that stood there before.

    Bars that the lake has others of are wanted where a calendar expects them; the rest as whole ranges.
    Raises NotFoundError when nobody offers it, InvalidValueError for a range that is empty or has not begun.
    """
    ledger, now = GapLedger(lake, log, WHO), to_datetime(lake.clock())
    if wanted.start >= wanted.end or wanted.start >= now:
        why = "it is empty" if wanted.start >= wanted.end else "it is in the future"
        raise InvalidValueError(f"nothing can be had of [{wanted.start.isoformat()}, {wanted.end.isoformat()}): {why}")
    ids = []
    for symbol in wanted.symbols:
        series = _series(lake, wanted, symbol)
        for gap in look(lake, ledger, series, wanted.start, wanted.end):
            ids.append(gap.gap_id)
        if not series:
            gap = _range_of(wanted, symbol, _offer_of(wanted, offers), now)
            ledger.open(gap)
            ids.append(gap.gap_id)
        else:
            ids += [gap.gap_id for gap in ledger.under_way() if _is_of(gap, series, wanted)]
    return list(dict.fromkeys(ids))


def _series(lake: Lake, wanted: WantedRange, symbol: str) -> list[Series]:
    if wanted.kind != "bars":
        return []
    try:
        providers = [wanted.provider] if wanted.provider else _providers_with_bars(lake, symbol, wanted.interval)[:1]
        found = [one for name in providers for one in series_of(lake, name, symbol, wanted.interval)]
    except NotFoundError:
        return []
    return [one for one in found if wanted.feed in (None, one.feed)]


def _providers_with_bars(lake: Lake, symbol: str, interval: str) -> list[str]:
    where = [Where("symbol", "=", symbol), Where("interval", "=", interval)]
    held = set(read(lake, "normalized.bars", ["provider"], where)["provider"].to_pylist())
    return [name for name in PROVIDERS if name in held]


def _is_of(gap: KnownGap, series: Sequence[Series], wanted: WantedRange) -> bool:
    if gap.gap_start is None or gap.gap_end is None or gap.gap_end <= wanted.start or gap.gap_start >= wanted.end:
        return False
    return any(
        (gap.provider, gap.feed, gap.symbol, gap.interval) == (one.provider, one.feed, one.symbol, one.interval) for one in series
    )


def _offer_of(wanted: WantedRange, offers: Sequence[Offer]) -> Offer:
    table = f"normalized.{wanted.kind}"
    for offer in offers:
        is_named = wanted.provider in (None, offer.provider) and wanted.feed in (None, offer.feed)
        has_length = not offer.intervals or wanted.interval in offer.intervals
        if is_named and has_length and (offer.kind, offer.table) == (wanted.kind, table):
            return offer
    words = " ".join(word for word in (wanted.provider, wanted.feed, wanted.kind) if word)
    raise NotFoundError(f"nobody who can be asked offers {words}{f' of {wanted.interval}' if wanted.kind == 'bars' else ''}")


def _range_of(wanted: WantedRange, symbol: str, offer: Offer, now: datetime) -> KnownGap:
    interval = wanted.interval if offer.intervals else None
    words = (
        offer.provider,
        offer.feed,
        symbol,
        wanted.kind,
        interval,
        f"{wanted.start:%Y%m%dT%H%M%S}",
        f"{wanted.end:%Y%m%dT%H%M%S}",
    )
    return KnownGap(
        gap_id="-".join(["wanted", *(word for word in words if word)]),
        provider=offer.provider,
        feed=offer.feed,
        symbol=symbol,
        status=GapStatus.OPEN,
        reason="wanted",
        recorded_at=now,
        table_name=offer.table,
        interval=interval,
        gap_start=wanted.start,
        gap_end=min(wanted.end, now),
    )


def fill(
    lake: Lake,
    log: Log,
    supply: Supply,
    wanted: Callable[[KnownGap], bool],
    *,
    promotes: bool = True,
    is_stopped: Callable[[], bool] = lambda: False,
    say: Callable[[str], None] = lambda text: None,
) -> BackfillReport:
    """Ask, land, promote and judge until nothing more can be done now; returns what was done in all.

    promotes   False: ask only, and leave the rest to a running pipeline
    """
    ledger = GapLedger(lake, log, WHO)
    worker = Backfill(lake, log, supply, ledger)
    whole = BackfillReport()
    concerned: set[str] = set()
    for _ in range(ROUNDS):
        if promotes:
            concerned |= _concerned(ledger, wanted)
            turn(lake, log, sorted(concerned), builds=False) if concerned else land(lake, log)
        done = worker.work(wanted, is_stopped, say)
        _add(whole, done)
        if not promotes or not (done.questions or done.stories):
            break
    if concerned:
        promote_all(lake, Turn(), sorted(concerned), lambda text: None)
    return whole


def _concerned(ledger: GapLedger, wanted: Callable[[KnownGap], bool]) -> set[str]:
    """Return the providers whose messages tell of gaps that are not closed: their own, and those asked for them."""
    found = [gap for gap in ledger.under_way() if not gap.is_final and wanted(gap)]
    return {gap.provider for gap in found} | {fill.provider for gap in found for fill in gap.fills}


def _add(whole: BackfillReport, done: BackfillReport) -> None:
    for name in ("asked", "questions", "messages", "filled", "proven_empty", "unfillable"):
        setattr(whole, name, getattr(whole, name) + getattr(done, name))
    whole.waiting = done.waiting
    whole.stories += done.stories


def open_spans(lake: Lake, log: Log, offers: Sequence[Offer], since: datetime | None = None) -> Looked:
    """Put what feeds without numbers were listened to into the ledger, to be reconciled, as the configuration says.

    since   how far back; None: as configured
    """
    rules = open_configured(lake).in_force().reconcile
    return look_for_spans(lake, log, GapLedger(lake, log, "reconcile"), offers, rules, since)


def look_for_scheduled(lake: Lake, log: Log) -> list[KnownGap]:
    """Open gaps for bars that the schedules of the configuration want and the lake does not have; returns those opened now."""
    configuration = open_configured(lake).in_force()
    ledger, now = GapLedger(lake, log, "look"), to_datetime(lake.clock())
    opened: list[KnownGap] = []
    for schedule in configuration.due().values():
        universe = configuration.universes.get(schedule.universe)
        if universe is None or schedule.data not in ("", "bars"):
            continue
        wanted = WantedRange("bars", universe.symbols, now - schedule.lookback, now, schedule.interval, schedule.provider)
        for symbol in universe.symbols:
            opened += look(lake, ledger, _series(lake, wanted, symbol), wanted.start - timedelta(days=1), wanted.end)
    return opened
