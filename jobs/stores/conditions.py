"""Conditions on the columns of a view: what they are, and how DuckDB's planner writes them.

((usage_date >= '2016-09-01'::DATE) AND (edc = 'cnp'))
optional: (account IN ('1', '2'))
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import ColumnElement, and_, or_

Value = str | int | float | date | datetime


@dataclass(frozen=True, slots=True)
class Compared:
    """A column held against a value by `=`, `<`, `<=`, `>` or `>=`; or `in` several."""

    column: str
    by: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class AllOf:
    parts: tuple["Condition", ...]


@dataclass(frozen=True, slots=True)
class AnyOf:
    parts: tuple["Condition", ...]


Condition = Compared | AllOf | AnyOf


def in_sql(
    condition: Condition, comparison: Callable[[Compared], ColumnElement[bool] | None]
) -> ColumnElement[bool] | None:
    """A condition for the ledger, or a looser one: `comparison` says each comparison, or None if it cannot."""
    if isinstance(condition, Compared):
        return comparison(condition)
    parts = [in_sql(part, comparison) for part in condition.parts]
    known = [part for part in parts if part is not None]
    if not known or (isinstance(condition, AnyOf) and len(known) < len(parts)):
        return None
    return or_(*known) if isinstance(condition, AnyOf) else and_(*known)


# ── As the planner writes them ─────────────────────────────────────────────────────────────────────

_WORD = re.compile(
    r"\s*(optional:|'(?:[^']|'')*'(?:::[A-Z]+(?: [A-Z]+)*)?|\"(?:[^\"]|\"\")*\"|>=|<=|!=|-?\d[\w.]*|\w+|\S)"
)
_BY = frozenset({"=", "<", "<=", ">", ">="})
_DEEPER = {"(": 1, ")": -1}


def words(text: str) -> list[str]:
    return _WORD.findall(text)


def read(text: str, *, exactly: bool = False) -> Condition | None:
    """The condition that a text says, or a looser one; None where it cannot be told. `exactly`: none looser."""
    return _condition(words(text), exactly=exactly)


def _condition(said: list[str], *, exactly: bool) -> Condition | None:
    if said[:1] == ["optional:"]:
        return None if exactly else _condition(said[1:], exactly=False)
    if said[:1] == ["("] and _closing(said) == len(said) - 1:
        return _condition(said[1:-1], exactly=exactly)
    either, both = _split(said, "OR"), _split(said, "AND")
    if len(either) > 1 and len(both) > 1:
        return None
    if len(either) > 1:
        some = [_condition(piece, exactly=exactly) for piece in either]
        return None if None in some else AnyOf(tuple(part for part in some if part is not None))
    if len(both) > 1:
        some = [_condition(piece, exactly=exactly) for piece in both]
        known = tuple(part for part in some if part is not None)
        return None if not known or (exactly and None in some) else AllOf(known)
    return _comparison(said)


def _comparison(said: list[str]) -> Compared | None:
    if len(said) < 3:
        return None
    (column, by), rest = said[:2], said[2:]
    if by == "IN" and rest[0] == "(" and rest[-1] == ")" and set(rest[2:-1:2]) <= {","}:
        literals = rest[1:-1:2]
    elif by in _BY and len(rest) == 1:
        literals = rest
    else:
        return None
    values = [_value(literal) for literal in literals]
    known = tuple(value for value in values if value is not None)
    if len(known) < len(values):
        return None
    return Compared(column.strip('"'), by.lower(), known)


def _closing(said: list[str]) -> int:
    """Where the parenthesis closes that the first word opens."""
    depth = 0
    for place, word in enumerate(said):
        depth += _DEEPER.get(word, 0)
        if depth == 0:
            return place
    return -1


def _split(said: list[str], at: str) -> list[list[str]]:
    """The pieces between a word, where it stands in no parentheses."""
    pieces: list[list[str]] = [[]]
    depth = 0
    for word in said:
        depth += _DEEPER.get(word, 0)
        if depth == 0 and word == at:
            pieces.append([])
        else:
            pieces[-1].append(word)
    return pieces


def _value(literal: str) -> Value | None:
    text, _, kind = literal.rpartition("::") if "'::" in literal else (literal, "", "")
    try:
        if not text.startswith("'"):
            return float(text) if "." in text else int(text)
        said = text[1:-1].replace("''", "'")
        if kind == "DATE":
            return date.fromisoformat(said)
        return datetime.fromisoformat(said) if kind.startswith("TIMESTAMP") else None if kind else said
    except ValueError:  # no literal, or a date that Python has not
        return None
