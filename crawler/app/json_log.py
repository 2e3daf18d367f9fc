"""The log: one JSON object a line, in the fields Cloud Logging understands.

https://cloud.google.com/logging/docs/structured-logging
"""

from __future__ import annotations

import logging
import sys
import traceback
from typing import Any

import msgspec

LOGGER = logging.getLogger("crawler")


class JsonLogFormatter(logging.Formatter):
    """The format of a record: {"severity": ..., "message": ..., and whatever `extra={"fields": ...}` held}."""

    def format(self, record: logging.LogRecord) -> str:
        """Write one line; a line break in a message can't make two of it."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        if record.exc_info and record.exc_info[1]:
            # The places only: an exception's own text may hold a URL with a key in it.
            fields = fields | {"stack_trace": "".join(traceback.format_tb(record.exc_info[2]))}
        return msgspec.json.encode(
            {"severity": record.levelname, "message": record.getMessage(), **fields}, enc_hook=str
        ).decode()


def log_json() -> None:
    """Send this package's log to standard output, a JSON object a line; calling it again changes nothing."""
    if not any(isinstance(handler.formatter, JsonLogFormatter) for handler in LOGGER.handlers):
        handler = logging.StreamHandler(sys.stdout)
        handler.setFormatter(JsonLogFormatter())
        LOGGER.addHandler(handler)
        LOGGER.setLevel(logging.INFO)
        # The framework's own handler would print every line a second time.
        LOGGER.propagate = False
