"""Reads a TOML text into a tree of frozen dataclasses, and says of each mistake where it stands."""

import difflib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import Field, fields, is_dataclass
from datetime import time
from enum import StrEnum
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from config.errors import SettingsError

Tree = TypeVar("Tree")

_HEADER = re.compile(r"\s*\[\s*([A-Za-z0-9_.\-\"' ]+?)\s*\]")
_KEY = re.compile(r"\s*([A-Za-z0-9_.\-\"' ]+?)\s*=")
_CLOCK = re.compile(r"([01]\d|2[0-3]):([0-5]\d)")


class _WrongError(Exception):
    """One value that cannot be; the message says what was found and wanted."""


def read(text: str, shape: type[Tree], *, name: str) -> Tree:
    """The tree of `shape` that `text` describes. Raises SettingsError with all mistakes, by line."""
    try:
        found = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SettingsError("settings-not-toml", f"{name}: {error}") from error
    mistakes: list[tuple[str, str]] = []
    tree = _branch(found, shape, "", tuple(keys(shape)), mistakes)
    if tree is None or mistakes:
        raise SettingsError(
            "settings-refused",
            "\n".join(f"{name}{_place(text, key)}: {words}" for key, words in mistakes),
            "config/meterhub.example.toml of the release lists every setting with its default",
        )
    return tree


def keys(shape: type[Any], prefix: str = "") -> Iterator[str]:
    """The dotted key of every setting in `shape`, in its order."""
    kinds = get_type_hints(shape)
    for leaf in fields(shape):
        if is_dataclass(kinds[leaf.name]):
            yield from keys(kinds[leaf.name], f"{prefix}{leaf.name}.")
        else:
            yield prefix + leaf.name


def _branch(
    found: Mapping[str, Any],
    shape: type[Tree],
    prefix: str,
    known: tuple[str, ...],
    mistakes: list[tuple[str, str]],
) -> Tree | None:
    kinds = get_type_hints(shape)
    leaves = {leaf.name: leaf for leaf in fields(shape)}  # type: ignore[arg-type]  # always a dataclass
    values: dict[str, Any] = {}
    before = len(mistakes)
    for name, value in found.items():
        key = prefix + name
        if name not in leaves:
            mistakes.append((key, _unknown(key, known)))
        elif is_dataclass(kinds[name]):
            if isinstance(value, dict):
                values[name] = _branch(value, kinds[name], f"{key}.", known, mistakes)
            else:
                mistakes.append((key, f"{key} is {value!r}; wanted: a table, [{key}]"))
        else:
            try:
                values[name] = _value(value, kinds[name], leaves[name])
            except _WrongError as wrong:
                mistakes.append((key, f"{key} is {_shown(value)}; wanted: {wrong}"))
    if len(mistakes) > before:
        return None
    try:
        return shape(**values)
    except ValueError as error:  # what the shape itself finds does not fit together
        mistakes.append((prefix.rstrip("."), str(error)))
        return None


def _value(value: Any, kind: Any, leaf: Field[Any]) -> Any:
    if get_origin(kind) is tuple:
        if not isinstance(value, list):
            raise _WrongError("a list")
        return tuple(_value(one, get_args(kind)[0], leaf) for one in value)
    if kind is time:
        return _clock(value)
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        if value not in list(kind):
            raise _WrongError(" or ".join(f'"{one}"' for one in kind))
        return kind(value)
    if kind is str:
        if not isinstance(value, str):
            raise _WrongError("text in quotes")
        return value
    return _number(value, kind, leaf)


def _clock(value: Any) -> time:
    if isinstance(value, time) and value.second == value.microsecond == 0:
        return value
    match = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise _WrongError('a time of day such as "23:00"')
    return time(int(match[1]), int(match[2]))


def _number(value: Any, kind: type[int | float], leaf: Field[Any]) -> int | float:
    least, most = leaf.metadata["least"], leaf.metadata["most"]
    takes = (int,) if kind is int else (int, float)
    if isinstance(value, bool) or not isinstance(value, takes) or not least <= value <= most:
        sort = "a whole number" if kind is int else "a number"
        raise _WrongError(f"{sort} from {least} to {most}")
    return kind(value)


def _shown(value: Any) -> str:
    return json.dumps(value, default=str, ensure_ascii=False)  # strings and booleans as TOML has them


def _unknown(key: str, known: tuple[str, ...]) -> str:
    # Somebody who forgot the table's name typed the last part right; somebody who slipped, nearly all.
    same = [one for one in known if one.rpartition(".")[2] == key.rpartition(".")[2]]
    tables = sorted({one.partition(".")[0] for one in known if "." in one})
    near = same or difflib.get_close_matches(key, [*known, *tables], n=1, cutoff=0.0)
    return f"there is no setting {key}; the nearest is {near[0]}"


def _place(text: str, key: str) -> str:
    table = ""
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(line):
            table = _plain(header[1])
            if table == key:
                return f", line {number}"
        elif (assigned := _KEY.match(line)) and _plain(f"{table}.{assigned[1]}") == key:
            return f", line {number}"
    return ""


def _plain(dotted: str) -> str:
    parts = (part.strip().strip("\"'") for part in dotted.split("."))
    return ".".join(part for part in parts if part)
