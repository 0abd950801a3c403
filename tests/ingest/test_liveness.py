"""Silence of one channel among others, and subscriptions that nobody confirmed: judged without a socket."""

from __future__ import annotations

from ingest.liveness import FLOOR_NS, Liveness
from ingest.subscriptions import ATTEMPTS, PATIENCE_NS, Subscriptions
from lake.instants import NANOS_PER_SECOND

SECOND = NANOS_PER_SECOND


def test_liveness_leaves_quiet_symbols_and_quiet_markets_alone() -> None:
    liveness, counts = Liveness(), {("BUSY", "trades"): 0, ("QUIET", "trades"): 0}
    liveness.begun(counts, 0)
    found = []
    for second in range(1, 4_000):
        counts["BUSY", "trades"] += 10
        counts["QUIET", "trades"] += second % 30 == 0
        found.append(liveness.mute(counts, second * SECOND))
    assert set(found) == {None}
    assert liveness.mute(counts, 4_000 * SECOND + 10 * FLOOR_NS) is None  # all are silent: the market is closed


def test_liveness_does_not_blame_the_feed_for_a_pause_of_ours() -> None:
    liveness, counts = Liveness(), {("A", "trades"): 0, ("B", "trades"): 0}
    liveness.begun(counts, 0)
    for second in range(1, 200):
        counts = {key: count + 5 for key, count in counts.items()}
        assert liveness.mute(counts, second * SECOND) is None
    later = 200 * SECOND + 5 * FLOOR_NS
    liveness.held_up(later)
    counts["A", "trades"] += 1
    assert liveness.mute(counts, later + SECOND) is None
    counts["A", "trades"] += 1
    assert liveness.mute(counts, later + FLOOR_NS) is None
    counts["A", "trades"] += 1
    assert liveness.mute(counts, later + 3 * SECOND + FLOOR_NS) == ("B", "trades")


def test_part_of_an_acknowledgement_leaves_the_rest_to_ask_for() -> None:
    subscriptions = Subscriptions(["trades:A", "trades:B", "quotes:A"])
    subscriptions.begun()
    subscriptions.asked(0)
    subscriptions.confirmed(["trades:A", "bars:A"])
    assert subscriptions.overdue(PATIENCE_NS - 1) == ([], [])
    again, lost = subscriptions.overdue(PATIENCE_NS)
    assert (again, lost) == (["trades:B", "quotes:A"], [])
    for attempt in range(1, ATTEMPTS):
        subscriptions.asked(attempt * PATIENCE_NS)
    assert subscriptions.overdue(ATTEMPTS * PATIENCE_NS) == ([], ["trades:B", "quotes:A"])
    assert subscriptions.overdue(9 * PATIENCE_NS) == ([], [])
