"""One seed: a lake of its own through its episodes, each fault followed by restart, recovery and an exact check."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

from lake import faults
from lake.catalog import Lake
from lake.errors import CommitConflictError, CommitUnknownError, NotFoundError, StorageError, TickhouseError
from lake.instants import system_clock
from lake.settings import Settings, load_settings
from tests.crash import acts, checks, disks, power
from tests.crash.children import Child, Say
from tests.crash.plan import Episode, Plan
from tests.crash.reader import keep_reading
from tests.crash.world import World

RACING = (CommitConflictError, NotFoundError)
DISK = (CommitConflictError, CommitUnknownError, StorageError, OSError)
ZOMBIE = (TickhouseError, OSError)
LOCKED = (CommitUnknownError,)
"""A zombie that may not be killed can stop inside a transaction of SQLite, by its heartbeat: all wait until it wakes."""


@dataclass(slots=True)
class Tally:
    """What happened, for the table at the end."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    trace: list[str] = field(default_factory=list)

    def told(self, line: str) -> None:
        """Add a line to the trace."""
        self.trace.append(line)


class SeedRun:
    """A seed on its lake in `folder`, an empty one that is its own."""

    def __init__(self, plan: Plan, folder: Path, template: Path) -> None:
        self.plan = plan
        self.world = World(plan.seed, has_corrections=not plan.is_real)
        self.folder = folder
        self.place = folder / "place"
        """The lake and its backups: what a power cut befalls."""
        self.home = self.place / "home"
        self.words = folder.parent / "last words"
        self.moments = folder / "moments.json"
        self.tally = Tally(trace=[str(plan)])
        self.acknowledged: dict[str, int] = {}
        shutil.copytree(template, self.home)

    def run(self) -> Tally:
        """Go through the plan; stops at the first thing wrong, so that the lake is left as it was found."""
        for episode in self.plan.episodes:
            self._episode(episode)
            self._check(f"after episode {episode.number}")
            if self.tally.wrong:
                return self.tally
        last = self.start("the last", lambda say, wait: self._finish(say))
        self._ended(last, (0,))
        self._check("at the end", is_finished=True)
        return self.tally

    # --- episodes

    def _episode(self, episode: Episode) -> None:
        self.tally.counts[episode.kind] += 1
        until, stop = os.pipe()
        is_full = episode.kind == "full disk"
        reader = None
        if episode.kind != "power cut":
            reader = self.start("reader", lambda say, wait: keep_reading(self.home, self.world, say, until, may_fail=is_full))
        try:
            self._befall(episode)
        finally:
            os.write(stop, b".")
            if reader is not None:
                self._read(reader)
            os.close(stop)
            os.close(until)

    def _befall(self, episode: Episode) -> None:
        how = {
            "kill": self._kill,
            "boundary": self._boundary,
            "zombie": self._zombie,
            "zombie elsewhere": self._zombie,
            "input/output": self._failing,
            "full disk": self._full,
            "second writer": self._second_writer,
            "power cut": self._power_cut,
        }
        how[episode.kind](episode)

    def _kill(self, episode: Episode) -> None:
        """kill -9 in the middle of an act."""
        worker = self._worker(episode)
        worker.wait_for(f"act {random.Random(str(episode)).randrange(len(episode.acts))}")
        worker.live_on(episode.after_s)
        worker.send(signal.SIGKILL)
        self._ended(worker, (0, -signal.SIGKILL))

    def _boundary(self, episode: Episode) -> None:
        """The worker kills itself between two durable acts."""
        self._ended(self._worker(episode, kill_at=episode.at), (0, -signal.SIGKILL), episode.at)

    def _zombie(self, episode: Episode) -> None:
        """The worker is stopped, a successor takes over and goes on, then the worker wakes."""
        elsewhere = {"host": "elsewhere", "lease_expiry_s": 0.5} if episode.kind == "zombie elsewhere" else {}
        zombie = self._worker(episode, allowed=ZOMBIE, **({"kill_at": f"{episode.at}:STOP"} if episode.at else {}), **elsewhere)
        if not episode.at:
            zombie.wait_for(f"act {random.Random(str(episode)).randrange(len(episode.acts))}")
            zombie.live_on(episode.after_s)
            zombie.send(signal.SIGSTOP)
        if not zombie.is_stopped():
            self._ended(zombie, (0,), "never stopped")
            return
        here = {"lease_expiry_s": 0.5} if elsewhere else {}
        successor = self._worker(episode, second=True, allowed=LOCKED if elsewhere else (), **here)
        self._ended(successor, (0,), "successor")
        zombie.send(signal.SIGCONT)
        self._ended(zombie, (0, -signal.SIGKILL), f"zombie of {episode.at or 'an instant'}")

    def _failing(self, episode: Episode) -> None:
        """Writes, fsyncs, links or deletions fail; then the disk is well again and the same process goes on."""
        worker = self._worker(episode, fail_at=episode.at, allowed=DISK)
        if worker.wait_for("well again?"):
            worker.tell()
        self._ended(worker, (0,), episode.at)

    def _full(self, episode: Episode) -> None:
        """The disk is full; then there is room again and the same process goes on."""
        kib = int(episode.at.split()[0])
        with disks.filled(self.folder, kib << 10) as is_real:
            limit = None if is_real else max(kib, 8) << 10
            self.tally.counts["full disk, real" if is_real else "full disk, file size limited"] += 1
            worker = self._worker(episode, allowed=DISK, limit=limit)
            is_waiting = worker.wait_for("well again?")
        if is_waiting:
            worker.tell()
        self._ended(worker, (0,), episode.at)

    def _second_writer(self, episode: Episode) -> None:
        """Two writers at once, the second without leases; the first may be killed meanwhile."""
        first = self._worker(episode, allowed=RACING)
        second = self._worker(episode, second=True, allowed=RACING, has_leases=False)
        if episode.after_s:
            first.wait_for("act 1")
            first.live_on(episode.after_s)
            first.send(signal.SIGKILL)
        self._ended(first, (0, -signal.SIGKILL), "first")
        self._ended(second, (0,), "second")

    def _power_cut(self, episode: Episode) -> None:
        """What the worker did is done again up to a cut, less what was not synced; twice, the seed goes on from the second."""
        if not power.can_trace():
            self.tally.counts["power cut, skipped without strace"] += 1
            self._ended(self._worker(episode), (0,))
            return
        image, record = self.folder / "image", self.folder / "record"
        shutil.rmtree(image, ignore_errors=True)
        shutil.copytree(self.place, image)
        worker = self._worker(episode, waits=True)
        tracer = power.attach(worker, record)
        worker.tell()
        if worker.end():
            self.tally.wrong.append(f"{worker.name} under strace ended with {worker.code}: see `last words`")
        tracer.wait()
        done = list(power.calls(record))
        chance, known = random.Random(str(episode)), dict(self.acknowledged)
        moments = self.moments.read_bytes() if self.moments.exists() else b"[]"
        for through in (chance.random(), float(episode.at.split()[0])):
            cut = int(through * len(done))
            kept = chance.choice(("nothing", "nothing", "some", "all"))
            disk = power.Disk(self.place, image)
            for call in done[:cut]:
                disk.do(call)
            shutil.rmtree(self.place)
            disk.put(self.place, chance, kept)
            self.moments.write_bytes(moments)
            self.acknowledged = dict(known)
            self._acknowledge(line.removeprefix("ack ") for line in disk.acknowledged)
            told = f"cut at call {cut} of {len(done)}, {kept} kept of what was not synced; {len(disk.acknowledged)} acknowledged"
            self.tally.told(f"    {told}")
            self.tally.counts[f"power cuts, {kept} kept"] += 1
            self._check(told)

    # --- children

    def start(self, name: str, act: object) -> Child:
        """Fork a child of this seed."""
        return Child.fork(name, act, self.words)  # type: ignore[arg-type]

    def _worker(
        self,
        episode: Episode,
        *,
        second: bool = False,
        allowed: tuple[type[Exception], ...] = (),
        has_leases: bool = True,
        limit: int | None = None,
        waits: bool = False,
        **chosen: object,
    ) -> Child:
        names = episode.second if second else episode.acts
        name = f"{'second' if second else 'worker'} of episode {episode.number}"
        settings = load_settings(home=self.home, **acts.UPKEEP, **chosen)
        job = Job(self.world, self.plan.is_real, names, f"{self.plan.seed}/{name}", allowed, has_leases, limit, waits)
        return self.start(name, lambda say, wait: job.work(settings, say, wait))

    def _ended(self, child: Child, codes: Iterable[int], told: str = "") -> None:
        code = child.end()
        self._acknowledge(child.said("ack "))
        refused = child.said("refused ")
        for line in refused:
            self.tally.counts[f"refused: {line.split()[1]}"] += 1
        self.tally.counts["acts"] += len(child.said("act "))
        self.tally.counts["killed" if code == -signal.SIGKILL else "ended"] += 1
        if code == -signal.SIGKILL and ":" in told:
            self.tally.counts[f"killed at {told.partition(':')[0]}"] += 1
        self.tally.told(f"    {child.name} {told}: ended with {code} after {child.lines[-1:]}; refused {refused}")
        if code not in codes:
            self.tally.wrong.append(f"{child.name} ended with {code}: see `last words`")

    def _acknowledge(self, lines: Iterable[str]) -> None:
        for line in lines:
            place, _, vector = line.partition(" ")
            for key, position in json.loads(vector).items():
                self.acknowledged[f"{place}/{key}"] = max(self.acknowledged.get(f"{place}/{key}", 0), position)

    def _read(self, reader: Child) -> None:
        if reader.end():
            self.tally.wrong.append("the reader died: see `last words`")
            return
        told = json.loads(reader.lines[-1])
        self.tally.counts["readings"] += told["readings"]
        self.tally.wrong += told["wrong"]

    def _check(self, when: str, *, is_finished: bool = False) -> None:
        checker = self.start(f"check {when}", lambda say, wait: self._checked(say, is_finished))
        if checker.end():
            self.tally.wrong.append(f"{when}: the check itself died: see `last words`")
            return
        document = json.loads(checker.lines[-1])
        self.tally.wrong += [f"{when}: {fault}" for fault in document["faults"]]
        self.tally.counts["checks"] += 1
        if is_finished:
            self.tally.counts["rows"] += document["rows"]

    def _checked(self, say: Say, is_finished: bool) -> None:
        with Lake.open(load_settings(home=self.home), system_clock) as lake:
            acts.recover(lake)
            found = list(checks.faults(lake, self.world, self.moments, self.acknowledged, self.plan.is_real))
            found += checks.finished(lake, self.plan.is_real) if is_finished else []
            say(json.dumps({"faults": found, "rows": checks.rows(lake)}))

    def _finish(self, say: Say) -> None:
        with Lake.open(load_settings(home=self.home, **acts.UPKEEP), system_clock) as lake:
            worker = acts.Worker(lake, self.world, random.Random(self.plan.seed), self.plan.is_real, batch=72)
            worker.told = lambda table, owner, vector: say(f"ack {table}/{owner} {json.dumps(vector)}")
            worker.proved = lambda restored: checks.prove(restored, self.world, self.plan.is_real)
            acts.recover(lake)
            acts.finish(worker, with_upkeep=len(self.plan.episodes) > 1)


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker does in its process.

    allowed   errors that an act may end with; the next act goes on
    limit     no file may grow beyond so many bytes: a full disk where none can be mounted
    waits     begins only when told
    """

    world: World
    is_real: bool
    names: tuple[str, ...]
    chance: str
    allowed: tuple[type[Exception], ...]
    has_leases: bool
    limit: int | None
    waits: bool

    def work(self, settings: Settings, say: Say, wait: object) -> None:
        """Do the acts; after errors of the disk wait until it is well again, and go on in the same process."""
        if self.waits:
            wait()  # type: ignore[operator]
        has_trouble = OSError in self.allowed and TickhouseError not in self.allowed
        with disks.limited(self.limit):
            try:
                with Lake.open(settings, system_clock) as lake:
                    self._acts(lake, say)
                    if has_trouble:
                        self._go_on(lake, say, wait)
            except StorageError as error:
                if not has_trouble:
                    raise
                say(f"refused open {type(error).__name__} {' '.join(str(error).split())[:200]}")
                say("well again?")
                wait()  # type: ignore[operator]
                with Lake.open(settings, system_clock) as lake:
                    self._acts(lake, say)

    def _worker(self, lake: Lake, say: Say) -> acts.Worker:
        worker = acts.Worker(lake, self.world, random.Random(self.chance), self.is_real, self.has_leases)
        worker.told = lambda table, owner, vector: say(f"ack {table}/{owner} {json.dumps(vector)}")
        worker.proved = lambda restored: checks.prove(restored, self.world, self.is_real)
        return worker

    def _acts(self, lake: Lake, say: Say) -> None:
        worker = self._worker(lake, say)
        if self.has_leases and not self._try(say, "recover", lambda: acts.recover(lake)) and self.allowed == LOCKED:
            return
        for number, name in enumerate(self.names):
            say(f"act {number} {name}")
            self._try(say, name, lambda name=name: acts.ACTS[name](worker))  # type: ignore[misc]

    def _go_on(self, lake: Lake, say: Say, wait: object) -> None:
        """Once the disk is well again: no error is forgiven any more."""
        say("well again?")
        wait()  # type: ignore[operator]
        faults.stand("")
        disks.unlimited()
        acts.recover(lake)
        worker = self._worker(lake, say)
        for name in ("land", "promote"):
            acts.ACTS[name](worker)

    def _try(self, say: Say, name: str, act: object) -> bool:
        """Do an act; whether it was not refused for a reason that is allowed here."""
        try:
            act()  # type: ignore[operator]
            return True
        except self.allowed as error:
            say(f"refused {name} {type(error).__name__} {' '.join(str(error).split())[:200]}")
            return False
