"""Listening to the streams of a provider: which symbols are this shard's, how many sockets they take, all of them at once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext

from ingest.capture import CaptureReport, Listening, capture_streams
from ingest.connections import Connections
from ingest.giving_up import GivingUp
from ingest.permits import Permits, Together
from ingest.plans import UNLIMITED, key_name
from ingest.providers.registry import Provider, Push
from ingest.reach import Reach
from ingest.shards import Shard, by_connection
from ingest.shipped_plans import plans_of
from lake.catalog import Lake
from lake.errors import ProviderUnavailableError
from lake.log.log import Log
from quality_checks.alerts import Alerts


def listen(
    lake: Lake,
    log: Log,
    provider: Provider,
    wanted: Mapping[Push, Sequence[str]],
    reach: Reach,
    *,
    shard: Shard,
    is_stopped: Callable[[], bool],
    permits: Permits,
    sleep: Callable[[float], None] = time.sleep,
) -> list[CaptureReport]:
    """Listen to this shard's symbols of several streams at once, until all end; returns a report for each socket.

    A stream that stays dead is an alert at once, and raises ProviderUnavailableError when the others have ended; so do sockets
    that the plan allows the key and another process holds. Raises SettingsError without keys.
    """
    alerts = Alerts(lake.state, lake.clock, log)
    sockets: list[Listening] = []
    for push, symbols in wanted.items():
        groups = by_connection(shard.share(provider.name, push.feed, symbols), push.symbols_per_connection)
        for number, group in enumerate(groups, 1):
            patience = GivingUp(alerts, provider.name, push.feed)
            sockets.append(
                Listening(
                    provider.name,
                    push.feed,
                    push.session(group, reach.secrets(provider.name)),
                    reach.listened(provider.name, push),
                    _part(shard, number, len(groups)),
                    Together([permits, patience]),
                    patience.listening,
                )
            )
    with _claimed(lake, provider, reach, Counter(each.feed for each in sockets)):
        found = capture_streams(lake, log, sockets, is_stopped=is_stopped, sleep=sleep)
    for each in found:
        if isinstance(each, ProviderUnavailableError):
            raise each
    return [each for each in found if isinstance(each, CaptureReport)]


def _claimed(lake: Lake, provider: Provider, reach: Reach, wanted: Mapping[str, int]) -> AbstractContextManager[None]:
    """Hold the sockets that a provider's key may have; a simulator's are as many as are wanted."""
    if reach.is_recorded:
        return nullcontext()
    plan, key = plans_of(reach.configuration()).get(provider.name, UNLIMITED), key_name(reach.secrets(provider.name))
    return Connections(lake.state, provider.name, key, plan, lake.settings.lease_expiry_s, time.sleep).claimed(wanted)


def _part(shard: Shard, number: int, count: int) -> str:
    """Return the name of one socket among all of a feed's; none where it is alone."""
    words = [f"shard{shard.number}of{shard.count}"] if shard.count > 1 else []
    words += [f"socket{number}of{count}"] if count > 1 else []
    return "-".join(words)
