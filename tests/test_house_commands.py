"""Every command: the same options, an example, and errors told in words with the exit code they deserve."""

import importlib.metadata
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from exchange.cli import main as cli
from exchange.cli.main import COMMANDS, main, meterhub
from exchange.cli.options import Command

BIN = Path(sys.executable).with_name("meterhub")


def _leaves(
    group: click.Group, path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from _leaves(command, (*path, name))
        else:
            yield (*path, name), command


LEAVES = dict(_leaves(meterhub))


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_command_takes_home_and_json_and_says_what_its_options_do(path: tuple[str, ...]) -> None:
    command = LEAVES[path]
    assert isinstance(command, Command)
    assert {"home", "json"} <= {parameter.name for parameter in command.params}
    assert command.help, path
    for parameter in command.params:
        if isinstance(parameter, click.Option) and parameter.name != "role":
            assert parameter.help, parameter.name


@pytest.mark.parametrize("path", LEAVES, ids=" ".join)
def test_every_commands_help_ends_in_examples_that_can_be_typed(
    path: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    command = LEAVES[path]
    assert isinstance(command, Command)
    assert main([*path, "--help"]) == 0
    shown = capsys.readouterr().out
    assert command.examples
    for example in command.examples:
        assert f"\n  {example}\n" in shown
        words = shlex.split(example)
        assert words[0] == "meterhub"
        if words[1] == "--home":
            del words[1:3]
        assert tuple(words[1 : 1 + len(path)]) == path
        # Parsed as it stands, but that files need not be there.
        command.make_parser(click.Context(command)).parse_args(words[1 + len(path) :])


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    command = meterhub.get_command(click.Context(meterhub), name)
    assert command is not None
    assert COMMANDS[name][1] == (command.help or "").split("\n\n")[0].replace("\n", " ")


def test_help_and_version_come_without_what_is_slow_to_import() -> None:
    code = (
        "import sys; from exchange.cli.main import main; main(['--help']); main(['--version']);"
        "print(sorted({'asyncssh', 'duckdb', 'numpy', 'pyarrow', 'rich', 'sqlalchemy'} & set(sys.modules)))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    ).stdout.splitlines()
    assert said[-2:] == [f"meterhub {importlib.metadata.version('meterhub')}", "[]"]


def test_the_installed_command_is_ours(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN, "--help"], capture_output=True, text=True, check=True, timeout=60, cwd=tmp_path
    )
    assert all(name in done.stdout for name in COMMANDS)


def test_no_command_is_a_question_for_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize("words", [["inti"], ["init", "--smaple"], ["partner", "show"], ["--jsno"]])
def test_a_slip_of_the_fingers_is_usage(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert "Usage: meterhub" in capsys.readouterr().err


def test_an_error_is_told_with_its_code_and_what_to_do_and_no_traceback(tmp_path: Path) -> None:
    done = subprocess.run(
        [BIN, "--home", tmp_path, "partner", "list"], capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.startswith(f"meterhub: no hub lives in {tmp_path}")
    assert "(no-home)" in done.stderr
    assert "init" in done.stderr
    assert "Traceback" not in done.stderr


def test_programs_are_told_errors_in_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["partner", "list", "--home", str(tmp_path), "--json"]) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["error"]["code"] == "no-home"
    assert set(told["error"]) == {"code", "message", "hint"}


def test_the_home_may_stand_before_or_behind_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--home", str(tmp_path), "init"]) == 0
    assert main(["--home", str(tmp_path), "partner", "list"]) == 0
    assert main(["partner", "list", "--home", str(tmp_path)]) == 0
    # The nearer one wins.
    assert main(["--home", "/nowhere", "partner", "list", "--home", str(tmp_path)]) == 0
    capsys.readouterr()


def test_an_answer_that_nobody_reads_to_its_end_is_no_crash(tmp_path: Path) -> None:
    assert main(["--home", str(tmp_path), "init"]) == 0
    asked = [BIN, "--home", tmp_path, "partner", "list", "--json"]
    with subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.close()
        assert running.stderr.read() == ""
        assert running.wait(60) == 1


def test_every_module_of_the_list_is_there() -> None:
    for module, summary in COMMANDS.values():
        assert module.startswith("exchange.cli.")
        assert (Path(cli.__file__).parent / f"{module.rpartition('.')[2]}.py").is_file()
        assert summary.endswith(".")
