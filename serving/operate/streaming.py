"""Listening to the streams of a provider: which symbols are this shard's, how many sockets they take, all of them at once."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from ingest.capture import CaptureReport, Listening, capture_streams
from ingest.giving_up import GivingUp
from ingest.permits import Permits, Together
from ingest.providers.registry import Provider, Push
from ingest.reach import Reach
from ingest.shards import Shard, by_connection
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

    A stream that stays dead is an alert at once, and raises ProviderUnavailableError when the others have ended.
    Raises SettingsError without keys.
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
    found = capture_streams(lake, log, sockets, is_stopped=is_stopped, sleep=sleep)
    for each in found:
        if isinstance(each, ProviderUnavailableError):
            raise each
    return [each for each in found if isinstance(each, CaptureReport)]


def _part(shard: Shard, number: int, count: int) -> str:
    """Return the name of one socket among all of a feed's; none where it is alone."""
    words = [f"shard{shard.number}of{shard.count}"] if shard.count > 1 else []
    words += [f"socket{number}of{count}"] if count > 1 else []
    return "-".join(words)
