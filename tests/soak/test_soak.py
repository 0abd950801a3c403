"""The two-minute form of `make soak`: a part of a day, a storm of every part."""

from __future__ import annotations

from pathlib import Path

from tests.soak.campaign import soak


def test_a_short_storm_loses_nothing_and_closes_every_gap(tmp_path: Path) -> None:
    outcome = soak(seed=7, minutes=20, incidents=60, rate=20.0, folder=tmp_path)
    assert outcome.wrong == [], outcome.figures
    assert outcome.figures["gaps"].get("filled", 0) > 0, outcome.figures
    assert sum(outcome.figures["spans reconciled"].values()) > 0, outcome.figures
    assert outcome.figures["incidents met"] > 0
