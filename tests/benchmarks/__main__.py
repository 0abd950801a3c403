"""`make bench`: every `bench_*.py` of this folder, or those named; a table of medians and ratios."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import platform
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.benchmarks.cases import Case, Measured, Skipped, measure, ratios
from transforms.kernels import kernel_state

FILE_WIDTH = 140
"""Characters of a line where nobody looks at a terminal."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; returns the exit status: 2 for a benchmark that does not exist."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks to run, like `decode` for bench_decode.py (default: all)")
    parser.add_argument("--rounds", type=int, default=7, help="measured rounds a case (default 7)")
    parser.add_argument("--scale", type=float, default=None, help="share of 20 million ticks, for benchmarks of the lake")
    parser.add_argument("--home", type=Path, default=None, help="folder to fill, and to find filled the next time")
    parser.add_argument("--json", action="store_true", help="one JSON document instead of tables")
    given = parser.parse_args(arguments)
    found = sorted(path.stem.removeprefix("bench_") for path in Path(__file__).parent.glob("bench_*.py"))
    unknown = set(given.names) - set(found)
    if unknown:
        print(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(found) or 'none'}", file=sys.stderr)
        return 2
    offered: list[Case | Skipped] = []
    for name in given.names or found:
        cases = importlib.import_module(f"tests.benchmarks.bench_{name}").cases
        wanted = {"scale": given.scale, "home": given.home, "arctic": os.environ.get("TICKHOUSE_BENCH_ARCTIC")}
        takes = inspect.signature(cases).parameters
        offered.extend(cases(**{key: value for key, value in wanted.items() if value is not None and key in takes}))
    measured: list[Measured] = []
    for group in dict.fromkeys(one.group for one in offered):
        print(f"measuring: {group}", file=sys.stderr)
        chosen = [one for one in offered if isinstance(one, Case) and one.group == group]
        measured.extend(measure(chosen, given.rounds))
    skipped = [one for one in offered if isinstance(one, Skipped)]
    if given.json:
        print(json.dumps(_document(measured, skipped), indent=1))
    else:
        _print(measured, skipped, Console(width=None if sys.stdout.isatty() else FILE_WIDTH))
    return 0


def _document(measured: Sequence[Measured], skipped: Sequence[Skipped]) -> dict[str, object]:
    times = ratios(measured)
    return {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "kernels_compiled": kernel_state().is_compiled,
        "load": os.getloadavg()[0],
        "cases": [
            {
                "group": one.case.group,
                "name": one.case.name,
                "unit": one.case.unit,
                "units": one.units,
                "median_s": one.seconds,
                "median_cpu_s": one.cpu_seconds,
                "units_per_s": one.per_second,
                "ours_is_faster": times[one].wall if one in times else None,
                "ours_takes_less_cpu": times[one].cpu if one in times else None,
                "spread": one.spread,
            }
            for one in measured
        ],
        "skipped": [{"group": one.group, "name": one.name, "reason": one.reason} for one in skipped],
    }


def _print(measured: Sequence[Measured], skipped: Sequence[Skipped], console: Console) -> None:
    times = ratios(measured)
    kernels = "compiled" if kernel_state().is_compiled else "interpreted"
    console.print(
        f"Python {platform.python_version()}, kernels {kernels}, load {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores"
    )
    for group in dict.fromkeys(one.case.group for one in measured):
        mine = [one for one in measured if one.case.group == group]
        table = Table(title=f"{group}: {mine[0].units:,} {mine[0].case.unit}", title_justify="left")
        table.add_column("case")
        for heading in ("median ms", "CPU ms", f"{mine[0].case.unit}/s", "ours is faster", "by CPU", "slowest/fastest"):
            table.add_column(heading, justify="right")
        for one in sorted(mine, key=lambda each: each.seconds):
            is_compared = one in times and not one.case.is_ours
            faster = [f"{times[one].wall:.2f}x", f"{times[one].cpu:.2f}x"] if is_compared else ["", ""]
            name = f"[bold]{one.case.name}[/bold]" if one.case.is_ours else one.case.name
            took = [f"{one.seconds * 1e3:.2f}", f"{one.cpu_seconds * 1e3:.2f}", f"{one.per_second:,.0f}"]
            table.add_row(name, *took, *faster, f"{one.spread:.2f}")
        console.print(table)
    for one in skipped:
        console.print(f"skipped: {one.group}, {one.name}: {one.reason}", markup=False)


if __name__ == "__main__":
    sys.exit(main())
