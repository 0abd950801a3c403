"""Backfill: gaps of the ledger are asked of providers, captured like everything, proved by counts, and closed. Shell.

Each question is a capture of kind backfill. How far a gap is stands in the ledger after each question, so that a worker that was
killed is followed by the next where it stood; the one question under way is asked again, and what comes twice is one row. A
lease a gap keeps workers apart. What was told is judged when it has gone through the gate, which a pipeline does.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from ingest.asks import Address, Ask
from ingest.backfill_asks import Candidate, own_offers, questions
from ingest.capture import capture_pages
from ingest.ledger import PATIENCE
from ingest.offers import Offer
from ingest.permits import Permits
from ingest.reconcile import UNRECONCILABLE, feed_of, is_known_to_agree, paused, tell, tell_refused
from ingest.transport.backoff import Backoff
from ingest.verdicts import RETRYABLE, Verdict
from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import CommitConflictError, InvalidValueError, SettingsError
from lake.instants import to_datetime
from lake.log.log import Log
from lake.scan import read
from lake.values import CaptureKind
from quality_checks.gap_bounds import DEATH, EVENTS, bounded, parts_of_death
from quality_checks.gap_proofs import is_held, is_promoted
from quality_checks.gap_verdicts import judged
from quality_checks.gaps import Fill, GapLedger, GapStatus, KnownGap
from quality_checks.reconciled import closed, reconciled

ROUNDS = 6
"""So often is everybody asked before a gap is given up."""
SPANS_AT_ONCE = 32
"""Most spans that a round of work begins to reconcile: what is known to be missing must not wait for all of them."""
OWN_ATTEMPTS = 4
"""So often a gap's own provider is asked for events, at bad times, before another is: another's are not the same facts."""
FIRST_WAIT, LONGEST_WAIT = timedelta(minutes=5), timedelta(hours=12)
_LATER = frozenset({*RETRYABLE, Verdict.QUOTA_EXHAUSTED, Verdict.NOT_ASKED})
"""Verdicts that say nothing about the gap, only that now was not the time."""
_ANSWERED = frozenset({Verdict.OK, Verdict.EMPTY_VALID})


@dataclass(frozen=True, slots=True)
class Supply:
    """Who can be asked and how.

    offers    of every provider
    address   where a provider's feed is asked; raises SettingsError without its keys
    permits   leave to call a provider, for backfill
    choose    offers of others than the gap's own provider, in order: (kind, asset class, ask)
    failed_over   learns of each turn to another: what the one before answered, and the name of the next
    is_recorded   recordings answer: they fill a gap, and never prove that there is nothing in it
    """

    offers: Sequence[Offer]
    address: Callable[[str, str], Address]
    permits: Callable[[str], Permits]
    choose: Callable[[str, str, Ask], Sequence[Offer]]
    failed_over: Callable[[Fill, str], None] = lambda fill, following: None
    is_recorded: bool = False


@dataclass(slots=True)
class BackfillReport:
    """What one round of work did, in gaps; `messages` and `questions` are of this round.

    spans   of `asked`: those to be reconciled
    """

    asked: int = 0
    spans: int = 0
    questions: int = 0
    messages: int = 0
    filled: int = 0
    proven_empty: int = 0
    unfillable: int = 0
    waiting: int = 0
    stories: list[dict[str, Any]] = field(default_factory=list)

    def words(self) -> str:
        """Return it in one line."""
        return (
            f"{self.asked} attempts, {self.questions} questions, {self.messages} messages: {self.filled} gaps filled,"
            f" {self.proven_empty} proven empty, {self.unfillable} cannot be filled, {self.waiting} wait"
        )

    def document(self) -> dict[str, Any]:
        """Return the report as JSON values."""
        return asdict(self)


class Backfill:
    """One worker. `sleep`, `rng` and `backoff` are of its calls; `ledger` is its hand on the gaps."""

    def __init__(
        self,
        lake: Lake,
        log: Log,
        supply: Supply,
        ledger: GapLedger,
        *,
        sleep: Callable[[float], None] = time.sleep,
        rng: random.Random | None = None,
        backoff: Backoff = PATIENCE,
        timeout_s: float = 30.0,
    ) -> None:
        self._lake, self._log, self._supply, self._ledger = lake, log, supply, ledger
        self._sleep, self._rng, self._backoff = sleep, random.Random() if rng is None else rng, backoff
        self._timeout_s = timeout_s
        self._tried_out: set[str] = set()
        """Feeds of which a span is under way, in this round of work."""

    def work(
        self,
        wanted: Callable[[KnownGap], bool] = lambda gap: True,
        is_stopped: Callable[[], bool] = lambda: False,
        say: Callable[[str], None] = lambda text: None,
    ) -> BackfillReport:
        """Do for each gap that is wanted what can be done now: bound it, ask for it, or judge what was told.

        Spans to be reconciled come last, and few in a round: what is known to be missing goes before what may be.
        Safe to repeat, and for several workers at once. Raises LogFullError.
        """
        report = BackfillReport()
        self._ledger.refresh()
        gaps = sorted(self._ledger.under_way(), key=lambda one: one.is_reconcile)
        self._tried_out = {feed_of(gap) for gap in gaps if gap.is_reconcile and gap.status is GapStatus.FILLING}
        for gap in gaps:
            if is_stopped():
                break
            if gap.is_final or not wanted(gap):
                continue
            if gap.is_reconcile and gap.status is GapStatus.OPEN and report.spans >= SPANS_AT_ONCE:
                report.waiting += 1
                continue
            try:
                with self._lake.state.lease(f"gap:{gap.gap_id}", 0.0):
                    say(f"{gap.gap_id}: {gap.status.value}")
                    self._advance(gap.gap_id, report, is_stopped)
            except CommitConflictError:
                report.waiting += 1  # another worker has it
        return report

    def _advance(self, gap_id: str, report: BackfillReport, is_stopped: Callable[[], bool]) -> None:
        """Take the steps of a gap that need nobody else."""
        gap = self._ledger.gap(gap_id)
        while gap is not None and not gap.is_final and not is_stopped():
            after = self._judge(gap) if gap.status is GapStatus.FILLING else self._ask(gap, report)
            if after is None or after == gap:
                report.waiting += 1
                return
            gap = after
        if gap is not None and gap.is_final:
            setattr(report, gap.status.value, getattr(report, gap.status.value) + 1)
            report.stories.append({"gap_id": gap.gap_id, "status": gap.status.value, "reason": gap.reason})

    # --- asking

    def _ask(self, gap: KnownGap, report: BackfillReport) -> KnownGap | None:
        """Begin an attempt, if its time has come and somebody is left to be asked; returns the gap after it, None to wait."""
        now = to_datetime(self._lake.clock())
        if gap.next_attempt_at is not None and gap.next_attempt_at > now:
            return None
        if gap.gap_id.endswith(DEATH):
            return self._divide(gap)
        if gap.is_reconcile and self._supply.is_recorded:
            return None
        why_not = paused(self._lake, gap) if gap.is_reconcile else ""
        if why_not:
            return self._ledger.step(gap.gap_id, _closed_unasked) if why_not == UNRECONCILABLE else None
        is_second = gap.is_reconcile and not gap.tried and feed_of(gap) in self._tried_out
        if is_second and not is_known_to_agree(self._lake, gap):
            return None  # one span first shows whether the history says in the same words what the feed pushes
        known = bounded(self._lake, gap, now)
        if known is None:
            return None
        if known.is_final:
            return self._ledger.step(gap.gap_id, lambda held: _told(held, known))
        left = [each for each in self._candidates(known, now) if each.name not in gap.tried]
        if not left:
            after = self._ledger.step(gap.gap_id, lambda held: self._waits(_told(held, known), now))
            if after is not None and after.is_final and _is_refused(after):
                tell_refused(self._lake, self._log, after)
            return after
        chosen = left[0]
        if chosen.offer.provider != gap.provider and _may_answer_later(known):
            return self._ledger.step(gap.gap_id, lambda held: self._waits(_told(held, known), now))
        report.asked += 1
        if gap.is_reconcile:
            report.spans += 1
            self._tried_out.add(feed_of(gap))
        if gap.tried and gap.fills:
            self._supply.failed_over(gap.fills[-1], chosen.name)
        words = f"asked of {chosen.name}" + (f" after {gap.reason}" if gap.tried else "")
        begun = self._ledger.step(gap.gap_id, lambda held: _begun(_told(held, known), chosen.name, words))
        return begun if begun is None else self._put(begun, chosen, report)

    def _divide(self, gap: KnownGap) -> KnownGap | None:
        """Open a gap for each channel of a capture that died, and close the one that stood for all."""
        parts = parts_of_death(self._lake, gap)
        if parts is None:
            return None
        for part in parts:
            self._ledger.open(part)
        told = f"{gap.reason}; followed as {len(parts)} gaps of its symbols and tables"
        return self._ledger.step(gap.gap_id, lambda held: replace(held, status=GapStatus.FILLED, reason=told))

    def _candidates(self, gap: KnownGap, now: datetime) -> list[Candidate]:
        """Return who can be asked, the gap's own feed first."""
        own = [Candidate(offer, gap.symbol) for offer in own_offers(gap, self._supply.offers, now)]
        if gap.is_reconcile:  # whether a feed kept something back, only its own provider's history tells
            return own
        assert gap.gap_start is not None and gap.gap_end is not None and gap.table_name is not None  # bounded
        asset_class, symbols = self._instrument(gap)
        others = []
        if asset_class is not None:
            ask = Ask(gap.symbol, gap.interval or "", gap.gap_start, gap.gap_end)
            for offer in self._supply.choose(gap.table_name.partition(".")[2], asset_class, ask):
                symbol = symbols.get(offer.provider, gap.symbol if asset_class in ("equity", "etf") else None)
                if offer.provider != gap.provider and offer.table == gap.table_name and symbol is not None:
                    others.append(Candidate(offer, symbol))
        return [*own, *others]

    def _instrument(self, gap: KnownGap) -> tuple[str | None, dict[str, str]]:
        """Return the asset class of a gap's instrument, and its symbol by provider, as far as the lake knows it."""
        where = [Where("provider", "=", gap.provider), Where("symbol", "=", gap.symbol)]
        ids = read(self._lake, "reference.listings", ["instrument_id"], where)["instrument_id"].unique().to_pylist()
        if len(ids) != 1:
            return None, {}
        same = [Where("instrument_id", "=", ids[0])]
        told = read(self._lake, "reference.instruments", ["asset_class"], same)["asset_class"].to_pylist()
        rows = read(self._lake, "reference.listings", ["provider", "symbol"], same).to_pylist()
        return next((one for one in told if one), None), {row["provider"]: row["symbol"] for row in rows}

    def _put(self, gap: KnownGap, chosen: Candidate, report: BackfillReport) -> KnownGap | None:
        """Put the questions of the attempt that were not put yet, each its own capture; returns the gap after them."""
        now: KnownGap | None = gap
        done = {fill.unit for fill in gap.fills if fill.attempt == gap.attempts}
        for number, ask in enumerate(questions(gap, chosen)):
            if number in done:
                continue
            fill = self._capture(gap, chosen, ask, number)
            report.questions += 1
            report.messages += fill.messages
            now = self._ledger.step(gap.gap_id, lambda held, one=fill: replace(held, fills=(*held.fills, one)))  # type: ignore[misc]
            self._lake.steps.reached("backfill.asked")
            if Verdict(fill.verdict) not in _ANSWERED:
                break
        return now

    def _capture(self, gap: KnownGap, chosen: Candidate, ask: Ask, number: int) -> Fill:
        offer = chosen.offer
        place = (offer.provider, offer.feed, chosen.symbol)
        attempt = gap.attempts or 0
        try:
            address = self._supply.address(offer.provider, offer.feed)
            made = capture_pages(
                self._lake, self._log, offer.pages(), [ask], address, provider=offer.provider, feed=offer.feed,
                kind=CaptureKind.BACKFILL, sleep=self._sleep, rng=self._rng, backoff=self._backoff, timeout_s=self._timeout_s,
                permits=self._supply.permits(offer.provider),
            )  # fmt: skip
        except SettingsError as error:
            return Fill("", *place, 0, Verdict.NOT_ASKED.value, attempt, number, str(error))
        except InvalidValueError as error:
            return Fill("", *place, 0, Verdict.BAD_REQUEST.value, attempt, number, str(error))
        told = made.outcomes[-1]
        return Fill(
            made.capture_id, *place, made.messages, told["verdict"], attempt, number, told["detail"], told.get("retry_after_s")
        )  # fmt: skip

    def _waits(self, gap: KnownGap, now: datetime) -> KnownGap:
        """Return a gap that everybody was asked for in vain: asked again later, or given up after many rounds."""
        if self._supply.is_recorded:
            return replace(gap, tried=(), next_attempt_at=now + FIRST_WAIT)
        mine = [fill for fill in gap.fills if f"{fill.provider}/{fill.feed}" in gap.tried]
        newest = {f"{fill.provider}/{fill.feed}": fill for fill in mine}.values()
        was_no_time = any(Verdict(fill.verdict) in _LATER for fill in newest)
        rounds = gap.rounds + (not was_no_time)
        if mine and all(fill.verdict == Verdict.BAD_REQUEST.value for fill in newest):
            told = f"nobody understands the question: {gap.reason}"
            return replace(gap, status=GapStatus.UNFILLABLE, reason=told, rounds=rounds, next_attempt_at=None)
        if mine and _is_refused(gap):
            return replace(gap, status=GapStatus.UNFILLABLE, rounds=rounds, next_attempt_at=None)
        if not gap.tried:
            told = f"nobody who is known offers {gap.table_name} of {gap.provider} {gap.feed} {gap.symbol}"
            return replace(gap, status=GapStatus.UNFILLABLE, reason=told, next_attempt_at=None)
        if rounds >= ROUNDS:
            told = f"given up after {rounds} rounds: {gap.reason}"
            return replace(gap, status=GapStatus.UNFILLABLE, reason=told, rounds=rounds, next_attempt_at=None)
        waits = [timedelta(seconds=fill.retry_after_s) for fill in newest if fill.retry_after_s is not None]
        wait = min(waits) if waits else min(LONGEST_WAIT, FIRST_WAIT * 2 ** min(gap.attempts or 0, 10))
        return replace(gap, tried=(), rounds=rounds, next_attempt_at=now + wait)

    # --- judging

    def _judge(self, gap: KnownGap) -> KnownGap | None:
        """Go on with the attempt, or judge what it brought once that has gone through the gate; None to wait for it."""
        mine = [fill for fill in gap.fills if fill.attempt == gap.attempts]
        now = to_datetime(self._lake.clock())
        is_answered = not mine or Verdict(mine[-1].verdict) in _ANSWERED
        if is_answered:
            chosen = next((each for each in self._candidates(gap, now) if each.name == gap.tried[-1]), None)
            if chosen is not None and len(mine) < len(questions(gap, chosen)):  # a worker died in the middle of it
                return self._put(gap, chosen, BackfillReport())
        table = str(gap.table_name)
        for fill in mine if is_answered else ():
            if fill.messages and not is_promoted(self._lake, fill.capture_id, fill.provider, table, fill.messages):
                return None
            if is_held(self._lake, fill, table):
                return None
        if gap.is_reconcile and is_answered:
            counts = reconciled(self._lake, gap, mine)
            verdict = closed(gap, counts)
            if verdict.is_final:
                tell(self._lake, self._log, gap, counts)
        else:
            verdict = judged(self._lake, gap, mine)
        if self._supply.is_recorded and verdict.status is GapStatus.PROVEN_EMPTY:
            verdict = replace(verdict, status=GapStatus.OPEN, reason=f"{verdict.reason}; recordings prove nothing")
        return self._ledger.step(gap.gap_id, lambda held: verdict if held.attempts == gap.attempts else None)


def _may_answer_later(gap: KnownGap) -> bool:
    """Whether a gap's own provider was only asked at a bad time, and not often: a place in a quota, an outage, a breaker pass."""
    own = [fill for fill in gap.fills if fill.provider == gap.provider and fill.capture_id]
    mine = [fill for fill in own if f"{fill.provider}/{fill.feed}" in gap.tried]
    if gap.table_name not in EVENTS or not mine:
        return False
    return Verdict(mine[-1].verdict) in _LATER and len({fill.attempt for fill in own}) < OWN_ATTEMPTS


def _told(held: KnownGap, known: KnownGap) -> KnownGap:
    """Return the gap as held, with what is known of its bounds."""
    return replace(
        held, status=known.status, reason=known.reason, table_name=known.table_name, interval=known.interval,
        gap_start=known.gap_start, gap_end=known.gap_end, last_missing=known.last_missing, missing_count=known.missing_count,
        found_count=known.found_count,
    )  # fmt: skip


def _is_refused(gap: KnownGap) -> bool:
    """Return whether a span cannot be reconciled: its provider does not give the history to this key."""
    return gap.is_reconcile and bool(gap.fills) and gap.fills[-1].verdict == Verdict.NOT_ENTITLED.value


def _closed_unasked(gap: KnownGap) -> KnownGap:
    told = f"cannot be reconciled: {gap.provider} does not give the history of {gap.feed} to this key, and says so by an alert"
    return replace(gap, status=GapStatus.UNFILLABLE, reason=told, next_attempt_at=None)


def _begun(gap: KnownGap, name: str, words: str) -> KnownGap:
    attempts = (gap.attempts or 0) + 1
    return replace(
        gap, status=GapStatus.FILLING, reason=words, attempts=attempts, tried=(*gap.tried, name), next_attempt_at=None
    )  # fmt: skip
