"""History that must not be lost and must not stop the work that made it: what the log does not take now waits in the state.

A call to a provider goes on when the log is full; the row about it is appended before the next one. A row may come twice
after a crash between append and forgetting: landing drops a row of history whose key it has.
"""

from __future__ import annotations

import base64
import logging
import secrets

import pyarrow as pa

from lake.errors import CommitConflictError, CommitUnknownError, LogFullError, ProviderUnavailableError
from lake.log.blocks import decode_rows, encode_rows
from lake.log.history import append_history
from lake.log.log import Log
from lake.state import State

LOGGER = logging.getLogger("tickhouse.lake")
WAITING = "history_waiting"
"""Kind of the documents that hold rows the log did not take."""


class Outbox:
    """Rows of history on their way into the log; without a log they wait for a process that has one."""

    def __init__(self, state: State, log: Log | None) -> None:
        self._state, self._log = state, log

    def put(self, table: str, rows: pa.Table) -> None:
        """Append rows of a history table, after those that wait; kept in the state while the log takes nothing."""
        try:
            if self._log is not None:
                self.flush()
                append_history(self._log, table, rows)
                return
        except (LogFullError, CommitConflictError, CommitUnknownError, ProviderUnavailableError) as error:
            LOGGER.warning("rows of %s wait in the state, the log takes nothing: %s", table, error)
        payload = base64.b64encode(encode_rows(table, rows).payload).decode()
        self._state.save_document(WAITING, secrets.token_hex(8), {"rows": payload})

    def flush(self) -> int:
        """Append what waits and return how many blocks; raises as the log's `append` does."""
        if self._log is None:
            return 0
        waiting = self._state.documents(WAITING)
        for key, document in waiting.items():
            append_history(self._log, *decode_rows(base64.b64decode(document["rows"])))
            self._state.change_document(WAITING, key, lambda _: None)
        return len(waiting)
