"""The house rules that tools can hold: which way imports run, lint, form and types."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobs import pipeline

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("exchange", "jobs", "config", "schemas")
BIN = Path(sys.executable).parent

# Who may look at a clock. Everything else is handed `now`.
CLOCK_OWNERS = {"exchange/app.py", "jobs/clock.py", "jobs/schedule.py"}
CLOCKS = {
    ("datetime", "now"),
    ("datetime", "utcnow"),
    ("datetime", "today"),
    ("date", "today"),
    ("time", "time"),
}


@pytest.mark.parametrize(
    "command",
    [
        ["lint-imports", "--no-logo"],
        ["ruff", "check", "."],
        ["ruff", "format", "--check", "."],
        ["mypy"],
    ],
    ids=["imports", "lint", "form", "types"],
)
def test_the_house_is_kept(command: list[str]) -> None:
    done = subprocess.run(
        [BIN / command[0], *command[1:]], cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr[-2000:]


def _modules(*folders: str) -> Iterator[tuple[str, ast.Module]]:
    for folder in folders:
        for file in sorted((ROOT / folder).rglob("*.py")):
            yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


def _calls(module: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Line, owner and name of each call: `datetime.now(…)` gives `datetime` and `now`."""
    for node in ast.walk(module):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            yield node.lineno, "", node.func.id
        elif isinstance(node.func, ast.Attribute):
            owner = node.func.value
            name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
            yield node.lineno, name, node.func.attr


def test_only_the_owners_of_a_clock_look_at_it() -> None:
    looks = [
        f"{path}:{line} {owner}.{name}()"
        for path, module in _modules(*PACKAGES)
        if path not in CLOCK_OWNERS
        for line, owner, name in _calls(module)
        if (owner, name) in CLOCKS
    ]
    assert looks == []


def test_rules_and_shapes_open_no_files() -> None:
    opened = [
        f"{path}:{line}"
        for path, module in _modules("jobs/rules", "schemas")
        if not path.startswith("schemas/migrations/")
        for line, owner, name in _calls(module)
        if (owner, name) in {("", "open"), ("io", "open"), ("", "print"), ("", "input")}
    ]
    assert opened == []


def test_each_step_of_the_way_offers_one_function_and_it_has_the_steps_name() -> None:
    # What goes on around the way (uploads, syncs, deadlines) answers several questions a file.
    steps = {
        path.removesuffix("/__init__.py").removesuffix(".py").rpartition("/")[2]: module
        for path, module in _modules("jobs/steps")
    }
    for step in pipeline.WAY:
        name = step.__name__
        public = [
            node.name
            for node in steps[name].body
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not node.name.startswith("_")
        ]
        assert public == [name]
