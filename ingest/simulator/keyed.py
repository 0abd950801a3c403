"""Providers that want a key: the keys that the simulator takes, and their recorded answers found by what is asked."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal
from urllib.parse import parse_qsl, urlsplit

import orjson
from starlette.responses import Response

from ingest.simulator.faults import Frame
from ingest.simulator.recorded import FOLDER

KeyedProvider = Literal["alpaca", "finnhub", "alpha_vantage", "polygon", "tiingo", "yahoo"]
"""Providers with recorded answers of several kinds; of Yahoo a session stands for the key."""
KeyedStream = Literal["alpaca", "finnhub", "polygon", "yahoo", "tiingo"]
_STREAMS: dict[str, str] = {
    "alpaca": "alpaca/stream.jsonl",
    "alpaca_options": "alpaca/options_stream.jsonl",
    "alpaca_crypto": "alpaca/crypto_stream.jsonl",
    "alpaca_news": "alpaca/news_stream.jsonl",
    "finnhub": "finnhub/trades.jsonl",
    "polygon": "polygon/stream.jsonl",
    "tiingo": "tiingo/iex_stream.jsonl",
    "tiingo_reference": "tiingo/reference_stream.jsonl",
    "tiingo_crypto": "tiingo/crypto_stream.jsonl",
    "tiingo_fx": "tiingo/fx_stream.jsonl",
    "yahoo": "yahoo/stream.jsonl",
}


@dataclass(frozen=True, slots=True)
class Keys:
    """What the simulator takes for keys; whoever sends others is refused in each provider's own words."""

    alpaca_key_id: str = "PKSIMULATED000000000"
    alpaca_secret: str = "simulated-alpaca-secret-0000000000000000"
    finnhub_token: str = "simulatedfinnhubtoken0"
    alpha_vantage_key: str = "SIMULATEDAVKEY00"
    polygon_key: str = "simulatedpolygonkey00000"
    tiingo_token: str = "simulatedtiingotoken0000"
    tiingo_free_token: str = "simulatedtiingofreetoken"
    databento_key: str = "db-simulated000000000000000000000"

    def of(self) -> dict[str, tuple[str, ...]]:
        """Return provider -> its keys, in the order in which its credentials take them."""
        return {
            "alpaca": (self.alpaca_key_id, self.alpaca_secret),
            "finnhub": (self.finnhub_token,),
            "alpha_vantage": (self.alpha_vantage_key,),
            "polygon": (self.polygon_key,),
            "tiingo": (self.tiingo_token,),
            "databento": (self.databento_key,),
        }


@dataclass(frozen=True, slots=True)
class Answer:
    """One recorded answer and the request that got it."""

    file: str
    path: str
    params: dict[str, str]
    body: bytes
    status: int
    content_type: str
    date: str | None

    @property
    def document(self) -> Any:
        """The body as JSON; None for CSV."""
        return orjson.loads(self.body) if self.body.lstrip()[:1] in (b"{", b"[") else None


@cache
def answers(provider: KeyedProvider) -> tuple[Answer, ...]:
    """Return every recorded answer of a provider, in the manifest's order; the key's place in the request is left out."""
    folder = FOLDER / provider
    found = []
    for entry in orjson.loads((folder / "_manifest.json").read_bytes()):
        url = urlsplit(entry["url"])
        params = {name: value for name, value in parse_qsl(url.query) if name not in ("apikey", "token", "crumb")}
        content_type = str(entry.get("content_type", "application/json"))
        body = (folder / entry["file"]).read_bytes()
        status, date = int(entry.get("status", 200)), entry.get("date")
        found.append(Answer(entry["file"], url.path, params, body, status, content_type, date))
    return tuple(found)


def whole(answer: Answer) -> Response:
    """Return a recorded answer as it came."""
    dated = {"date": answer.date} if answer.date is not None else {}
    return Response(answer.body, answer.status, {**dated, "content-type": answer.content_type})


@cache
def frames(stream: str) -> tuple[Frame, ...]:
    """Return the recorded frames of a stream, a second apart: nobody recorded when they came."""
    lines = (FOLDER / _STREAMS[stream]).read_bytes().splitlines()
    return tuple(Frame(number, number * 1_000_000_000, stream, line) for number, line in enumerate(lines))
