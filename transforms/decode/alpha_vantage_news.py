"""Alpha Vantage's NEWS_SENTIMENT: an article once for each ticker it names, and the ticker's scores as measures.

A currency is written FOREX:USD or CRYPTO:BTC. Kept in raw only: topics, banners. Source: Alpha Vantage's documentation; bodies
made by hand in its form.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa

from transforms.decode.alpha_vantage_series import answer_of
from transforms.decode.decoded import ALTERNATIVE, NEWS, Decoded
from transforms.decode.exchange_symbols import hints
from transforms.decode.json_digits import text_of
from transforms.decode.measures import lines, text_value_of
from transforms.decode.readers import Object, Reader, Row, object_of, read_messages
from transforms.numbers import NumberRefusedError

NEWS_TABLES = (NEWS, ALTERNATIVE)
_STAMP = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)?\Z")
_SCORES = ("relevance_score", "ticker_sentiment_score", "ticker_sentiment_label")


def decode_news(messages: pa.Table) -> Decoded:
    """Return articles and their tickers' scores."""
    reader = Reader(NEWS_TABLES)

    def read(payload: bytes) -> None:
        found = answer_of(payload)
        if found is None:
            return
        articles = found.get("feed") if isinstance(found, dict) else None
        if not isinstance(articles, list):
            raise NumberRefusedError("unsupported_answer", payload[:200], "feed: a list of articles")
        for article in articles:
            reader.add_all(NEWS, _article, article, reader.delivered)
            for each in _sentiments(article):
                reader.add_all(ALTERNATIVE, _scores, article, each, reader.delivered)

    return read_messages(reader, messages, read)


def _sentiments(article: object) -> list[object]:
    told = article.get("ticker_sentiment") if isinstance(article, dict) else None
    return told if isinstance(told, list) else []


def _article(entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry, "an article")
    headline, url = text_of(told.get("title")), text_of(told.get("url"))
    if headline is None or url is None:
        raise NumberRefusedError("missing_headline", told, "title and url")
    authors = told.get("authors")
    article = {
        "news_id": url,
        "headline": headline,
        "summary": text_of(told.get("summary")),
        "author": ", ".join(str(name) for name in authors) or None if isinstance(authors, list) else None,
        "source": text_of(told.get("source")),
        "url": url,
        "ts_event": _published(told),
        "delivered_at": delivered,
    }
    tickers = [text_of(each.get("ticker")) for each in _sentiments(entry) if isinstance(each, dict)]
    names = [name for name in dict.fromkeys(tickers) if name is not None]
    for who in [_who(name) for name in names] or [{}]:
        yield article | who


def _scores(article: object, entry: object, delivered: datetime | None) -> Iterator[Row]:
    told = object_of(entry)
    ticker = text_of(told.get("ticker"))
    if ticker is None:
        raise NumberRefusedError("missing_symbol", told, "ticker")
    at = _published(object_of(article))
    return lines(_who(ticker) | {"ts_event": at, "delivered_at": delivered}, "measure", told, _SCORES, text_value_of)


def _who(ticker: str) -> Row:
    market, colon, _ = ticker.partition(":")
    if colon:
        return {"symbol": ticker, "asset_class": "crypto" if market == "CRYPTO" else "fx"}
    return hints(ticker) | {"symbol": ticker}


def _published(told: Object) -> datetime:
    found = _STAMP.match(str(told.get("time_published")))
    try:
        if found is not None:
            year, month, day, hour, minute, second = (part or "00" for part in found.groups())
            at = datetime.fromisoformat(f"{year}-{month}-{day}T{hour}:{minute}:{second}+00:00")
            if 1970 <= at.year <= 2199:
                return at
    except ValueError as error:
        raise NumberRefusedError("timestamp", told.get("time_published"), "a time like 20220410T013000") from error
    raise NumberRefusedError("timestamp", told.get("time_published"), "a time like 20220410T013000")
