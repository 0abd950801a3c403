"""The payloads that the simulator replays: real ones, byte for byte, with their origin beside them."""

from __future__ import annotations

import gzip
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import orjson

from ingest.asks import Ask
from ingest.simulator.faults import Frame, Market

FOLDER = Path(__file__).parent / "recordings"
_STREAM = re.compile(rb'\{"stream":"([^"]+)"')
_INTERVAL_S = {"1m": 60, "60m": 3_600, "1h": 3_600, "1d": 86_400, "1wk": 7 * 86_400, "1mo": 31 * 86_400}


@dataclass(frozen=True, slots=True)
class Chart:
    """One recorded answer of Yahoo's chart API; the window is `[start_s, end_s)` in UNIX seconds."""

    file: str
    symbol: str
    interval: str
    start_s: int
    end_s: int
    body: bytes
    status: int = 200
    date: str | None = None
    content_type: str = "application/json;charset=utf-8"

    @property
    def ask(self) -> Ask:
        """The ask that gets exactly this answer."""
        start, end = datetime.fromtimestamp(self.start_s, UTC), datetime.fromtimestamp(self.end_s, UTC)
        return Ask(self.symbol, self.interval, start, end)


@cache
def charts() -> tuple[Chart, ...]:
    """Return every recorded chart, by file name."""
    folder = FOLDER / "yahoo"
    told = {entry["file"]: entry for entry in orjson.loads((folder / "_manifest.json").read_bytes())}
    return tuple(_chart(path, told.get(path.name, {})) for path in sorted(folder.glob("chart_*.json")))


def _chart(path: Path, told: dict[str, object]) -> Chart:
    body = path.read_bytes()
    result = orjson.loads(body)["chart"]["result"][0]
    url = urlsplit(str(told.get("url", "")))
    query = parse_qs(url.query)
    interval = query.get("interval", [result["meta"]["dataGranularity"]])[0]
    period1, period2 = query.get("period1", [""])[0], query.get("period2", [""])[0]
    if not (period1.isdigit() and period2.isdigit()):
        rows = result["timestamp"]
        period1, period2 = str(rows[0]), str(rows[-1] + _INTERVAL_S[interval])
    return Chart(
        file=path.name,
        symbol=unquote(url.path.rsplit("/", 1)[-1]) or result["meta"]["symbol"],
        interval=interval,
        start_s=int(period1),
        end_s=int(period2),
        body=body,
        status=int(str(told.get("status", 200))),
        date=str(told["date"]) if "date" in told else None,
    )


@dataclass(frozen=True, slots=True)
class Recording:
    """One recorded market of Binance: frames in the order received, and the answer to a depth request."""

    frames: tuple[Frame, ...]
    snapshot: bytes

    @property
    def messages(self) -> int:
        """Frames and the snapshot."""
        return len(self.frames) + 1


def binance_file(market: Market) -> Path:
    """Return the recorded file of a market: lines of `<receive time in ns> <frame>`, gzip."""
    return FOLDER / "binance" / f"binance_{market}_btcusdt_20240808.gz"


@cache
def binance(market: Market, excerpt: int | None = None) -> Recording:
    """Return a market's recording, or its first `excerpt` messages (the snapshot stays, wherever it stood)."""
    frames: list[Frame] = []
    snapshot = b""
    with gzip.open(binance_file(market)) as file:
        for number, line in enumerate(file):
            if excerpt is not None and number >= excerpt and snapshot:
                break
            recv, _, payload = line.rstrip(b"\n").partition(b" ")
            stream = _STREAM.match(payload)
            if stream is None:
                snapshot = payload
            elif excerpt is None or number < excerpt:
                frames.append(Frame(len(frames), int(recv), stream[1].decode(), payload))
    return Recording(tuple(frames), snapshot)
