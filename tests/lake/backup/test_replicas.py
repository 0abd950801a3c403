"""Replicas: read at once, measured, promoted, and then two generations kept apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from lake.backup import replicas
from lake.catalog import Lake
from lake.errors import InvalidValueError, SettingsError
from lake.identity import Role, identity_of
from lake.instants import system_clock
from lake.log.log import RAW_TOPIC
from lake.publish import publish, stage
from tests.lake.backup.making import RAW, TRADES, capture_into, content, embedded_log, grow, payloads, settings_at
from tests.lake.made import trade_batch


def test_a_replica_follows_is_measured_and_takes_over(tmp_path: Path) -> None:
    home, there = tmp_path / "home", tmp_path / "there"
    with Lake.create(settings_at(home), system_clock) as lake, embedded_log(lake) as log:
        log.begin(RAW_TOPIC, 0, 20)
        grow(lake, 0, 9)
        assert replicas.sync(lake, there, log).new_files > 0
        with Lake.open(settings_at(there), system_clock) as replica:
            assert content(replica) == content(lake)
            with pytest.raises(SettingsError, match="is a replica"):
                publish(replica, stage(replica, trade_batch(10, 19)))
            grow(lake, 10, 19)
            behind = {one.table: one for one in replicas.lag(lake, there) if one.missing}
            assert set(behind) == {RAW, TRADES}
            assert behind[TRADES].oldest_s >= behind[TRADES].newest_s >= 0.0
            capture_into(log, 0, 2)
            again = replicas.sync(lake, there, log)
            assert (again.new_files, again.log_blocks) == (4, 3), "two days of messages, two of trades"
            assert content(replica) == content(lake), "an open reader sees it"
            assert not any(one.missing for one in replicas.lag(lake, there))

        done = replicas.promote(settings_at(there), system_clock)
        assert (done.epoch, done.log_blocks, done.fenced) == (1, 3, True)
        assert replicas.promote(settings_at(there), system_clock).epoch == 1, "once is enough"
        with Lake.open(settings_at(there), system_clock) as promoted, embedded_log(promoted) as taken:
            assert payloads(taken, 20) == [b"m0", b"m1", b"m2"]
            publish(promoted, stage(promoted, trade_batch(20, 29)))
            assert promoted.head(TRADES).vector("binance") == {"0": 30}
        with pytest.raises(SettingsError, match="generation 1"):
            publish(lake, stage(lake, trade_batch(20, 29)))
        assert lake.head(TRADES).vector("binance") == {"0": 20}


def test_a_primary_out_of_reach_is_fenced_when_it_syncs(tmp_path: Path) -> None:
    home, there = tmp_path / "home", tmp_path / "there"
    with Lake.create(settings_at(home), system_clock) as lake:
        grow(lake, 0, 9)
        replicas.sync(lake, there, None)
    home.rename(tmp_path / "away")
    assert not replicas.promote(settings_at(there), system_clock).fenced
    (tmp_path / "away").rename(home)
    with Lake.open(settings_at(home), system_clock) as lake:
        with pytest.raises(SettingsError, match="was promoted to generation 1"):
            replicas.sync(lake, there, None)
        assert identity_of(lake.state).role is Role.FENCED
        with pytest.raises(SettingsError, match="may not be written any more"):
            publish(lake, stage(lake, trade_batch(10, 19)))


def test_a_replica_goes_to_a_place_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").touch()
    with Lake.create(settings_at(tmp_path / "home"), system_clock) as lake:
        for place in (tmp_path / "home", tmp_path / "mine"):
            with pytest.raises(InvalidValueError, match=place.name):
                replicas.sync(lake, place, None)
        Lake.create(settings_at(tmp_path / "other"), system_clock).close()
        with pytest.raises(SettingsError, match="a lake of its own"):
            replicas.sync(lake, tmp_path / "other", None)
        with pytest.raises(SettingsError, match="is no replica"):
            replicas.promote(lake.settings, system_clock)
