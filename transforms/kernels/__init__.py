"""Kernels: the few loops that are compiled with mypyc, and the notice of how they run.

Without a C compiler the same sources run interpreted, 20 to 85 times slower, and importing this package says so once a
process. A compiled file that no longer belongs to its source is said too, since Python prefers it over the source
whatever their dates. Telling it at import is the one exception to "nothing happens at import": there is no later moment
that every user of a kernel passes.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import sys
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from pathlib import Path
from types import ModuleType

BUILD_RECORD = "compiled.json"
"""Beside the kernels: the SHA-256 of each source at its last build, written by the Makefile."""

_CLOCK_SLACK_S = 60
"""A source may be this much younger than its compiled file without a build record: installers stamp both as they go."""


class KernelWarning(UserWarning):
    """The kernels run slower than they could, or are not what their sources say."""


@dataclass(frozen=True, slots=True)
class KernelState:
    """How each kernel would be imported now: names of modules, in order."""

    compiled: tuple[str, ...]
    interpreted: tuple[str, ...]
    stale: tuple[str, ...]
    """Compiled from another source than the one that lies beside it."""

    @property
    def is_compiled(self) -> bool:
        """True where every kernel is compiled, and from its present source."""
        return not self.interpreted and not self.stale


class _SourceFinder(MetaPathFinder):
    """Finds the source of a kernel where Python would take the compiled file."""

    def __init__(self, folder: Path, package: str) -> None:
        self.folder, self.package = folder, package

    def find_spec(self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Return the spec of the source of `fullname`, or None for what is not a kernel."""
        package, _, name = fullname.rpartition(".")
        source = self.folder / f"{name}.py"
        if package != self.package or not source.is_file():
            return None
        return importlib.util.spec_from_file_location(fullname, source)


def kernel_state(folder: Path | None = None) -> KernelState:
    """Return how the kernels of `folder` (default: of this package) would be imported."""
    folder = folder or Path(__file__).parent
    recorded = _recorded(folder)
    compiled, interpreted, stale = [], [], []
    for source in _sources(folder):
        binary = next((path for suffix in EXTENSION_SUFFIXES if (path := source.with_suffix(suffix)).is_file()), None)
        if binary is None or _is_source_preferred(folder):
            interpreted.append(source.stem)
            continue
        compiled.append(source.stem)
        at_build = recorded.get(source.stem)
        is_stale = (
            source.stat().st_mtime > binary.stat().st_mtime + _CLOCK_SLACK_S if at_build is None else at_build != _sha256(source)
        )
        if is_stale:
            stale.append(source.stem)
    return KernelState(tuple(compiled), tuple(interpreted), tuple(stale))


def record_build(folder: Path | None = None) -> None:
    """Write down which sources the compiled files beside them were made from; called by the Makefile after a build."""
    folder = folder or Path(__file__).parent
    hashes = {source.stem: _sha256(source) for source in _sources(folder)}
    (folder / BUILD_RECORD).write_text(json.dumps(hashes, indent=1) + "\n", encoding="utf-8")


def notice(state: KernelState) -> str | None:
    """Return what a user should know about `state`, or None when all is well."""
    if state.stale:
        return (
            f"the kernels of tickhouse are stale: {', '.join(state.stale)} changed after compiling, and Python runs the old "
            "compiled file. Run `make kernels`, or `make clean` to go without a compiler."
        )
    if state.interpreted:
        return (
            f"the kernels of tickhouse run interpreted ({', '.join(state.interpreted)}): every answer is the same, decoding "
            "is slower. With a C compiler (`cc`) and Python's headers, `make kernels` compiles them."
        )
    return None


def prefer_source() -> None:
    """Import kernels from their sources from now on, even where compiled; for tests and benchmarks of both forms.

    Raises RuntimeError when a kernel is imported already: two forms in one process would meet as different classes.
    """
    loaded = [name for name in sys.modules if name.startswith(f"{__name__}.")]
    if loaded:
        raise RuntimeError(f"kernels already imported: {', '.join(sorted(loaded))}; call prefer_source() before")
    folder = Path(__file__).parent
    if not _is_source_preferred(folder):
        sys.meta_path.insert(0, _SourceFinder(folder, __name__))


def _is_source_preferred(folder: Path) -> bool:
    return any(isinstance(finder, _SourceFinder) and finder.folder == folder for finder in sys.meta_path)


def _sources(folder: Path) -> list[Path]:
    return sorted(path for path in folder.glob("*.py") if not path.stem.startswith("__"))


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _recorded(folder: Path) -> dict[str, str]:
    record = folder / BUILD_RECORD
    if not record.is_file():
        return {}
    return {str(name): str(value) for name, value in json.loads(record.read_text(encoding="utf-8")).items()}


_words = notice(kernel_state())
if _words is not None:
    warnings.warn(_words, KernelWarning, stacklevel=2)
