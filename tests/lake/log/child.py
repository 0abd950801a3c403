"""A process of its own over one log: `python -m tests.lake.log.child IMPLEMENTATION PLACE VERB …`.

append WRITER FIRST COUNT   append COUNT groups of three blocks and print `group offset` after each
release READER TIMES        read all, release to there, and print the bounds, TIMES times
fill LIMIT                  append under a limit on file sizes until there is no room; then without the limit
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from lake.errors import LogFullError
from lake.instants import system_clock
from lake.log.log import Block, Log, Offset
from tests.lake.log.implementations import IMPLEMENTATIONS

GROUP = 3
TOPIC = "raw"


def group(writer: str, number: int) -> list[Block]:
    """Return the blocks of one append; their payloads tell which."""
    return [Block(writer, f"{writer}/{number}/{part}/".encode() * 10, part + 1) for part in range(GROUP)]


def read_all(log: Log, partition: int = 0, topic: str = TOPIC) -> list[tuple[Offset, Block]]:
    """Return every block from the first offset on."""
    bounds = log.bounds(topic).get(partition)
    found: list[tuple[Offset, Block]] = []
    offset = bounds.first if bounds else 0
    while True:
        batch = log.read(topic, partition, offset, 2_000, 0)
        if not batch.blocks:
            return found
        found.extend(batch.blocks)
        offset = batch.next_offset


def append(log: Log, writer: str, first: int, count: int) -> None:
    for number in range(first, first + count):
        print(number, log.append(TOPIC, 0, group(writer, number)), flush=True)


def release(log: Log, reader: str, times: int) -> None:
    for _ in range(times):
        read_all(log)
        log.release(TOPIC, reader, {partition: bounds.next for partition, bounds in log.bounds(TOPIC).items()})
        print(log.bounds(TOPIC)[0].first, log.bounds(TOPIC)[0].next, flush=True)


def consume(log: Log, reader: str) -> None:
    while True:
        found = read_all(log)
        for offset, block in found:
            print(offset, block.payload.decode(), flush=True)
        if found:
            log.release(TOPIC, reader, {0: found[-1][0] + 1})
        print("released", flush=True)


def fill(log: Log, limit: int) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    number = 0
    try:
        while True:
            log.append(TOPIC, 0, [Block("k", bytes([number % 256]) * 20_000, part) for part in range(GROUP)])
            number += 1
    except LogFullError:
        print("full", number, len(read_all(log)), flush=True)
    try:
        log.append(TOPIC, 0, [Block("k", b"still full" * 2_000, 1)] * GROUP)
    except LogFullError:
        print("still", number, len(read_all(log)), flush=True)
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    log.append(TOPIC, 0, group("after", 0))
    print("after", number + 1, len(read_all(log)), flush=True)


def main() -> None:
    name, place, verb, *values = sys.argv[1:]
    log = IMPLEMENTATIONS[name](Path(place), system_clock)
    if verb == "append":
        append(log, values[0], int(values[1]), int(values[2]))
    elif verb == "release":
        release(log, values[0], int(values[1]))
    elif verb == "consume":
        consume(log, values[0])
    else:
        fill(log, int(values[0]))


if __name__ == "__main__":
    main()
