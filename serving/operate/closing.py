"""The part of `up` that asks again for what was lost, and for what schedules want and the lake does not have. Shell.

The pipeline lands, publishes and so proves what came; here is asked and judged.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ingest.reach import Reach
from lake.catalog import Lake
from serving.operate import backfilling
from serving.operate.logs import open_log
from serving.outcomes import PASSING

GAPS_S = 30.0
"""Pause between two looks at what is missing."""
SPANS_S = 300.0
"""Pause between two looks for what was listened to and can be asked for again."""


Tell = Callable[..., None]
"""How a part tells what it does: an event, and words."""


def run(lake: Lake, reached: Reach, stopping: threading.Event, tell: Tell, *, is_recorded: bool) -> None:
    """Look, ask and judge until `stopping` is set; trouble is told and passes.

    is_recorded   recordings are played, of other days than ours: nothing that was listened to can be asked for again
    """
    log = open_log(lake.settings)
    tell("waiting", words="fills what is missing")
    looked = -SPANS_S
    while not stopping.is_set():
        try:
            opened = backfilling.look_for_scheduled(lake, log)
            with backfilling.supplied(lake, log, reached, is_recorded=is_recorded) as supply:
                if not is_recorded and time.monotonic() - looked >= SPANS_S:
                    looked = time.monotonic()
                    opened += backfilling.open_spans(lake, log, supply.offers).opened
                done = backfilling.fill(lake, log, supply, lambda gap: True, promotes=False, is_stopped=stopping.is_set)
        except PASSING as error:
            tell("trouble", words=str(error))
        else:
            if opened or done.questions or done.stories:
                spans = sum(gap.is_reconcile for gap in opened)
                words = f"{len(opened) - spans} found missing, {spans} spans to be reconciled"
                tell("gaps", words=f"{words}; {done.words()}")
        stopping.wait(GAPS_S)
