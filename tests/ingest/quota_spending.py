"""Real processes that spend from one ledger: `python -m tests.ingest.quota_spending VERB URL ...`.

`race` forks processes that ask for leave as fast as they may for some seconds and write the instant of each call they make;
`die` is killed between leave and call.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Mapping

from ingest.asks import Request
from ingest.plans import Plan, Window
from ingest.quotas import Quotas
from ingest.transport.http import Call
from ingest.verdicts import Reading, Verdict
from lake.instants import NANOS_PER_SECOND, system_clock
from lake.state import State

RACED = Plan("raced", (Window(40, 0.5), Window(100, 2.0)), weights={"heavy": 3})
ONE = Plan("one", (Window(1, 60.0),))
PLANS: Mapping[str, Plan] = {"raced": RACED, "one": ONE}
QUOTE, HEAVY = Request("GET", "/quote", endpoint="quote"), Request("GET", "/heavy", endpoint="heavy")


def ended(verdict: Verdict = Verdict.OK, retry_after_s: float | None = None, **more: object) -> Call:
    """Return a call that came to an end."""
    reading = Reading(verdict, "told by a test", retry_after_s)
    return Call("GET", "http://127.0.0.1/quote", 1, 0, 0, reading, 200, 100, 0, **more)  # type: ignore[arg-type]  # headers


def race(url: str, record: str, seconds: float) -> None:
    """Spend for so many seconds."""
    state, waiting = State(url, system_clock), threading.Event()
    with Quotas(state, PLANS, system_clock) as quotas, open(record, "ab", buffering=0) as file:
        permits = quotas.permits("raced", "none", "live")
        end_ns, number = system_clock() + round(seconds * NANOS_PER_SECOND), 0
        while system_clock() < end_ns or number < 8:
            request = HEAVY if number % 7 == 0 else QUOTE
            leave = permits.before(request)
            if not leave.is_given:
                waiting.wait(leave.wait_s)
                continue
            file.write(f"{os.getpid()} {system_clock()} {RACED.weight(request)}\n".encode())
            permits.after(request, ended())
            number += 1
    state.close()


def die(url: str) -> None:
    """Get leave and be killed before the call."""
    permits = Quotas(State(url, system_clock), PLANS, system_clock).permits("one", "none", "live")
    if permits.before(QUOTE).is_given:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    verb, *words = sys.argv[1:]
    if verb == "race":
        children = [os.fork() for _ in range(2)]  # the second forks too: four processes
        race(words[0], words[1], float(words[2]))
        sys.exit(sum(os.waitpid(child, 0)[1] for child in children if child))
    else:
        die(words[0])
