"""Logging, set up once by an entry point: words for a person, or one JSON object a line for a machine.

Modules write to `logging.getLogger(__name__)` with a plain sentence and, where a machine wants them, fields in `extra`.
Nothing is configured at import.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from typing import Literal, TextIO

_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    """One JSON object a record: at, level, logger, message, what `extra` named, and the error if any."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON; a value that JSON does not know is given as text."""
        entry: dict[str, object] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        entry.update((name, value) for name, value in vars(record).items() if name not in _OWN)
        if record.exc_info is not None:
            entry["error"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, ensure_ascii=False)


def set_up_logging(stream: TextIO, form: Literal["text", "json"] = "text", level: int | str = logging.WARNING) -> logging.Handler:
    """Send every record of `level` and above to `stream`, and return the handler; calling it again replaces the last one.

    No logger is silenced, only the handler chooses: the quality gate reads Soda's errors from its log records.
    """
    handler = logging.StreamHandler(stream)
    handler.set_name("tickhouse")
    handler.setLevel(level)
    handler.setFormatter(JsonFormatter() if form == "json" else logging.Formatter("%(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    for earlier in [found for found in root.handlers if found.get_name() == "tickhouse"]:
        root.removeHandler(earlier)
    root.addHandler(handler)
    root.setLevel(min(root.level, handler.level))
    return handler
