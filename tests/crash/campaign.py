"""The crash campaign: `python -m tests.crash.campaign [SEED [COUNT [KIND ...] [short]]]`, `make crash`; see README.md."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path

from lake.catalog import Lake
from lake.instants import system_clock
from lake.settings import load_settings
from tests.crash import acts, disks
from tests.crash.children import Child, Say, end_all
from tests.crash.plan import EPISODES, KINDS, Plan, plan_of
from tests.crash.seed import SeedRun, Tally

FIRST_SEED, COUNT = 20261121, 200
WORKERS = 2


class Driver:
    """Runs seeds one after the other, each on a fresh copy of one empty lake at one place (Iceberg keeps absolute paths)."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "seed"
        self.template = folder / "template"
        folder.mkdir(parents=True)

    def run(self, plan: Plan) -> Tally:
        """Run one seed. When something is wrong its lake is kept, and the next one gets another place."""
        disks.mount(self.place) if any(one.kind == "full disk" for one in plan.episodes) else self.place.mkdir(exist_ok=True)
        if not self.template.exists():
            made = Child.fork("template", lambda say, wait: self._make(), self.folder / "last words")
            if made.end():
                raise RuntimeError((self.folder / "last words").read_text())
            shutil.move(self.place / "place" / "home", self.template)
        run = SeedRun(plan, self.place, self.template)
        try:
            run.run()
        except Exception:
            run.tally.wrong.append(traceback.format_exc())
        if run.tally.wrong:
            self._keep(plan.seed, run.tally)
        disks.unmount(self.place)
        shutil.rmtree(self.place)
        return run.tally

    def _make(self) -> None:
        with Lake.create(load_settings(home=self.place / "place" / "home"), system_clock) as lake:
            acts.captures(lake)

    def _keep(self, seed: int, tally: Tally) -> None:
        kept = self.folder / f"kept-{seed}"
        shutil.copytree(self.place, kept)
        shutil.move(self.folder / "last words", kept / "last words")
        (kept / "trace.txt").write_text("\n".join([*tally.trace, *tally.wrong]), encoding="utf-8")


def drive(folder: Path, plans: list[Plan], say: Say) -> None:
    """Run plans, telling a line of JSON of each."""
    driver = Driver(folder)
    for plan in plans:
        began = time.monotonic()
        tally = driver.run(plan)
        seconds = time.monotonic() - began
        kinds_met = ", ".join(one.kind for one in plan.episodes)
        print(f"seed {plan.seed}: {kinds_met}: {'WRONG' if tally.wrong else 'right'} ({seconds:.1f} s)", flush=True)
        say(
            json.dumps(
                {"seed": plan.seed, "seconds": seconds, "counts": tally.counts, "wrong": tally.wrong, "trace": tally.trace}
            )
        )


def run_plans(plans: list[Plan], workers: int = WORKERS) -> list[dict[str, object]]:
    """Run plans in several drivers, a line of each as it ends; returns what each told."""
    folder = Path(tempfile.mkdtemp(prefix="tickhouse-crash-"))
    drivers = [
        Child.fork(
            f"driver {number}",
            lambda say, wait, number=number: drive(folder / f"driver-{number}", plans[number::workers], say),  # type: ignore[misc]
            folder / "last words",
        )
        for number in range(workers)
    ]
    told: list[dict[str, object]] = []
    for driver, code in zip(drivers, end_all(drivers, patience_s=3600.0), strict=True):
        told += [json.loads(line) for line in driver.lines]
        if code:
            print((folder / "last words").read_text(), flush=True)
            raise RuntimeError(f"{driver.name} ended with {code}")
    if any(one["wrong"] for one in told):
        print(f"lakes and traces are kept in {folder}", flush=True)
    else:
        shutil.rmtree(folder)
    return sorted(told, key=lambda one: int(str(one["seed"])))


def summary(told: list[dict[str, object]], seconds: float) -> str:
    """Return the table at the end."""
    total: Counter[str] = Counter()
    for one in told:
        total.update(one["counts"])  # type: ignore[call-overload]
    wrong = [one["seed"] for one in told if one["wrong"]]
    lines = [f"{'seeds':<44}{len(told):>8}", *(f"{name:<44}{total[name]:>8}" for name in sorted(total))]
    return "\n".join([*lines, f"{'seconds':<44}{seconds:>8.0f}", f"{'wrong':<44}{', '.join(map(str, wrong)) or 'none':>8}"])


def main(first: int, count: int, words: list[str]) -> int:
    """Run the campaign and print its table; returns 1 when a seed went wrong. Words: kinds of faults, `short`."""
    began = time.monotonic()
    print(f"SEED={first} COUNT={count}", flush=True)
    kinds = tuple(word for word in words if word != "short") or KINDS
    episodes = 1 if "short" in words else EPISODES
    told = run_plans([plan_of(seed, kinds, episodes) for seed in range(first, first + count)], min(WORKERS, count))
    for one in told:
        if one["wrong"]:
            print("\n".join(one["trace"]))  # type: ignore[arg-type]
            print(f"seed {one['seed']} WRONG: " + "\n  ".join(one["wrong"]))  # type: ignore[arg-type]
            print(" ".join([f"again: python -m tests.crash.campaign {one['seed']} 1", *(f"'{word}'" for word in words)]))
    print(summary(told, time.monotonic() - began))
    return int(any(one["wrong"] for one in told))


if __name__ == "__main__":
    os.environ.pop("TICKHOUSE_KILL_AT", None)
    numbers = [int(word) for word in sys.argv[1:3]]
    first_seed, seeds = numbers + [FIRST_SEED, COUNT][len(numbers) :]
    sys.exit(main(first_seed, seeds, sys.argv[3:]))
