"""Mishaps: failing disks, dying processes and power cuts, at named points of writing; off unless asked for.

Only the variable METERHUB_MISHAPS of a process's environment switches them on, when it starts. Words, in a row:

    seed=7                     what is drawn is drawn from this
    told=FILE                  a line is appended there for each mishap: what, where, process
    fsync:lake=EIO@0.05        at so many of the points of that name the call fails: an errno and a share
    commit:drop.loaded=die@2   the process is gone at the second such point: SIGKILL
    rename:lake=stop@1         the process stands still there, until somebody lets it go on: SIGSTOP
    *=cut@17                   the power is cut at the 17th point of all: what is not durable is undone, then SIGKILL

A point is named by what is done and where: write, fsync, rename, link, remove or mkdir, then the folder below the
home or its state (`rename:archive`, `fsync:outbound`); and `commit:EVENT` before and `committed:EVENT` after a
transaction of the ledger, by the last event in it that tells of more than a paper that was laid. In a pattern,
`*` is anything.

A power cut undoes renames, removals and new folders whose folder was not synced since, and leaves half of each
file that was renamed and never synced. It knows what this process did; the ledger's own files are SQLite's affair.
"""

import errno
import os
import random
import shutil
import signal
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import NoReturn

VARIABLE = "METERHUB_MISHAPS"
_PLACES = (
    "archive", "contents", "inbound", "lake", "logs", "outbound", "receipts", "reports", "requests", "staging",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Planned:
    """One kind of mishap: at which points, and what: an errno with a share, or an end or a stop with a number."""

    name: str
    what: str
    share: float = 0.0
    nth: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _Undo:
    """Something that a power cut takes back, until the folder is synced."""

    folder: Path
    undo: Callable[[], object]


@dataclass(slots=True, kw_only=True)
class _Plan:
    """What was asked for, and what has happened so far."""

    planned: tuple[Planned, ...]
    seed: str
    told: str
    passed: dict[str, int] = field(default_factory=dict)  # by name; by pattern, of those that are counted
    synced: set[int] = field(default_factory=set)  # inodes of files whose content is durable
    volatile: list[_Undo] = field(default_factory=list)
    halves: list[Path] = field(default_factory=list)  # renamed, and never synced
    aside: Path | None = None  # where what a rename or removal does away with is kept

    @property
    def cuts(self) -> bool:
        return any(one.what == "cut" for one in self.planned)


def _read(words: str) -> _Plan | None:
    planned, said = [], {"seed": "0", "told": ""}
    for word in words.split():
        name, _, what = word.partition("=")
        if name in said:
            said[name] = what
            continue
        kind, _, number = what.partition("@")
        if kind in {"die", "cut", "stop"}:
            planned.append(Planned(name, kind, nth=int(number)))
        elif kind in errno.errorcode.values():
            planned.append(Planned(name, kind, share=float(number)))
        else:
            raise ValueError(f"{VARIABLE} says {word}; wanted: an errno, die, cut or stop, and @ how often")
    return _Plan(planned=tuple(planned), seed=said["seed"], told=said["told"]) if words else None


def begin(words: str) -> None:
    """Plan mishaps for this process from now on. Called with what its environment says when this is imported."""
    global _plan, ON  # noqa: PLW0603 - one process, one plan; a name that is looked up costs nothing when it is off
    _plan = _read(words)
    ON = _plan is not None


_plan: _Plan | None = None
ON = False
begin(os.environ.get(VARIABLE, ""))


def strike(done: str, path: Path, to: Path | None = None) -> None:
    """A point of writing: something is about to be done to `path`. Raises OSError, or does not return."""
    plan = _plan
    assert plan is not None
    _pass(plan, f"{done}:{_place(to or path)}")
    if plan.cuts:
        _remember(plan, done, path, to)


def at_commit(name: str) -> None:
    """A point beside a transaction of the ledger. May not return; never raises."""
    if _plan is not None:
        _pass(_plan, name)


def passed() -> set[str]:
    """The points that this process has passed, by name, since `begin`."""
    return set() if _plan is None else {name for name in _plan.passed if not name.startswith("=")}


def synced(path: Path) -> None:
    """The content of a file, or the names in a folder, are durable."""
    plan = _plan
    assert plan is not None
    if plan.cuts:
        plan.synced.add(path.stat().st_ino)
        plan.volatile = [one for one in plan.volatile if one.folder != path]


def _pass(plan: _Plan, name: str) -> None:
    passed = plan.passed[name] = plan.passed.get(name, 0) + 1
    for one in plan.planned:
        if not fnmatchcase(name, one.name):
            continue
        if one.nth:
            plan.passed[f"={one.name}"] = count = plan.passed.get(f"={one.name}", 0) + 1
            if count == one.nth and one.what == "stop":
                _tell(plan, f"stop {name}")
                os.kill(os.getpid(), signal.SIGSTOP)
            elif count == one.nth:
                _end(plan, one, name)
        elif not name.startswith("commit") and _draw(plan, name, passed) < one.share:
            _tell(plan, f"{one.what} {name}")
            number = getattr(errno, one.what)
            raise OSError(number, os.strerror(number), f"a mishap at {name}")


def _draw(plan: _Plan, name: str, passed: int) -> float:
    return random.Random(f"{plan.seed}/{os.getpid()}/{name}/{passed}").random()  # noqa: S311 - a rehearsal


def _end(plan: _Plan, one: Planned, name: str) -> NoReturn:
    _tell(plan, f"{one.what} {name}")
    if one.what == "cut":
        for each in reversed(plan.volatile):
            each.undo()
        for path in plan.halves:
            if path.exists() and path.stat().st_ino not in plan.synced:
                os.truncate(path, path.stat().st_size // 2)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def _remember(plan: _Plan, done: str, path: Path, to: Path | None) -> None:
    """What a power cut would undo of what is about to be done."""
    if plan.aside is None:
        plan.aside = Path(tempfile.mkdtemp(prefix="mishaps-"))
    if done == "rename" and to is not None:
        kept = _keep(plan, to)
        if path.stat().st_ino not in plan.synced:
            plan.halves.append(to)
        plan.volatile.append(_Undo(folder=to.parent, undo=lambda: _back(path, to, kept)))
    elif done == "remove" and (kept := _keep(plan, path)) is not None:
        plan.volatile.append(_Undo(folder=path.parent, undo=lambda: shutil.copy2(kept, path)))
    elif done == "link":
        plan.volatile.append(_Undo(folder=path.parent, undo=lambda: path.unlink(missing_ok=True)))
    elif done == "mkdir":
        plan.volatile.append(_Undo(folder=path.parent, undo=lambda: shutil.rmtree(path)))


def _keep(plan: _Plan, path: Path) -> Path | None:
    """A copy of what a rename or a removal does away with."""
    assert plan.aside is not None
    return Path(shutil.copy2(path, plan.aside / f"{len(plan.volatile)}")) if path.exists() else None


def _back(path: Path, to: Path, kept: Path | None) -> None:
    if to.exists():
        to.rename(path)
    if kept is not None:
        shutil.copy2(kept, to)


def _place(path: Path) -> str:
    """The folder of a home in which a path lies, the innermost that has a name here."""
    folder = path if path.is_dir() else path.parent
    return next((part for part in reversed(folder.parts) if part in _PLACES), "elsewhere")


def _tell(plan: _Plan, what: str) -> None:
    if plan.told:
        descriptor = os.open(plan.told, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o640)
        os.write(descriptor, f"{what} {os.getpid()}\n".encode())
        os.close(descriptor)
