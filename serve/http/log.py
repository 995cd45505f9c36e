"""The server's log: time, level, the request's id, what happened."""

from __future__ import annotations

import logging
import time

from serve.http.envelope import request_id

FORMAT = "%(asctime)s.%(msecs)03dZ %(levelname)s %(request_id)s %(message)s"


def log_to_stderr() -> None:
    """Sends all that is logged from INFO on to standard error, one line an event, times in UTC."""
    handler = logging.StreamHandler()
    handler.addFilter(_with_id)
    formatter = logging.Formatter(FORMAT, "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def _with_id(record: logging.LogRecord) -> bool:
    record.request_id = request_id.get()
    return True
