"""`python -m tests.fuzz [READER…] [--seconds N] [--seed N]`: readers of files fuzzed by coverage, with atheris.

Each reader runs in a process of its own, its kernels interpreted, since compiled ones tell no coverage. What it found lies in
the folder named, with the line that repeats it.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import tempfile
import zlib
from pathlib import Path

NAMES = (
    *("tops", "deep", "itch", "itch_gzip", "dbn", "dbn_zstd", "dbz"),
    *("fix", "ibkr_wire", "ibkr_history", "taq_trades", "taq_quotes", "tradier"),
)
"""Those of `readers.py`, which is imported where its imports are instrumented."""
LONGEST_BYTES = 4_096


def main(arguments: list[str]) -> int:
    """Fuzz each reader told, else all; 0 when nothing was found, also where atheris is not installed."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("readers", nargs="*", metavar="READER", help=f"of {', '.join(NAMES)}; all by default")
    parser.add_argument("--seconds", type=int, default=60, help="for each reader")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--folder", type=Path, help="where seeds and finds lie; a new one by default")
    parser.add_argument("--alone", action="store_true", help="in this process, which ends with it")
    parser.add_argument("--repeat", type=Path, help="lead this one file through one reader, and nothing else")
    told = parser.parse_args(arguments)
    unknown = sorted(set(told.readers) - set(NAMES))
    if unknown:
        parser.error(f"unknown readers {', '.join(unknown)}")
    if told.repeat is not None:
        _repeat(told.readers[0], told.repeat)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("readers are not fuzzed by coverage: atheris is not installed (pip install 'tickhouse[fuzz]')")
        return 0
    folder = told.folder or Path(tempfile.mkdtemp(prefix="tickhouse-fuzz-"))
    if told.alone:
        _fuzz(told.readers[0], told.seconds, told.seed, folder)
    return _each(told.readers or NAMES, told.seconds, told.seed, folder)


def _each(names: list[str] | tuple[str, ...], seconds: int, seed: int, folder: Path) -> int:
    finds = 0
    for name in names:
        place = folder / name
        (place / "seeds").mkdir(parents=True, exist_ok=True)
        print(f"{name}: {seconds} s, seed {seed}", flush=True)
        alone = [sys.executable, "-W", "ignore", "-m", "tests.fuzz", name, "--alone", "--folder", str(place)]
        ended = subprocess.run(
            [*alone, "--seconds", str(seconds), "--seed", str(seed)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        print(*[line for line in ended.stdout.splitlines() if line.startswith("Done ")], sep="\n", flush=True)
        if ended.returncode:
            finds += 1
            print(ended.stdout[-4_000:])
            for found in sorted(place.glob("found-*")):
                print(f"repeat: python -m tests.fuzz {name} --repeat {found}")
    print(f"{finds} of {len(names)} readers failed")
    return int(finds > 0)


def _fuzz(name: str, seconds: int, seed: int, folder: Path) -> None:
    """Fuzz one reader until its time is over or something is found; never returns."""
    import atheris

    import transforms.kernels

    transforms.kernels.prefer_source()
    with atheris.instrument_imports(include=["ingest", "transforms"]):
        from tests.fuzz.readers import READERS
        from tests.fuzz.whole_way import go_whole_way
    reader = READERS[name]
    for number, content in enumerate(reader.seeds):
        (folder / "seeds" / str(number)).write_bytes(content)
    options = [f"-max_total_time={seconds}", f"-seed={seed}", f"-max_len={LONGEST_BYTES}", f"-artifact_prefix={folder}/found-"]

    def one(content: bytes) -> None:
        go_whole_way(reader, [content], until_decoded=zlib.crc32(content) % 8 > 0)

    atheris.Setup([sys.argv[0], *options, str(folder / "seeds")], one)
    atheris.Fuzz()


def _repeat(name: str, path: Path) -> None:
    from tests.fuzz.readers import READERS
    from tests.fuzz.whole_way import go_whole_way

    print(go_whole_way(READERS[name], [path.read_bytes()]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
