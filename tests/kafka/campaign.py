"""Ten seeds of kills over a real Kafka: `python -m tests.kafka.campaign [SEED [COUNT]]` (`make broker`).

Each seed runs the small job on a lake of its own: killed with -9 at three to five boundaries drawn by the seed, and, for every
other seed, with the broker itself killed and started again meanwhile. Then the job must end like an undisturbed one: the same
content hashes, every check of `verify`, and topics in which each (event id, status) of a publication stands once.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import orjson

from lake.catalog import Lake
from lake.instants import system_clock
from lake.log.kafka import KafkaLog
from lake.log.log import Log
from lake.settings import load_settings
from lake.steps import BOUNDARIES
from serving.topics.publisher import publish
from serving.topics.topics import TOPICS, Form
from tests.end_to_end.processes import KILLED, run_job
from tests.kafka.broker import Broker, jars, started

FIRST_SEED, COUNT = 20261121, 10


def kills_of(seed: int) -> list[str]:
    """Return the boundaries at which the job of a seed is killed."""
    chance = random.Random(seed)
    drawn = [f"{name}:{chance.randint(1, 3)}" for name in chance.sample(BOUNDARIES, chance.randint(2, 4))]
    return [f"capture.appended:{chance.randint(2, 12)}", *drawn]


def broken(broker: Broker, seed: int) -> threading.Timer | None:
    """Kill the broker a few seconds from now and start it again, for every other seed."""
    if seed % 2:
        return None

    def again() -> None:
        broker.kill()
        broker.start()

    timer = threading.Timer(random.Random(seed).uniform(1.0, 4.0), again)
    timer.start()
    return timer


def doubled(log: Log) -> dict[str, int]:
    """Return, for each topic of events, how many (event id, status) stand in it more than once."""
    found = {}
    for topic in TOPICS.values():
        if topic.form is not Form.EVENTS:
            continue
        seen: Counter[tuple[str, int, str]] = Counter()
        for partition, bound in log.bounds(topic.name).items():
            offset = bound.first
            while offset < bound.next:
                batch = log.read(topic.name, partition, offset, 8 << 20, 0.0)
                for _, block in batch.blocks:
                    document = orjson.loads(block.payload)
                    seen[document["event_id"], document["revision"], document["status"]] += 1
                offset = batch.next_offset
        found[topic.name] = sum(count > 1 for count in seen.values())
    return {name: count for name, count in found.items() if count}


def tried(seed: int, broker: Broker, folder: Path, undisturbed: dict[str, object]) -> list[str]:
    """Return what is wrong after the job of one seed; nothing when all is well."""
    home, log_url = folder / f"seed-{seed}", f"kafka://{broker.address}/seed-{seed}"
    kills = kills_of(seed)
    timer = broken(broker, seed)
    deaths = [kill for kill in kills if run_job(home, kill, log_url)[0] == KILLED]
    if timer is not None:
        timer.join()
    code, document = run_job(home, log_url=log_url)
    faults = [f"the last run ended with {code}"] if code else []
    if not code:
        faults += [f"{name} differs" for name in ("hashes", "rows") if document[name] != undisturbed[name]]
        faults += [f"verify: {document['verify_failed']}"] if document["verify_failed"] else []
        faults += [] if document["captured"] == document["landed"] else ["captured and landed differ"]
        settings = load_settings(home=home, log_url=log_url)
        with Lake.open(settings, system_clock) as lake, KafkaLog(log_url, system_clock) as log:
            publish(lake, log, log_url)
            faults += [f"doubled events: {twice}" for twice in [doubled(log)] if twice]
    with_broker = ", broker killed" if timer is not None else ""
    print(f"seed {seed}: killed at {', '.join(deaths)}{with_broker}: {'; '.join(faults) or 'same as undisturbed'}", flush=True)
    return faults


def main(first: int, count: int) -> int:
    """Run the seeds; returns how many went wrong."""
    folder = Path(tempfile.mkdtemp(prefix="tickhouse-broker-"))
    broker = started(jars(), folder / "broker")
    began = time.monotonic()
    try:
        code, undisturbed = run_job(folder / "undisturbed", log_url=f"kafka://{broker.address}/undisturbed")
        if code:
            print(f"the undisturbed job ended with {code}")
            return 1
        wrong = [seed for seed in range(first, first + count) if tried(seed, broker, folder, undisturbed)]
    finally:
        broker.stop()
    print(f"{count} seeds in {time.monotonic() - began:.0f} s, wrong: {wrong or 'none'}")
    if not wrong:
        shutil.rmtree(folder)
    return len(wrong)


if __name__ == "__main__":
    given = [int(word) for word in sys.argv[1:3]]
    sys.exit(min(1, main(*(given + [FIRST_SEED, COUNT][len(given) :]))))
