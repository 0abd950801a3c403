"""The most memory that a process held, as its kernel counted (VmHWM).

`getrusage` would count what the parent held when it started this process, which for a benchmark that made its data is more.
"""

from __future__ import annotations

from pathlib import Path


def peak_mb() -> float:
    """Return the most this process held since it began, or since `forget_peak`."""
    (line,) = [one for one in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if one.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


def forget_peak() -> float:
    """Let the kernel count the peak from what is held now, and return that."""
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    return peak_mb()
