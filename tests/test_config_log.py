"""The log: an event a line, whole lines whoever writes, and nothing in it that is nobody's business."""

import errno
import json
import logging
import multiprocessing
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import structlog

from config import log
from config.errors import OperatorError
from config.home import Home
from config.settings import Level, Log, Settings
from hub_fixtures import PATIENCE
from schemas.event import EVENTS


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    found = Home(tmp_path)
    found.lay_out()
    yield found
    structlog.reset_defaults()


def _events(home: Home) -> list[dict[str, Any]]:
    lines = [line for file in sorted(home.logs.iterdir()) for line in file.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def _write_many(home: Home, writer: int) -> None:
    log.configure(home, Settings(), console=False)
    for number in range(300):
        structlog.get_logger().info("partners.read", partners=number, writer=writer, padding="x" * 700)


def test_an_event_is_one_json_line_with_its_instant_in_utc(home: Home) -> None:
    log.configure(home, Settings(), console=False)
    structlog.get_logger().info("partners.read", partners=3, names=["Überland"])
    (event,) = _events(home)
    at = datetime.fromisoformat(event.pop("at"))
    assert at.utcoffset() == timedelta(0)
    assert abs(datetime.now(UTC) - at) < timedelta(minutes=1)
    assert event == {"level": "info", "event": "partners.read", "partners": 3, "names": ["Überland"]}
    assert log.file_of(home.logs, f"{at:%Y-%m-%d}").is_file()


def test_what_is_bound_to_the_context_stands_in_every_line(home: Home) -> None:
    log.configure(home, Settings(), console=False)
    with structlog.contextvars.bound_contextvars(drop="D130902-00042"):
        structlog.get_logger().info("partners.read", partners=1)
    structlog.get_logger().info("partners.read", partners=2)
    assert [event.get("drop") for event in _events(home)] == ["D130902-00042", None]


def test_several_processes_write_whole_lines_into_one_file(home: Home) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=_write_many, args=(home, number)) for number in range(3)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join(PATIENCE)
        assert writer.exitcode == 0
    seen = [(event["writer"], event["partners"]) for event in _events(home)]
    assert sorted(seen) == [(writer, number) for writer in range(3) for number in range(300)]


def test_lines_below_the_level_are_not_written(home: Home) -> None:
    log.configure(home, Settings(log=Log(level=Level.WARNING)), console=False)
    structlog.get_logger().info("partners.read", partners=1)
    structlog.get_logger().warning("partners.refused", mistakes=[])
    assert [event["event"] for event in _events(home)] == ["partners.refused"]


def test_an_event_that_is_not_in_the_vocabulary_is_refused_where_that_is_asked_for(home: Home) -> None:
    log.configure(home, Settings(), console=False, strict=True)
    with pytest.raises(ValueError, match=r"no such event: partners\.reed"):
        structlog.get_logger().info("partners.reed")
    log.configure(home, Settings(), console=False)
    structlog.get_logger().info("partners.reed")
    assert [event["event"] for event in _events(home)] == ["partners.reed"]


def test_events_are_named_by_a_noun_and_a_past_participle_and_explained() -> None:
    for name, event in EVENTS.items():
        noun, dot, participle = name.partition(".")
        assert dot, name
        assert (noun + participle).replace("_", "").islower(), name
        assert event.meaning, name


def test_what_libraries_warn_of_is_an_event_too_and_said_once(home: Home) -> None:
    log.configure(home, Settings(), console=False)
    log.configure(home, Settings(), console=False, strict=True)
    logging.getLogger("some.library").warning("odd thing %d", 7)
    logging.getLogger("some.library").info("chatter")
    (event,) = _events(home)
    assert (event["event"], event["library"], event["message"]) == (
        "library.warned",
        "some.library",
        "odd thing 7",
    )


def _fail_with(error: Exception) -> None:
    try:
        {}["what came before"]
    except KeyError as before:
        raise error from before


def _break_with(name: str) -> None:
    account = name.upper()
    raise RuntimeError(f"it broke at a name of {len(account)} letters")


def test_a_traceback_shows_where_but_no_values(home: Home, capsys: pytest.CaptureFixture[str]) -> None:
    log.configure(home, Settings(), console=True)
    try:
        _break_with(home.root.name)
    except RuntimeError:
        structlog.get_logger().exception("partners.refused", mistakes=["x"])
    (event,) = _events(home)
    for told in (event["exception"], capsys.readouterr().err):
        assert "in _break_with" in told
        assert "it broke at a name of" in told
        assert home.root.name.upper() not in told


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/srv/state/staging/x"),
        OperatorError("ledger-unreachable", "the ledger cannot be used: database or disk is full"),
    ],
)
def test_a_full_disk_is_a_line_on_a_terminal_and_a_traceback_in_the_file(
    home: Home, capsys: pytest.CaptureFixture[str], error: Exception
) -> None:
    log.configure(home, Settings(), console=True)
    try:
        _fail_with(error)
    except (OSError, OperatorError):
        structlog.get_logger().exception("work.failed", task="sweep")
    shown = capsys.readouterr().err
    assert str(error) in shown
    assert "Traceback" not in shown
    assert "what came before" not in shown
    (event,) = _events(home)
    assert event["exception"].count("Traceback") == 2


def test_a_terminal_is_shown_readable_lines_and_standard_output_stays_clean(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(home, Settings(), console=True)
    structlog.get_logger().info("partners.read", partners=3)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "partners.read" in shown.err
    assert "partners=3" in shown.err
    assert not shown.err.startswith("{")


def test_a_log_that_cannot_be_written_stops_nothing_and_loses_nothing(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    log.configure(home, Settings(), console=False)
    shutil.rmtree(home.logs)
    structlog.get_logger().info("partners.read", partners=3)
    told = capsys.readouterr().err
    assert "the log cannot be written" in told
    assert '"partners": 3' in told
