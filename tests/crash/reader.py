"""A reader in a process of its own, beside the worker and its faults: it must never see a wrong count.

Again and again it reads one table whole. Rows must be the world's, each once, never fewer than the time before; where main's head
did not move meanwhile, they are exactly what the position and the holds say, less what is in quarantine.
"""

from __future__ import annotations

import json
import select
from collections.abc import Iterator
from pathlib import Path

from lake.catalog import Lake
from lake.errors import TickhouseError
from lake.instants import system_clock
from lake.scan import read
from lake.settings import load_settings
from tests.crash.acts import quarantined
from tests.crash.children import Say
from tests.crash.world import PROVIDERS, TRADES, World, partition_of

PAUSE_S = 0.05
_COLUMNS = ["provider", "message_seq", "price"]


def keep_reading(home: Path, world: World, say: Say, until: int, *, may_fail: bool) -> None:
    """Read until the handle `until` can be read; tell the number of readings and what was wrong.

    may_fail    a reading may end in an error of ours (the disk is full): it is counted, and nothing else is forgiven
    """
    readings, errors, wrong = 0, 0, list[str]()
    lake: Lake | None = None
    seen: dict[str, set[int]] = {provider: set() for provider in PROVIDERS}
    while not select.select([until], [], [], PAUSE_S)[0]:
        try:
            lake = lake or Lake.open(load_settings(home=home), system_clock)
            wrong += _reading(lake, world, seen)
        except (TickhouseError, OSError) as error:
            errors += 1
            if not may_fail:
                wrong.append(f"reader: {type(error).__name__}: {error}")
        readings += 1
    if lake is not None:
        lake.close()
    say(json.dumps({"readings": readings, "errors": errors, "wrong": wrong[:5]}))


def _reading(lake: Lake, world: World, seen: dict[str, set[int]]) -> Iterator[str]:
    before = lake.head(TRADES)
    found = read(lake, TRADES, _COLUMNS)
    after = lake.head(TRADES)
    for provider in PROVIDERS:
        mine = [(row["message_seq"], row["price"]) for row in found.to_pylist() if row["provider"] == provider]
        numbers = {number for number, _ in mine}
        if len(numbers) != len(mine):
            yield f"reader: DOUBLED rows of {provider}: {len(mine)} rows of {len(numbers)} messages"
        if any(price != world.price(provider, number) for number, price in mine):
            yield f"reader: WRONG prices of {provider}"
        if lost := sorted(seen[provider] - numbers):
            yield f"reader: LOST rows of {provider} that were there: {lost[:9]}"
        seen[provider] = numbers
        if before.snapshot_id != after.snapshot_id:
            continue
        key = partition_of(provider)
        expected = set(world.numbers_of(TRADES, range(after.vector(provider).get(key, 0))))
        for one in after.holds:
            if one.owner == provider:
                expected -= set(range(one.before.get(key, 0), one.after[key]))
        missing = expected - numbers
        if numbers - expected or missing - set(quarantined(lake, provider) if missing else []):
            wrong = sorted(missing ^ (numbers - expected))[:9]
            yield f"reader: {provider} has {len(numbers)} rows, expected {len(expected)}: {wrong}"
