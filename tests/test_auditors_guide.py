"""jobs/AUDITORS.md: what it says is what the commands answer, for the night that it tells of."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from look_fixtures import Desk, Told, told_once

GUIDE = (Path(__file__).parents[1] / "jobs" / "AUDITORS.md").read_text(encoding="utf-8")
LEFT_OUT = "…"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    for told in told_once(tmp_path_factory):
        told.hub.on(hours=1)
        told.hub.sweep()
        yield told


def transcripts() -> Iterator[tuple[str, list[str]]]:
    """Each command of the guide, and the lines that stand below it."""
    for block in re.findall(r"```console\n(.*?)```", GUIDE, re.DOTALL):
        for one in block.removeprefix("$ ").split("\n$ "):
            command, *lines = one.splitlines()
            yield command, lines


COMMANDS = dict(transcripts())


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_guide_answers_what_stands_below_it(
    told: Told, command: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    program, *words = shlex.split(command)
    answer = Desk(told.hub, capsys, monkeypatch).ask(*words)
    assert (program, answer.code) == ("meterhub", 0), answer.err
    said = iter(line.rstrip() for line in answer.out.splitlines())
    wanted = [line for line in COMMANDS[command] if line != LEFT_OUT]
    assert wanted
    assert [line for line in wanted if line not in said] == []  # in this order


def test_the_guide_asks_every_command_that_proves_something() -> None:
    assert {shlex.split(command)[1] for command in COMMANDS} == {
        "explain", "query", "diff", "replay", "verify"
    }  # fmt: skip
