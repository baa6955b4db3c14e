"""Log lines: one event per line, as text or as JSON.

Owns: the form of a line, and where lines go. Never: which events are logged.
"""

import json
import logging
import sys

from fox_shard.config import Config
from fox_shard.printable import printable


class TextFormatter(logging.Formatter):
    """`time LEVEL process event key=value …`, one line an event."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(getattr(record, "fox", {}))
        process = fields.pop("process", "")
        text = " ".join(f"{key}={printable(str(value))}" for key, value in fields.items())
        when, event = self.formatTime(record), record.getMessage()
        # What concerns the whole server is of no process.
        whose = f"{process} " if process else ""
        line = f"{when} {record.levelname:<7} {whose}{event} {text}"
        if record.exc_info:
            line = f"{line}\n{self.formatException(record.exc_info)}"
        return line.rstrip()


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            **getattr(record, "fox", {}),
        }
        if record.exc_info:
            entry["traceback"] = self.formatException(record.exc_info)
        return json.dumps(entry)


class _FieldsInMessage(logging.Filter):
    """Adds the fields to a record's message: formatters of applications know nothing of them."""

    def filter(self, record: logging.LogRecord) -> bool:
        fields = {} if record.args else getattr(record, "fox", {})
        texts = (f"{key}={printable(str(value))}" for key, value in fields.items())
        record.msg = " ".join((str(record.msg), *texts))
        return True


_FIELDS_IN_MESSAGE = _FieldsInMessage()


def leave_logging_to_application() -> None:
    """Let handlers that are not of this package show whole events, until `set_up_logging`."""
    logging.getLogger("fox").addFilter(_FIELDS_IN_MESSAGE)


def set_up_logging(config: Config) -> None:
    """To standard error, as section [log] says.

    The websockets library would log the headers and queries of clients, which may hold cookies and
    tokens, and all that they send.
    """
    logging.getLogger("fox").removeFilter(_FIELDS_IN_MESSAGE)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if config.log.format == "json" else TextFormatter())
    logging.basicConfig(level=config.log.level.upper(), handlers=[handler], force=True)
    logging.getLogger("websockets").setLevel(logging.WARNING)
