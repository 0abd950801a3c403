"""What an installation looks like: settings in force, and checks with advice. Reads only."""

from __future__ import annotations

import os
import platform
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

from ingest.clock_offset import agreed
from ingest.tallies import clock_offsets
from lake.catalog import Lake
from lake.errors import NotFoundError, TickhouseError
from lake.instants import Clock
from lake.log.log import RAW_TOPIC
from lake.profiles import Profile, profile_of
from lake.settings import Settings, without_password
from lake.tables import TABLES
from serving.operate.configured import open_configured
from serving.operate.logs import open_log
from serving.operate.safekeeping import words_of_ages
from transforms.kernels import kernel_state

LOW_DISK_BYTES = 2 * 1024**3
"""Below this a day of one busy feed may not fit any more."""
_PACKAGES = ("pyiceberg", "pyarrow", "duckdb", "polars", "soda-core", "fastapi", "uvicorn", "typer")
_PREFIX = "TICKHOUSE_"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at: state `ok`, `note` (works, worth knowing) or `bad` (needs a hand)."""

    name: str
    state: str
    found: str
    advice: str = ""

    def document(self) -> dict[str, str]:
        """Return the check as plain values."""
        return asdict(self)


def settings_in_force(settings: Settings, *, home_given: bool) -> list[dict[str, str]]:
    """Return every setting with its value, where it came from and the variable that sets it."""
    rows = []
    for name in type(settings).model_fields:
        variable = _PREFIX + name.upper()
        if name == "home" and home_given:
            source = "--home"
        else:
            source = "environment" if variable in os.environ else "default"
        rows.append(
            {"setting": name, "value": without_password(str(getattr(settings, name))), "from": source, "variable": variable}
        )
    return rows


def is_initialised(settings: Settings) -> bool:
    """Return whether `tickhouse init` has run for these settings."""
    try:
        Lake.open(settings, lambda: 0)
    except NotFoundError:
        return False
    return True


def examine(settings: Settings, clock: Clock) -> list[Check]:
    """Return all checks of the installation, the home folder and the lake in it."""
    return [*_installation(), _profile(profile_of(settings)), *_folder(settings.home), *_lake(settings, clock)]


def _profile(profile: Profile) -> Check:
    found = f"{profile.name}: catalog {profile.catalog}, state {profile.state}, files {profile.files}, log {profile.log}"
    if profile.name == "mixed" and not profile.state.startswith("postgres"):
        return Check(
            "profile", "note", found, "State in a file is one machine's: several need TICKHOUSE_STATE_URL on PostgreSQL."
        )
    return Check("profile", "ok", found)


def _installation() -> Iterator[Check]:
    version = platform.python_version()
    fits = sys.version_info >= (3, 11)
    yield Check("python", "ok" if fits else "bad", version, "" if fits else "Install Python 3.11 or newer.")
    missing = []
    found = []
    for package in _PACKAGES:
        try:
            found.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            missing.append(package)
    yield Check("packages", "ok", ", ".join(found))
    kernels = kernel_state()
    if kernels.stale:
        yield Check("kernels", "note", f"stale: {', '.join(kernels.stale)}", "Compiled from an older source: run `make kernels`.")
    elif kernels.interpreted:
        yield Check(
            "kernels", "note", "interpreted", "Same answers, slower decoding; `make kernels` compiles them where cc exists."
        )
    else:
        yield Check("kernels", "ok", f"compiled: {', '.join(kernels.compiled)}")
    if missing:
        yield Check("missing packages", "bad", ", ".join(missing), "Run `make install`, or `pip install -e .`.")


def _folder(home: Path) -> Iterator[Check]:
    nearest = next(folder for folder in (home, *home.parents) if folder.exists())
    try:
        with tempfile.NamedTemporaryFile(dir=nearest):
            yield Check("home", "ok", f"{home} can be written")
    except OSError as error:
        yield Check("home", "bad", f"{home}: {error.strerror}", "Choose another --home, or mend the permissions.")
    free = shutil.disk_usage(nearest).free
    enough = free >= LOW_DISK_BYTES
    advice = "" if enough else "Capture slows and then stops when the disk is full; free some space."
    yield Check("disk", "ok" if enough else "note", f"{free / 1024**3:.1f} GiB free", advice)


def _lake(settings: Settings, clock: Clock) -> Iterator[Check]:
    try:
        lake = Lake.open(settings, clock)
    except NotFoundError:
        yield Check(
            "lake",
            "note",
            f"none at {settings.home}, {without_password(settings.catalog_url)}",
            "Run `tickhouse init`, or `tickhouse demo`.",
        )
        return
    except TickhouseError as error:
        yield Check("lake", "bad", str(error), "See the message; `tickhouse verify` looks deeper.")
        return
    unreadable = []
    holds = []
    for name in TABLES:
        try:
            holds += [hold.hold_id for hold in lake.head(name).holds]
        except TickhouseError as error:
            unreadable.append(f"{name}: {error}")
    if unreadable:
        yield Check("tables", "bad", "; ".join(unreadable), "A head without its position cannot be written on; restore it.")
    else:
        yield Check("tables", "ok", f"{len(TABLES)} tables, each head with its position")
    if holds:
        yield Check(
            "holds", "note", f"{len(holds)} open: {', '.join(holds)}", "Look with `tickhouse holds`, then release or reject."
        )
    else:
        yield Check("holds", "ok", "none open")
    yield from _acquisition(lake)
    for name, found, advice in words_of_ages(lake):
        yield Check(name, "note" if advice else "ok", found, advice)
    bounds = open_log(settings).bounds(RAW_TOPIC)
    blocks = sum(bound.next - bound.first for bound in bounds.values())
    yield Check("log", "ok", f"{blocks} blocks of messages kept in {len(bounds)} partitions")


def _acquisition(lake: Lake) -> Iterator[Check]:
    configured = open_configured(lake)
    now, refusal = configured.now(), configured.refusal()
    if refusal:
        words = f"the file is refused, version {now.version} goes on: {len(refusal)} mistakes"
        yield Check("configuration", "bad", words, "`tickhouse config check` names every one.")
    else:
        yield Check("configuration", "ok", f"version {now.version}" if now.version else "none: all as shipped")
    bounds = agreed(clock_offsets(lake.state).values(), lake.clock())
    if bounds is None:
        yield Check("clock", "ok", "not measured yet: no provider itself was asked")
        return
    found = f"providers' clocks less ours: between {bounds.low_ns / 1e9:.3f} and {bounds.high_ns / 1e9:.3f} s"
    is_wrong = bounds.surely_ns > now.configuration.thresholds.clock_offset_s * 1e9
    advice = "Every age and freshness is wrong by as much: run NTP." if is_wrong else ""
    yield Check("clock", "bad" if is_wrong else "ok", found, advice)
