"""What each process of a soak does, by the functions that `up` calls: `python -m tests.soak.workers ROLE FOLDER`."""

from __future__ import annotations

import random
import sys
import threading
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import msgspec

from ingest.asks import Ask, SessionWithAnswers
from ingest.backfill import Backfill, Supply
from ingest.breaker import Breakers
from ingest.capture import capture_pages
from ingest.configuration import Reconcile
from ingest.folders import FolderWatch
from ingest.landing import land
from ingest.offers import Offer
from ingest.permits import Permits, Together
from ingest.plans import Purpose, key_name
from ingest.providers import polygon_stream
from ingest.providers.alpaca_stream import MarketStream
from ingest.providers.binance import MarketSession
from ingest.providers.finnhub import TradeStream
from ingest.providers.registry import OFFERS, provider_named
from ingest.quotas import Quotas
from ingest.reach import Reach, simulated
from ingest.reconcile import look
from ingest.routing import Router
from ingest.shipped_plans import PLANS as SHIPPED
from ingest.simulator.keyed import Keys
from ingest.streams import capture_stream
from ingest.transport.backoff import Backoff
from ingest.transport.websocket import END_OF_RECORDING
from ingest.verdicts import Verdict
from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.instants import NANOS_PER_SECOND, Pace, to_datetime
from lake.log.segments import SegmentLog
from lake.settings import load_settings
from quality_checks.gaps import GapLedger
from quality_checks.promotion import promote
from tests.soak.processes import GO, Setting

STALE_NS = 30 * NANOS_PER_SECOND
_CALM = 3
"""So many looks in a row without an open gap, and the filler's day is done."""
RULES = Reconcile(settle_s=300.0, settle={})
"""The simulated providers' history is whole at once; a few minutes let captures end."""
PLANS = {provider: plans[0] for provider, plans in SHIPPED.items()}
"""The free plans: the smallest quotas there are."""
PATIENT = Backoff(attempts=8, first_s=0.5, ceiling_s=60.0)
STREAMS: dict[str, tuple[str, Callable[[], SessionWithAnswers]]] = {
    "binance": ("spot", lambda: MarketSession(["btcusdt@trade"], "spot", stale_after_ns=STALE_NS)),
    "alpaca": (
        "iex",
        lambda: MarketStream(
            "iex", ["AAPL", "MSFT"], Keys().alpaca_key_id, Keys().alpaca_secret, channels=["trades"], stale_after_ns=STALE_NS
        ),
    ),
    "finnhub": ("trades", lambda: TradeStream(["AAPL", "MSFT"], stale_after_ns=STALE_NS)),
    "polygon": (
        "market",
        lambda: polygon_stream.MarketStream(["AAPL", "MSFT"], Keys().polygon_key, channels=["T"], stale_after_ns=STALE_NS),
    ),
}
"""Provider -> its feed, and a conversation about trades."""
DROPPED = ("csv", "bars")
"""Provider and feed of the files that somebody puts into a folder."""
MAPPING: dict[str, object] = {
    "kind": "bars", "version": 1, "time_format": "epoch_s", "interval": "1m", "asset_class": "equity",
    "exchange_zone": "America/New_York",
    "columns": {"symbol": "s", "time": "t", "open": "o", "high": "h", "low": "l", "close": "c", "volume": "v"},
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Poll:
    """Minutes of two stocks asked for every so often, by a plan that allows it."""

    provider: str
    feed: str
    every_s: float


POLLS = (
    Poll("yahoo", "chart", 300.0),
    Poll("alpha_vantage", "stocks", 3_600.0),  # two of 25 calls a day each time, and once more for each time we are killed
    Poll("tiingo", "iex", 600.0),
)
PROVIDERS = tuple(sorted({*STREAMS, *(poll.provider for poll in POLLS), DROPPED[0]}))


class Worker:
    """A lake, a log and the ledgers, on the clock of the day."""

    def __init__(self, setting: Setting, stack: ExitStack) -> None:
        self.setting, self.pace = setting, setting.pace
        settings = load_settings(home=setting.home)
        self.lake = stack.enter_context(Lake.open(settings, self.pace.clock))
        self.log = stack.enter_context(SegmentLog(settings.log_path, self.pace.clock, min_free_bytes=1))
        self.quotas = stack.enter_context(Quotas(self.lake.state, PLANS, self.pace.clock))
        self.breakers = Breakers(self.lake.state, self.pace.clock)
        self.reach: Reach = simulated(setting.addresses, Keys())

    def is_over(self) -> bool:
        """Whether the time for the day's work is over."""
        return self.pace.clock() >= self.setting.until_ns

    def permits(self, provider: str, purpose: Purpose = "live") -> Together:
        """Return leave by quota and breaker."""
        key = key_name(self.reach.secrets(provider))
        return Together([self.breakers.permits(provider), self.quotas.permits(provider, key, purpose)])


def streams(worker: Worker) -> None:
    """Listen to every provider that pushes until the day ends, a thread each; come back after every end that is not the day's."""

    def listen(provider: str) -> None:
        feed, session = STREAMS[provider]
        push = provider_named(provider).push(feed)
        assert push is not None
        address = worker.reach.listened(provider, replace(push, server=provider))
        rng = random.Random(f"{worker.setting.seed}/{provider}")
        while not worker.is_over():  # also after the close: whoever comes back late still has to tell what it missed
            try:
                report = capture_stream(
                    worker.lake, worker.log, session(), address, provider=provider, feed=feed, sleep=worker.pace.sleep, rng=rng,
                    backoff=PATIENT, is_stopped=worker.is_over, timeout_s=5.0,
                )  # fmt: skip
            except TickhouseError as error:
                print(f"{provider}: {error}", flush=True)
            else:
                print(f"{provider}: {report.ended} after {report.messages} messages", flush=True)
                if report.ended == END_OF_RECORDING:
                    return
            worker.pace.sleep(10.0)

    threads = [threading.Thread(target=listen, args=(provider,)) for provider in STREAMS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def polls(worker: Worker) -> None:
    """Ask for minutes since the last answer, each provider in its rhythm; what was refused is asked for again with the next."""
    day, rng = worker.setting.day, random.Random(f"{worker.setting.seed}/polls")
    due = dict.fromkeys(POLLS, day.open_ns)
    done: dict[tuple[str, str], int] = {}
    while due and not worker.is_over():
        poll = min(due, key=lambda each: due[each])
        worker.pace.sleep(max(0, due[poll] - worker.pace.clock()) / NANOS_PER_SECOND)
        now_ns = min(worker.pace.clock(), day.close_ns)
        is_whole = _poll(worker, poll, done, now_ns, rng)
        if now_ns >= day.close_ns and is_whole:
            del due[poll]
            continue
        due[poll] = worker.pace.clock() + round((poll.every_s if now_ns < day.close_ns else 60.0) * NANOS_PER_SECOND)
        if due[poll] > day.close_ns > now_ns:
            due[poll] = day.close_ns + 60 * NANOS_PER_SECOND


def _poll(worker: Worker, poll: Poll, done: dict[tuple[str, str], int], now_ns: int, rng: random.Random) -> bool:
    """Ask one provider for every stock; returns whether everything up to now came."""
    asks = []
    for symbol in ("AAPL", "MSFT"):
        since = done.get((poll.provider, symbol), worker.setting.day.open_ns)
        if since < now_ns:
            asks.append(Ask(symbol, "1m", to_datetime(since), to_datetime(now_ns) + timedelta(seconds=1)))
    offer = next(each for each in provider_named(poll.provider).offers_of(poll.feed, "bars") if "1m" in each.intervals)
    permits = worker.permits(poll.provider)
    try:
        report = capture_pages(
            worker.lake, worker.log, offer.pages(), asks, worker.reach.asked(poll.provider, poll.feed), provider=poll.provider,
            feed=poll.feed, sleep=worker.pace.sleep, rng=rng, backoff=PATIENT, timeout_s=3.0, permits=permits,
        )  # fmt: skip
    except TickhouseError as error:
        print(f"{poll.provider}: {error}", flush=True)
        return False
    for ask, outcome in zip(asks, report.outcomes, strict=False):
        if outcome["verdict"] in (Verdict.OK, Verdict.EMPTY_VALID):
            done[poll.provider, ask.symbol] = now_ns // (60 * NANOS_PER_SECOND) * 60 * NANOS_PER_SECOND
        else:
            print(f"{poll.provider} {ask.symbol}: {outcome['verdict']} {outcome['detail'][:200]}", flush=True)
    return all(outcome["verdict"] in (Verdict.OK, Verdict.EMPTY_VALID) for outcome in report.outcomes) and len(
        report.outcomes
    ) == len(asks)


def folder(worker: Worker) -> None:
    """Import the files that somebody drops, each once it is whole, until the day is over and none is left."""
    watch = FolderWatch(
        worker.lake, worker.log, *DROPPED, worker.lake.settings.home.parent / "drop", mapping=MAPPING, settle_s=30.0,
        sleep=worker.pace.sleep,
    )  # fmt: skip
    calm = 0
    while calm < _CALM and not worker.is_over():
        try:
            taken = watch.look()
        except TickhouseError as error:
            print(f"folder: {error}", flush=True)
            worker.pace.sleep(60.0)
            continue
        is_evening = worker.pace.clock() > worker.setting.day.close_ns + 300 * NANOS_PER_SECOND
        calm = calm + 1 if is_evening and not taken and not watch.waiting else 0
        worker.pace.sleep(20.0)


def pipeline(worker: Worker) -> None:
    """Land what is in the log and promote it, twice a minute."""
    while not worker.is_over():
        try:
            land(worker.lake, worker.log)
            for provider in PROVIDERS:
                promote(worker.lake, provider)
        except TickhouseError as error:
            print(f"pipeline: {error}", flush=True)
        worker.pace.sleep(30.0)


def filler(worker: Worker) -> None:
    """Close gaps, and reconcile what was listened to, until the day is over and nothing is left for a while."""
    ledger = GapLedger(worker.lake, worker.log, "filler")
    router = Router(OFFERS, worker.breakers, worker.pace.clock)

    def choose(kind: str, asset_class: str, ask: Ask) -> list[Offer]:
        return [one.offer for one in router.choose(kind, asset_class, ask) if one.offer.provider in PROVIDERS]

    def permits(provider: str) -> Permits:
        return worker.permits(provider, "backfill")

    supply = Supply(OFFERS, worker.reach.asked, permits, choose)
    rng, calm = random.Random(f"{worker.setting.seed}/filler"), 0
    fill = Backfill(worker.lake, worker.log, supply, ledger, sleep=worker.pace.sleep, rng=rng, backoff=PATIENT, timeout_s=3.0)
    while calm < _CALM and not worker.is_over():
        try:
            spans = look(worker.lake, worker.log, ledger, OFFERS, RULES)
            report = fill.work(is_stopped=worker.is_over)
        except TickhouseError as error:
            print(f"filler: {error}", flush=True)
            worker.pace.sleep(60.0)
            continue
        for story in report.stories:
            print(f"{story['gap_id']}: {story['status']}: {story['reason']}", flush=True)
        is_evening = worker.pace.clock() > worker.setting.day.close_ns + 300 * NANOS_PER_SECOND
        calm = calm + 1 if is_evening and not spans.waiting and not ledger.under_way() else 0
        worker.pace.sleep(60.0)


ROLES: dict[str, Callable[[Worker], None]] = {
    "streams": streams,
    "polls": polls,
    "folder": folder,
    "pipeline": pipeline,
    "filler": filler,
}


def main(role: str, folder: Path) -> None:
    """Do a role's work once the day begins."""
    (folder / f"{role}.ready").touch()
    machine = Pace.begin(0, 1.0)
    while not (folder / GO).exists():
        machine.sleep(0.05)
    setting = msgspec.json.decode((folder / GO).read_bytes(), type=Setting)
    with ExitStack() as stack:
        ROLES[role](Worker(setting, stack))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
