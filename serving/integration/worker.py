"""Running jobs one after the other, in a thread of the server; a lease keeps two servers from running the same one."""

from __future__ import annotations

import logging
import threading
from dataclasses import replace

from ingest.simulator.asking import recorded_asks
from lake import scan
from lake.catalog import Lake
from lake.errors import CommitConflictError, NotFoundError, TickhouseError
from lake.log.log import Log
from lake.scan import Where
from quality_checks.holds import list_holds
from serving.integration.jobs import UNFINISHED, Job, Status, failed, is_asked, jobs, save
from serving.operate import asking, pipeline
from serving.operate.configured import open_configured
from serving.operate.logs import open_log
from serving.operate.rights import live_permits
from transforms.feeds import FEEDS

LOGGER = logging.getLogger("tickhouse.integration")
LEASE = "integration"
EXCERPT = 5_000
"""Messages of each recorded stream that the simulator plays to a job: enough of everything, over in seconds."""
_TRIES = 5
_RETRY_S = 1.0


class Worker:
    """The thread that runs jobs; it begins with the first and may be stopped at any time: what was begun is begun again."""

    def __init__(self, lake: Lake) -> None:
        self._lake = lake
        self._lock = threading.Lock()
        self._news = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def is_running(self) -> bool:
        """Whether the thread lives."""
        return self._thread is not None and self._thread.is_alive()

    def wake(self) -> None:
        """Tell the thread that there is something to do; start it where there is something and no thread."""
        with self._lock:
            self._news.set()
            if not self.is_running and self._next() is not None:
                self._stopping.clear()
                self._thread = threading.Thread(target=self._work, name="integration", daemon=True)
                self._thread.start()

    def stop(self) -> None:
        """Let the thread end after the step it is in."""
        self._stopping.set()
        self._news.set()
        if self._thread is not None:
            self._thread.join()

    def _next(self) -> Job | None:
        return next((job for job in jobs(self._lake) if job.status in UNFINISHED), None)

    def _work(self) -> None:
        while not self._stopping.is_set():
            self._news.clear()
            try:
                with self._lake.state.lease(LEASE):
                    job = self._next()
                    if job is not None:
                        run(self._lake, open_log(self._lake.settings), job, self._stopping)
                        continue
            except TickhouseError as error:
                LOGGER.error("jobs: %s", error)
                self._stopping.wait(_RETRY_S)
                continue
            self._news.wait()


def run(lake: Lake, log: Log, job: Job, stopping: threading.Event) -> Job:
    """Run one job to its end and return it; stopped in the middle it stays unfinished."""
    job = save(lake, replace(job, status=Status.VALIDATED, started_at_ns=job.started_at_ns or lake.clock()))
    try:
        if is_asked(job.request.source) and not job.captures:
            job = _captured(lake, log, job, stopping)
            if stopping.is_set():
                return job
            job = save(lake, job)
        done = _turned(lake, log, job.request.source, stopping)
        if done is None:
            return job
        return save(lake, _counted(lake, job, done))
    except TickhouseError as error:
        return failed(lake, job, str(error))
    except Exception as error:
        LOGGER.exception("job %s", job.request_id)
        return failed(lake, job, f"{type(error).__name__} in the server; its log has the rest")


def _captured(lake: Lake, log: Log, job: Job, stopping: threading.Event) -> Job:
    request = job.request
    source = asking.From(lake.settings.jobs_from)
    with asking.reached(source, open_configured(lake).in_force, EXCERPT) as reach:
        wanted = asking.Wanted(request.source, None, request.instruments, request.timeframe or "1d")
        recorded = [ask for ask in recorded_asks(request.source) if not request.instruments or ask.symbol in request.instruments]
        recorded = [ask for ask in recorded if request.timeframe in (None, ask.interval)]
        if source is asking.From.SIMULATOR and recorded_asks(request.source):
            if not recorded:
                raise NotFoundError(
                    f"the simulator has no recording of {', '.join(request.instruments)} {request.timeframe or ''}"
                )
            # A recording answers for its own days only: ask for these.
            wanted = replace(wanted, asks=tuple(recorded))
        with live_permits(lake, log, reach) as permits:
            reports = asking.capture(lake, log, wanted, reach, stopping.is_set, permits)
    verdicts: dict[str, int] = {}
    for report in reports:
        for verdict, count in report.verdicts.items():
            verdicts[verdict] = verdicts.get(verdict, 0) + count
    detail = {"messages": sum(report.messages for report in reports), "verdicts": verdicts, "from": source.value}
    return replace(job, captures=tuple(report.capture_id for report in reports), detail=detail)


def _turned(lake: Lake, log: Log, source: str, stopping: threading.Event) -> pipeline.Turn | None:
    """Land and promote; somebody else's pipeline may be at the same work, and then it is done once."""
    for attempt in range(_TRIES):
        if stopping.is_set():
            return None
        try:
            return pipeline.turn(lake, log, (source,))
        except CommitConflictError:
            if attempt == _TRIES - 1:
                raise
            stopping.wait(_RETRY_S)
    return None


def _counted(lake: Lake, job: Job, done: pipeline.Turn) -> Job:
    """Return the job ended, with what its captures brought; a source that cannot be asked: what its promotion did."""
    if job.captures:
        tables = sorted({name for feed in FEEDS.values() if feed.provider == job.request.source for name in feed.tables})
        mine = [Where("capture_id", "in", list(job.captures))]
        processed = sum(scan.read(lake, name, ["capture_id"], mine).num_rows for name in tables)
        refused = scan.read(lake, "quality.quarantine", ["capture_id"], mine).num_rows
        held = [hold for hold in list_holds(lake) if {one.capture_id for one in hold.ranges} & set(job.captures)]
        held_rows, held_ids = sum(hold.row_count for hold in held), [hold.hold_id for hold in held]
    else:
        told = [table for report in done.promoted.values() for table in report.tables.values()]
        processed, refused = sum(table.rows for table in told), sum(table.quarantined for table in told)
        held_rows, held_ids = sum(table.held for table in told), list(done.holds)
    return replace(
        job,
        status=Status.PROCESSED if held_ids else Status.DISTRIBUTED,
        processed_count=processed,
        failed_count=refused + held_rows,
        error_message=f"held by the gate: {', '.join(held_ids)}; see `tickhouse holds`" if held_ids else None,
        completed_at_ns=lake.clock(),
    )
