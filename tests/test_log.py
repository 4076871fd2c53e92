"""What the log shows, and what it must never show."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import warnings
from typing import Any

import pytest
import structlog

from api.asked import Asked
from config.settings import LogSettings
from daemon.log import LEVELS, MASK, MAX_DEPTH, configure_logging, mask_secrets


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


pytestmark = pytest.mark.usefixtures("restored_logging")


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_log_is_json_where_there_is_no_terminal() -> None:
    """An event becomes one JSON line with its level, its time and its facts."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    structlog.get_logger().info("registration.added", aor="sip:a@b", expires=60)
    (line,) = lines(stream)

    assert ("registration.added", "info", "sip:a@b", 60) == tuple(
        line[name] for name in ("event", "level", "aor", "expires")
    )
    assert line["timestamp"].endswith("Z")


@pytest.mark.parametrize(
    ("form", "stream", "is_json"),
    [
        pytest.param("auto", Terminal(), False, id="auto-on-terminal"),
        pytest.param("json", Terminal(), True, id="json-on-terminal"),
        pytest.param("console", io.StringIO(), False, id="console-in-file"),
    ],
)
def test_format_follows_setting_and_terminal(form: str, stream: io.StringIO, *, is_json: bool) -> None:
    """`auto` looks at the terminal; the others mean what they say."""
    configure_logging(LogSettings(format=form), stream)
    structlog.get_logger().info("daemon.started")

    assert is_json == stream.getvalue().startswith("{")
    assert "daemon.started" in stream.getvalue()


def test_level_changes_for_loggers_in_use() -> None:
    """A reload may ask for more or less than the start did, of loggers that have logged already."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    logger = structlog.get_logger()
    for level in ("info", "debug", "error"):
        LEVELS.set(level)
        logger.debug("at.debug", at=level)
        logger.info("at.info", at=level)
        logging.getLogger("aiohttp.server").info("of the library")

    assert [("at.info", "info"), ("at.debug", "debug"), ("at.info", "debug")] == [
        (line["event"], line["at"]) for line in lines(stream) if "at" in line
    ]
    assert 2 == stream.getvalue().count("of the library")


def test_level_cuts_what_is_below() -> None:
    """Events below the level are dropped, of our own loggers and of the standard library's."""
    stream = io.StringIO()
    configure_logging(LogSettings(level="warning"), stream)
    structlog.get_logger().info("a.b")
    logging.getLogger("aiohttp.server").info("quiet")
    structlog.get_logger().warning("c.d")

    assert ["c.d"] == [line["event"] for line in lines(stream)]


def test_standard_library_goes_the_same_way() -> None:
    """What aiohttp, asyncio or a warning says is an event like ours, with the logger's name."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    logging.getLogger("asyncio").error("Task %s failed", "x")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=True)
        warnings.warn("old", DeprecationWarning, stacklevel=1)

    assert ("Task x failed", "asyncio", "error") == tuple(lines(stream)[0][key] for key in ("event", "logger", "level"))
    assert "DeprecationWarning" in lines(stream)[1]["event"]


@pytest.mark.parametrize("form", ["json", "console"])
def test_traceback_shows_no_values(form: str) -> None:
    """A traceback is logged without the values of its local variables."""
    stream = io.StringIO()
    configure_logging(LogSettings(format=form), stream)

    def fail(hidden: str) -> None:
        raise RuntimeError(f"length {len(hidden)}")

    try:
        fail("open" + "sesame")
    except RuntimeError:
        structlog.get_logger().exception("task.failed")

    assert "RuntimeError: length 10" in stream.getvalue()
    assert "opensesame" not in stream.getvalue()


def test_secrets_are_masked_by_name() -> None:
    """A key that names a secret shows the mask, at any depth; an empty one is left, for it tells something."""
    event = {
        "event": "x.y",
        "sip_password": "p",
        "X-Auth-Token": "t",
        "token": None,
        "Authorization": b"Digest",
        "data": {"sip": [{"password": "p", "username": "u"}]},
        "tokens_left": 5,
    }
    shown = {
        "event": "x.y",
        "sip_password": MASK,
        "X-Auth-Token": MASK,
        "token": None,
        "Authorization": MASK,
        "data": {"sip": [{"password": MASK, "username": "u"}]},
        "tokens_left": 5,
    }

    assert shown == mask_secrets(None, "info", event)


def test_reader_that_went_away_disturbs_nobody() -> None:
    """A log that cannot be written is lost; the call that logged goes on."""

    class Broken(io.StringIO):
        def write(self, _text: str) -> int:
            raise BrokenPipeError

    configure_logging(LogSettings(), Broken())
    structlog.get_logger().info("daemon.started")


def test_what_is_nested_too_deep_is_masked_whole() -> None:
    """A secret cannot hide below the depth that is searched."""
    value: object = {"password": "p"}
    for _ in range(MAX_DEPTH + 1):
        value = {"in": value}

    assert "'p'" not in repr(mask_secrets(None, "info", {"event": "x.y", "value": value}))


def test_the_database_driver_does_not_log_its_statements() -> None:
    """At debug, aiosqlite would write out every value that is stored: keys and SIP passwords."""
    stream = io.StringIO()
    configure_logging(LogSettings(level="debug"), stream)
    logging.getLogger("aiosqlite").debug("executing INSERT INTO settings VALUES ('nonce-key', 'hunter2')")

    assert stream.getvalue() == ""


def test_what_is_no_utf_8_is_logged_all_the_same() -> None:
    """A phone's headers may hold any octets; the line stays JSON."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    structlog.get_logger().info("registration.added", user_agent="Ph\udcffne", many=2**70)
    (line,) = lines(stream)

    assert ("Ph\ufffdne", "registration.added") == (line["user_agent"], line["event"])


def test_modules_have_levels_of_their_own() -> None:
    """The longest name counts, for what is within it too; a reload changes them, also for loggers in use."""
    stream = io.StringIO()
    configure_logging(LogSettings(level="warning", levels=("sip=info", "sip.io=debug", "aiohttp=error")), stream)
    loggers = {name: structlog.get_logger(name) for name in ("sip.uas", "sip.io.udp", "sip.iodine", "daemon.sync")}
    for name, logger in loggers.items():
        logger.debug("at.debug", of=name)
        logger.bind(of=name).info("at.info")
    logging.getLogger("aiohttp.server").warning("of the library")
    first = [(line["logger"], line["event"]) for line in lines(stream)]
    LEVELS.set("error", ("daemon=info",))
    for logger in loggers.values():
        logger.info("later")
    logging.getLogger("aiohttp.server").error("of the library")

    assert [
        ("sip.uas", "at.info"),
        ("sip.io.udp", "at.debug"),
        ("sip.io.udp", "at.info"),
        ("sip.iodine", "at.info"),
    ] == first
    assert [("daemon.sync", "later"), ("aiohttp.server", "of the library")] == [
        (line["logger"], line["event"]) for line in lines(stream)[len(first) :]
    ]


def test_nobody_makes_the_database_driver_talk() -> None:
    stream = io.StringIO()
    configure_logging(LogSettings(level="debug", levels=("aiosqlite=debug", "aiosqlite.core=debug")), stream)
    for name in ("aiosqlite", "aiosqlite.core"):
        logging.getLogger(name).debug("executing INSERT INTO settings VALUES ('nonce-key', 'hunter2')")
        structlog.get_logger(name).debug("hunter2")

    assert stream.getvalue() == ""


async def test_request_id_is_logged_while_the_request_is_answered() -> None:
    """Not by a timer or task that outlives it, and never that of another request on the same connection."""
    stream = io.StringIO()
    configure_logging(LogSettings(), stream)
    logger = structlog.get_logger("daemon.sync")
    answered = asyncio.Event()

    async def outlive() -> None:
        logger.info("during")
        await answered.wait()
        logger.info("after")

    with Asked("first"):
        task = asyncio.create_task(outlive())
        await asyncio.sleep(0)
        logger.info("asked")
    answered.set()
    await task
    with Asked("second"):
        logger.info("asked")

    assert [("during", "first"), ("asked", "first"), ("after", None), ("asked", "second")] == [
        (line["event"], line.get("request_id")) for line in lines(stream)
    ]
