"""The log: one JSON line an event in `state/logs/`, and readable lines on a terminal.

An event is named `noun.past_participle`; `schemas/event.py` is the vocabulary. Instants are UTC. The
file is `meterhub.<UTC date>.jsonl`; several processes may write to it at once, since each line is one
appending write.
"""

import errno
import json
import logging
import os
import sys
from pathlib import Path
from threading import Lock
from typing import TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from config.errors import OperatorError
from config.home import Home
from config.settings import Settings
from schemas.event import EVENTS

_OF_A_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_JSON = json.JSONEncoder(default=str, ensure_ascii=False)


def configure(home: Home, settings: Settings, *, console: bool, strict: bool = False) -> None:
    """Set the log up, once a process.

    With `console`, events are shown on standard error, too. With `strict`, an event that is not in the
    vocabulary raises a ValueError: tests run so.
    """
    level = logging.getLevelNamesMapping()[settings.log.level.upper()]
    chain: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
    ]
    if strict:
        chain.append(_in_vocabulary)
    chain.append(_DayFile(home.logs))
    chain.append(_terminal() if console else _file_only)
    structlog.configure(
        processors=chain,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,  # a process that is configured anew means it
    )
    root = logging.getLogger()
    for handler in [one for one in root.handlers if isinstance(one, _Library)]:
        root.removeHandler(handler)
    root.addHandler(_Library(logging.WARNING))


def file_of(logs: Path, day: str) -> Path:
    """The file with the events of a UTC day such as `2013-09-03`."""
    return logs / f"meterhub.{day}.jsonl"


def _in_vocabulary(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    if event["event"] not in EVENTS:
        raise ValueError(f"no such event: {event['event']}; add it to schemas/event.py")
    return event


def _file_only(_logger: WrappedLogger, _method: str, _event: EventDict) -> EventDict:
    raise structlog.DropEvent


def _terminal() -> Processor:
    return structlog.dev.ConsoleRenderer(
        colors=sys.stderr.isatty(),
        timestamp_key="at",
        pad_event_to=24,
        sort_keys=False,
        exception_formatter=_tell_of,
    )


def _tell_of(stream: TextIO, found: ExcInfo) -> None:
    """An error on a terminal: in a line where its words are for an operator, and where a disk says no. The file has
    the traceback. Never with every frame's variables: they hold customers' readings.
    """
    error = found[1]
    if isinstance(error, OperatorError):
        stream.write(error.message)
    elif isinstance(error, OSError) and error.errno in _OF_A_DISK:
        stream.write(str(error))
    else:
        structlog.dev.plain_traceback(stream, found)


class _DayFile:
    """Writes each event to the file of its UTC day. Shared by threads; forked children share it, too."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._lock = Lock()
        self._day = ""
        self._file = -1
        self._with_traceback = structlog.processors.ExceptionRenderer()

    def __call__(self, logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        # A copy with the traceback as text: the terminal renders its own from the event itself.
        said = self._with_traceback(logger, method, dict(event))
        row = {"at": said.pop("at"), "level": said.pop("level"), "event": said.pop("event"), **said}
        line = _JSON.encode(row) + "\n"
        try:
            self._append(line.encode(), row["at"][:10])
        except OSError as error:
            # A full disk must not stop the work that is being told of, nor hide what was told.
            sys.stderr.write(f"the log cannot be written ({error}): {line}")
        return event

    def _append(self, line: bytes, day: str) -> None:
        with self._lock:
            if day != self._day:
                if self._file >= 0:
                    os.close(self._file)
                    self._file = -1
                self._file = os.open(
                    file_of(self._logs, day), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640
                )
                self._day = day
            os.write(self._file, line)


class _Library(logging.Handler):
    """What libraries log through the standard library, from warnings on, as events of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        structlog.get_logger().log(
            record.levelno,
            "library.warned",
            library=record.name,
            message=record.getMessage(),
            exc_info=record.exc_info,
        )
