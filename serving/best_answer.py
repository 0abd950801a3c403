"""The best answer there is: the lake's; where it has none or too old a one, a provider's; where none answers, the last known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from lake.catalog import Lake
from lake.errors import DemandError, InvalidValueError, NotFoundError, ProviderUnavailableError, TickhouseError
from lake.instants import to_datetime
from serving.answers import Answered
from serving.bars import BarsQuestion
from serving.demands import Demands
from serving.paged import Kind, Paged
from serving.read_through import Fetched, ReadThrough, Wanted
from serving.real_time import bars_answer, events_answer


@dataclass(frozen=True, slots=True)
class Mode:
    """What the client allows.

    read_through   ask a provider; None: as configured
    last_known     when nobody answers, rather the last known than none; it says `is_stale` and its age
    """

    read_through: bool | None = None
    last_known: bool = False


class BestAnswer:
    """Answers one question from the best there is; `through` None: this server asks no provider."""

    def __init__(self, lake: Lake, through: ReadThrough | None) -> None:
        self._lake, self._through = lake, through

    def bars(self, question: BarsQuestion, ask: Callable[[], Answered], demands: Demands, mode: Mode) -> Answered:
        """Return bars; `ask` asks the lake. Raises as it does, or says why no provider could mend that."""

        def made(fetched: Fetched) -> Answered:
            return bars_answer(self._lake, question, fetched.instrument, fetched.rows, fetched.metadata())

        wanted = Wanted("bars", question.symbol, question.interval, question.start, question.end, question.provider)
        return self._best(question, wanted, ask, made, demands, mode)

    def events(self, kind: Kind, question: Paged, ask: Callable[[], Answered], demands: Demands, mode: Mode) -> Answered:
        """Return trades or quotes; see `bars`."""

        def made(fetched: Fetched) -> Answered:
            return events_answer(self._lake, kind, question, fetched.instrument, fetched.rows, fetched.metadata())

        wanted = Wanted(kind.name, question.symbol, "", question.start, question.end, question.provider)
        return self._best(question, wanted, ask, made, demands, mode)

    def _best(
        self,
        question: BarsQuestion | Paged,
        wanted: Wanted,
        ask: Callable[[], Answered],
        made: Callable[[Fetched], Answered],
        demands: Demands,
        mode: Mode,
    ) -> Answered:
        through = self._allowed(question, mode)
        if through is None:
            return ask()
        known: Answered | None = None
        try:
            known = ask()
            Demands(demands.max_age_s).check(known.metadata, to_datetime(self._lake.clock()))
            if known.table.num_rows or mode.read_through is None:
                return known
            missing: TickhouseError = NotFoundError(f"no {wanted.kind} of {wanted.symbol} in this range here")
        except (NotFoundError, DemandError) as error:
            missing = error
        try:
            return made(through.fetch(wanted, demands.max_age_s))
        except TickhouseError as error:
            if known is not None and known.table.num_rows and mode.last_known:
                return self._last_known(known, error)
            raise _both(missing, error) from error

    def _allowed(self, question: BarsQuestion | Paged, mode: Mode) -> ReadThrough | None:
        """Return who asks providers, or None; the past cannot be asked for. Raises InvalidValueError for what cannot be had."""
        if mode.read_through and self._through is None:
            raise InvalidValueError("read_through: this server asks no provider; it answers from the lake")
        is_past = question.as_of is not None or question.known_as_of is not None
        if mode.read_through and is_past:
            raise InvalidValueError("read_through with as_of or known_as_of: a provider answers for now only")
        if self._through is None or is_past or mode.read_through is False:
            return None
        return self._through if mode.read_through or self._through.policy().is_on else None

    def _last_known(self, known: Answered, error: TickhouseError) -> Answered:
        """Return what the lake has, marked as stale, with its age and why there is nothing newer."""
        fresh = known.metadata.get("fresh")
        age_s = (to_datetime(self._lake.clock()) - fresh).total_seconds() if isinstance(fresh, datetime) else None
        return replace(known, metadata={**known.metadata, "is_stale": True, "age_s": age_s, "stale_because": str(error)})


def _both(missing: TickhouseError, error: TickhouseError) -> TickhouseError:
    """Return the error that tells what is missing here, and why no provider mended it."""
    words = f"{missing}; real time: {error}"
    if isinstance(error, ProviderUnavailableError):
        return ProviderUnavailableError(words, error.retry_after_s)
    return type(missing)(words) if isinstance(error, NotFoundError) else error
