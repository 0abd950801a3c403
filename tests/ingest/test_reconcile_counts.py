"""What a span is proved by, fact by fact: true doubles stay, a history that is not whole is asked again, other words are told."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import orjson
import pytest

from ingest.asks import Address
from ingest.backfill import Backfill, Supply
from ingest.configuration import Reconcile
from ingest.permits import FREE
from ingest.providers.registry import OFFERS
from ingest.reconcile import DIFFERS, look
from lake.catalog import Lake
from lake.conditions import Where
from lake.errors import NotFoundError
from lake.instants import EPOCH, NANOS_PER_SECOND
from lake.log.segments import SegmentLog
from lake.scan import read
from lake.values import Message
from quality_checks.alerts import Alerts
from quality_checks.gaps import GapLedger, GapStatus, KnownGap, newest_gaps
from quality_checks.heard import Window, joined, without
from tests.ingest.conftest import FAST
from tests.ingest.filling import announced, opened, turn
from tests.ingest.made_day import StillClock
from tests.soak.simulating import OPEN_NS
from tests.web_server import QuietHandler, web_server

OPEN_MS = OPEN_NS // 1_000_000
Row = tuple[int, float, int, tuple[str, ...]]
"""Seconds after the open, price, size, conditions."""
A, B, C = ((second, 100.0 + second, 10, ("1",)) for second in (5, 10, 15))
MANY: list[Row] = [(second, 50.0, 10, ("1",)) for second in range(20, 40)]


@dataclass(frozen=True)
class Case:
    """What one symbol's feed pushed, what its history tells, and what becomes of it.

    added   rows that the table has more than was pushed
    """

    pushed: Sequence[Row]
    history: Sequence[Row]
    status: GapStatus
    words: str
    added: int = 0


CASES = {
    "SAME": Case((A, A, B), (A, A, B), GapStatus.PROVEN_EMPTY, "nothing was missed: all 3 facts"),
    "TWIN": Case((A, B), (A, A, A, B), GapStatus.FILLED, "2 of 4 facts of its history were missed in silence", 2),
    "MORE": Case((A, A, B), (A, B), GapStatus.PROVEN_EMPTY, "1 were heard and its history does not tell them"),
    "LATE": Case((A, B, C), (A, B), GapStatus.OPEN, "its history ends at 2026-11-20T14:30:10.000000Z, before what was heard"),
    "NONE": Case((), (), GapStatus.PROVEN_EMPTY, "nothing was told and nothing heard"),
    "TAIL": Case((A,), (A, B, C), GapStatus.FILLED, "2 of 3 facts", 2),
    "ZWORDS": Case(
        MANY, [(*row[:3], ("1", "12")) for row in MANY], GapStatus.PROVEN_EMPTY, "20 stand beside others of the same instant", 20
    ),
    "ZZNEXT": Case((A,), (A, B), GapStatus.OPEN, "to be reconciled"),
}
"""By symbol."""
OTHERS = {"ZWORDS", "ZZNEXT"}
"""Asked before all others: the first shows that the history says in other words what the feed pushes."""


@contextmanager
def ticks(history: Mapping[str, Sequence[Row]]) -> Iterator[str]:
    """Serve Finnhub's /stock/tick of that day; give the address."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:
            asked = parse_qs(urlsplit(self.path).query)
            rows = history[asked["symbol"][0]] if asked["date"] == ["2026-11-20"] else ()
            columns = {
                "s": asked["symbol"][0], "count": len(rows), "total": len(rows), "t": [OPEN_MS + row[0] * 1_000 for row in rows],
                "p": [row[1] for row in rows], "v": [row[2] for row in rows], "c": [row[3] for row in rows],
            }  # fmt: skip
            self.send_whole(orjson.dumps(columns), "application/json")

    with web_server(Handler) as address:
        yield address


def frame(symbol: str, rows: Sequence[Row]) -> bytes:
    """A frame of Finnhub's stream."""
    told = [{"c": row[3], "p": row[1], "s": symbol, "t": OPEN_MS + row[0] * 1_000, "v": row[2]} for row in rows]
    return orjson.dumps({"data": told, "type": "trade"})


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Lake, dict[str, KnownGap]]]:
    """A lake that heard each symbol and asked for its history, and the spans by symbol."""
    clock = StillClock(OPEN_NS)
    lake, log = opened(tmp_path_factory.mktemp("counts"), clock)
    with lake, log, ticks({symbol: case.history for symbol, case in CASES.items()}) as address:
        recorder = announced(lake, log, "finnhub", "trades", {"trade": list(CASES)})
        frames = [frame(symbol, case.pushed) for symbol, case in CASES.items() if case.pushed]
        recorder.record([Message(n, OPEN_NS + 50 * NANOS_PER_SECOND, "application/json", each) for n, each in enumerate(frames)])
        recorder.flush()
        turn(lake, log)
        clock.sleep(3_600.0)
        _ask(lake, log, address)
        yield lake, {gap.symbol: gap for gap in _standing(lake, log)}


def _ask(lake: Lake, log: SegmentLog, address: str) -> None:
    supply = Supply(OFFERS, lambda provider, feed: Address(http=address), lambda provider: FREE, lambda *asked: ())
    ledger = GapLedger(lake, log, "backfill")
    assert len(look(lake, log, ledger, OFFERS, Reconcile(settle={})).opened) == len(CASES)
    worker = Backfill(lake, log, supply, ledger, sleep=lambda seconds: None, rng=random.Random(1), backoff=FAST)
    for names, rounds in ((OTHERS, 3), (CASES.keys() - OTHERS, 5)):
        for _ in range(rounds):
            worker.work(lambda gap, names=names: gap.symbol in names)  # type: ignore[misc]
            turn(lake, log)
        alerts = Alerts(lake.state, lake.clock, log)
        for alert in [one for one in alerts.listed() if one.kind == DIFFERS]:
            alerts.close(alert.name, "somebody", "looked at")


def _standing(lake: Lake, log: SegmentLog) -> list[KnownGap]:
    """Spans as they stand: by the ledger those that are under way, by the table the others."""
    return [*newest_gaps(lake), *GapLedger(lake, log, "look").under_way()]


@pytest.mark.parametrize("symbol", sorted(CASES))
def test_a_span_is_closed_by_what_its_history_tells(asked: tuple[Lake, dict[str, KnownGap]], symbol: str) -> None:
    lake, spans = asked
    case, gap = CASES[symbol], spans[symbol]
    assert gap.status is case.status and case.words in gap.reason, gap
    rows = read(lake, "normalized.trades", ["ts_event", "price"], [Where("symbol", "=", symbol)]).to_pylist()
    kept = Counter(((row["ts_event"] - EPOCH) // timedelta(seconds=1) - OPEN_MS // 1_000, float(row["price"])) for row in rows)
    pushed, history = (Counter((row[0], row[1]) for row in told) for told in (case.pushed, case.history))
    assert sum(kept.values()) == len(case.pushed) + case.added
    if symbol not in ("ZWORDS", "ZZNEXT"):
        assert kept == pushed | history, "of each trade as many as either tells"


def test_a_history_in_other_words_is_told_and_not_asked_on(asked: tuple[Lake, dict[str, KnownGap]]) -> None:
    lake, spans = asked
    (alert,) = [one for one in Alerts(lake.state, lake.clock).listed(only_open=False) if one.kind == DIFFERS]
    assert alert.subject == "finnhub/trades/trades" and "20 stand beside others" in alert.detail
    assert (alert.who, alert.reason) == ("somebody", "looked at")
    with pytest.raises(NotFoundError, match="no open alert"):
        Alerts(lake.state, lake.clock).close(alert.name, "somebody", "again")
    assert spans["ZZNEXT"].attempts is None, "one is asked first, and while its alert stands no other"
    late = spans["LATE"]
    assert late.next_attempt_at is not None and late.rounds == 1, "a history that is not whole is asked for later"


HOUR = datetime(2026, 11, 20, 14, tzinfo=UTC)


def window(first: int, last: int) -> Window:
    """A window by minutes of an hour."""
    return Window(HOUR + timedelta(minutes=first), HOUR + timedelta(minutes=last))


def test_windows_are_joined_and_taken_away() -> None:
    assert joined([window(10, 20), window(0, 5), window(18, 30)]) == [window(0, 5), window(10, 30)]
    assert joined([window(0, 5), window(10, 20)], timedelta(minutes=5)) == [window(0, 20)]
    assert without(window(0, 60), []) == [window(0, 60)]
    assert without(window(0, 60), [window(10, 20), window(-5, 2), window(50, 90)]) == [window(2, 10), window(20, 50)]
    assert without(window(10, 20), [window(0, 30)]) == without(window(10, 20), [window(0, 15), window(15, 20)]) == []
