"""What happens to the lake of a seed: episodes of acts, each with a fault drawn by the seed; written out to be read."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.crash.acts import ACTS, WEIGHTS

EPISODES = 5
KINDS = ("kill", "boundary", "zombie", "zombie elsewhere", "input/output", "full disk", "second writer", "power cut")
REAL_EVERY = 10
"""Every so many seeds promote through the real gate."""
BOUNDARIES = {
    "land.files": 3,
    "land.committed": 3,
    "append.files": 2,
    "append.committed": 2,
    "commit.prepared": 9,
    "publish.files": 4,
    "publish.staged": 4,
    "publish.published": 4,
    "hold.linked": 1,
    "hold.described": 1,
    "hold.committed": 1,
    "release.linked": 1,
    "release.staged": 1,
    "release.published": 1,
    "reject.quarantined": 1,
    "reject.committed": 1,
    "compact.files": 1,
    "compact.proved": 1,
    "compact.committed": 1,
    "expire.committed": 1,
    "sweep.listed": 1,
    "sweep.epoch": 1,
    "sweep.decided": 1,
    "sweep.deleted": 1,
    "backup.objects": 9,
    "backup.pinned": 1,
    "backup.listed": 1,
}
"""Boundary -> in which of its first passes the fault may strike."""
NEEDED = {
    "release": ("decide", "decide"),
    "reject": ("decide", "decide"),
    "compact": ("compact", "compact"),
    "expire": ("expire", "expire"),
    "sweep": ("compact", "sweep", "sweep"),
    "backup": ("backup",),
}
"""Acts that lead to a boundary, by its beginning."""
ERRORS = ("EIO", "ENOSPC", "SHORT")
DOORS = {"write": 60, "fsync": 24, "folder": 24, "link": 2, "delete": 6}
"""Door of lake.durable -> in which of its first passes the error may strike."""


@dataclass(frozen=True, slots=True)
class Episode:
    """One process at work, and what befalls it.

    at        boundary and pass (`publish.staged:2`), door, pass and error (`fsync:7:EIO`), or how far through the record
    after_s   for a random instant: seconds after the first act
    second    acts of the racing writer, or of the successor
    """

    number: int
    kind: str
    acts: tuple[str, ...]
    at: str = ""
    after_s: float = 0.0
    second: tuple[str, ...] = field(default=())

    def __str__(self) -> str:
        where = f" at {self.at}" if self.at else f" after {self.after_s:.3f} s" if self.after_s else ""
        beside = f" | beside or after it: {' '.join(self.second)}" if self.second else ""
        return f"{self.number}. {self.kind}{where}: {' '.join(self.acts)}{beside}"


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that a seed decides."""

    seed: int
    is_real: bool
    episodes: tuple[Episode, ...]

    def __str__(self) -> str:
        gate = "the real gate" if self.is_real else "the light gate"
        return "\n".join([f"seed {self.seed}, {gate}", *(f"  {episode}" for episode in self.episodes)])


def plan_of(seed: int, kinds: tuple[str, ...] = KINDS, count: int = EPISODES) -> Plan:
    """Return the plan of a seed, always the same. Kinds rotate: eight seeds in a row meet each kind `count` times."""
    chance = random.Random(seed)
    is_real = seed % REAL_EVERY == 0
    episodes = []
    for number in range(count):
        kind = kinds[(seed * count + number) % len(kinds)]
        episodes.append(_episode(chance, number, kind))
    return Plan(seed, is_real, tuple(episodes))


def _episode(chance: random.Random, number: int, kind: str) -> Episode:
    acts = drawn(chance, chance.randint(3, 7))
    second: tuple[str, ...] = ()
    at, after_s = "", 0.0
    if kind == "kill":
        after_s = chance.uniform(0.0, 1.2)
    elif kind in ("boundary", "zombie", "zombie elsewhere"):
        name = chance.choice(sorted(BOUNDARIES))
        at = f"{name}:{chance.randint(1, BOUNDARIES[name])}"
        second = drawn(chance, 4) if kind != "boundary" else ()
        acts = ("land", "promote", "promote", "promote", *NEEDED.get(name.partition(".")[0], ()), *acts)
        if kind == "zombie" and chance.random() < 0.5:
            at, after_s = "", chance.uniform(0.0, 1.2)
    elif kind == "input/output":
        door = chance.choice(sorted(DOORS))
        first = chance.randint(1, DOORS[door])
        last = chance.choice((f"{first}", f"{first}-{first + chance.randint(1, 12)}"))
        error = chance.choice(ERRORS if door == "write" else ERRORS[:1] if door == "fsync" else ERRORS[:2])
        at = f"{door}:{last}:{error}"
    elif kind == "full disk":
        at = f"{chance.choice((0, 8, 40, 160, 400))} KiB free"
    elif kind == "second writer":
        second = drawn(chance, len(acts), ("land", "promote", "decide"))
        after_s = chance.choice((0.0, chance.uniform(0.2, 1.2)))
    elif kind == "power cut":
        at = f"{chance.random():.4f} of the record"
    return Episode(number, kind, acts, at, after_s, second)


def drawn(chance: random.Random, count: int, names: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return acts by weight; the first is a landing, so that there is something to do."""
    known = [name for name in names or tuple(ACTS) if name in ACTS]
    return ("land", *chance.choices(known, [WEIGHTS[name] for name in known], k=count))
