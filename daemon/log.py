"""The log: structlog on standard error, for people on a terminal and as JSON lines otherwise.

Rule: what is under a secret's name is masked here, whoever logs it; values of tracebacks are never shown.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
from typing import TYPE_CHECKING, TextIO

import orjson
import structlog

from api.asked import add_request_id
from api.body import mend
from daemon.loglevels import Levels, NamedLogger

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

    from config.settings import LogSettings

LEVELS = Levels()
"""Of this process, as structlog's configuration is."""
MASK = "***"
SECRETS = frozenset(
    (
        "password",
        "passwd",
        "secret",
        "ha1",
        "nonce",
        "cnonce",
        "opaque",
        "token",
        "tokens",
        "api_key",
        "apikey",
        "authorization",
        "credentials",
        "cookie",
    )
)
"""Names that are masked, alone or at the end of a longer one, such as `x_auth_token`; `-` equals `_`."""
MAX_DEPTH = 6
"""Levels of nesting that are searched for secrets; deeper values are masked whole."""


def configure_logging(settings: LogSettings, stream: TextIO | None = None) -> None:
    """Set up structlog, and send what the standard library's loggers say (aiohttp, asyncio, warnings) through it."""
    stream = stream or sys.stderr
    unbroken = Unbroken(stream)
    structlog.configure(
        processors=[*_shared_processors(), *_renderers(settings.format, stream)],
        wrapper_class=LEVELS.wrap,  # type: ignore[arg-type]  # it is called, and need not be a class
        logger_factory=lambda name="roost", *_more: NamedLogger(name, unbroken),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[StructlogHandler()], force=True)
    LEVELS.set(settings.level, settings.levels)
    logging.captureWarnings(capture=True)


class StructlogHandler(logging.Handler):
    """Hands the records of the standard library's loggers on to structlog."""

    def emit(self, record: logging.LogRecord) -> None:
        """Log the record under its logger's name."""
        structlog.get_logger(record.name).log(record.levelno, record.getMessage(), exc_info=record.exc_info or None)


class Unbroken:
    """A stream whose reader may go away (the journal restarts, a pipe closes) without our calls failing."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> None:
        """Write the text, or lose it."""
        with contextlib.suppress(OSError):
            self._stream.write(text)

    def flush(self) -> None:
        """Pass on what was written, or lose it."""
        with contextlib.suppress(OSError):
            self._stream.flush()


def add_module(logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Add the module that logs, by which `log.levels` names it (a structlog processor)."""
    event["logger"] = logger.name
    return event


def mask_secrets(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Replace the values of keys that name a secret, at any depth (a structlog processor)."""
    return {name: MASK if value and _is_secret(name) else _masked(value, MAX_DEPTH) for name, value in event.items()}


def _masked(value: object, depth: int) -> object:
    if isinstance(value, dict):
        if depth == 0:
            return MASK
        return {
            name: MASK if inner and _is_secret(str(name)) else _masked(inner, depth - 1)
            for name, inner in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_masked(inner, depth - 1) for inner in value] if depth else MASK
    return value


def _is_secret(name: str) -> bool:
    plain = name.lower().replace("-", "_")
    return plain in SECRETS or plain.endswith(_SUFFIXES)


def _shared_processors() -> list[Processor]:
    return [
        add_request_id,
        add_module,
        structlog.processors.add_log_level,
        structlog.processors.StackInfoRenderer(),
        mask_secrets,
    ]


def _renderers(form: str, stream: TextIO) -> list[Processor]:
    if form == "console" or (form == "auto" and stream.isatty()):
        return [
            structlog.processors.TimeStamper(fmt="%Y-%m-%d %H:%M:%S", utc=False),
            # The default formatter prints local variables when `rich` happens to be installed.
            structlog.dev.ConsoleRenderer(
                colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback, pad_event_to=24
            ),
        ]
    return [
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        structlog.processors.JSONRenderer(serializer=_to_json),
    ]


def _to_json(event: EventDict, **_options: object) -> str:
    try:
        return orjson.dumps(event, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:  # what a peer wrote is no UTF-8, or a number has over 64 bits
        return mend(json.dumps(event, default=str, ensure_ascii=False))


_SUFFIXES = tuple(f"_{name}" for name in SECRETS)
