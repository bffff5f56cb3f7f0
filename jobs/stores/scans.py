"""What a question wants of each view: which columns, under which condition, how many rows.

DuckDB's own planner says so, asked about empty tables of the same form. Whatever of its words is not
understood narrows nothing: then more is read than was wanted, and the answer is the same.
"""
# ruff: noqa: S608 - what is put into SQL here are names of our own

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from jobs.stores import conditions
from jobs.stores.conditions import AllOf, AnyOf, Condition
from jobs.stores.view_columns import VIEWS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted of one view. `where`: rows that do not meet it are not; None: all may be. `first`: so many
    rows are enough, whichever, or the first by `order` (columns, and whether they fall); None: all of them.
    """

    columns: frozenset[str]
    where: Condition | None = None
    first: int | None = None
    order: tuple[tuple[str, bool], ...] = ()


EVERYTHING: Mapping[str, Wanted] = {
    name.partition("(")[0]: Wanted(columns=frozenset(view.columns)) for name, view in VIEWS.items()
}


def wanted(question: str) -> Mapping[str, Wanted]:
    """What a question wants, by view; nothing of a view that is not there. Of `usage_as_of` it is said as of
    `usage`. Raises duckdb.Error, as asking would, for a question that names what there is not.
    """
    with duckdb.connect(config={"autoload_known_extensions": "false"}) as empty:
        empty.execute(_FORM)
        try:
            empty.sql(question)
            asked = re.sub(r"\A\s*explain(\s+analyze)?\b", "", question, flags=re.IGNORECASE)
            ((_, said),) = empty.execute(f"explain (format json) {asked}").fetchall()
        except (duckdb.PermissionException, duckdb.ParserException):
            return EVERYTHING  # it opens files by itself, or cannot be explained
    return _of_plan(json.loads(said)[0])


def _form() -> Iterator[str]:
    for name, view in VIEWS.items():
        columns = ", ".join(f'"{column}" {kind}' for column, kind in view.columns.items())
        if "(" in name:
            yield f"create macro {name} as table select * from usage where loaded_at <= instant::timestamptz"
        else:
            yield f"create table {name} ({columns})"
    # Of empty tables these would find that nothing has to be read; or that it is to be read in two passes.
    yield "set disabled_optimizers = 'statistics_propagation,empty_result_pullup,late_materialization'"
    yield "set timezone = 'UTC'"
    yield "set python_enable_replacements = false"
    yield "set enable_external_access = false"


_FORM = "; ".join(_form())


def _of_plan(plan: Mapping[str, Any]) -> Mapping[str, Wanted]:
    found: dict[str, list[Wanted]] = {}
    for scan in _scans(plan):
        found.setdefault(_name(scan), []).append(_of_scan(scan))
    few = _few(plan)
    return dict.fromkeys(found, few) if few else {name: _together(scans) for name, scans in found.items()}


def _scans(node: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    if "Table" in node["extra_info"]:
        yield node
    for child in node["children"]:
        yield from _scans(child)


def _name(scan: Mapping[str, Any]) -> str:
    """The view that is scanned: `memory.main.events` is events."""
    return str(scan["extra_info"]["Table"]).rpartition(".")[2].strip('"')


def _of_scan(scan: Mapping[str, Any]) -> Wanted:
    said = scan["extra_info"]
    filters = _listed(said.get("Filters"))
    parts = tuple(part for text in filters if (part := conditions.read(text)) is not None)
    named = {
        *_listed(said.get("Projections")),
        *(word for text in filters for word in conditions.words(text)),
    }
    return Wanted(
        columns=frozenset(VIEWS[_name(scan)].columns) & {word.strip('"') for word in named},
        where=AllOf(parts) if parts else None,
    )


def _together(scans: list[Wanted]) -> Wanted:
    """What several scans of a view want together."""
    if len(scans) == 1:
        return scans[0]
    where = tuple(scan.where for scan in scans if scan.where is not None)
    return Wanted(
        columns=frozenset[str]().union(*(scan.columns for scan in scans)),
        where=AnyOf(where) if len(where) == len(scans) else None,
    )


_DYNAMIC = "optional: Dynamic Filter"  # what a plan finds out while it runs
_CUTS = ("LIMIT", "STREAMING_LIMIT", "TOP_N")


def _few(plan: Mapping[str, Any]) -> Wanted | None:
    """What a plan wants that is one scan, cut off after some rows, and in which nothing else drops any."""
    passed: list[Mapping[str, Any]] = []
    node = plan
    while "Table" not in node["extra_info"]:
        if len(node["children"]) != 1:
            return None
        passed.append(node)
        (node,) = node["children"]
    cuts = [one for one in passed if one["name"] != "PROJECTION"]
    said = node["extra_info"]
    filters = [text for text in _listed(said.get("Filters")) if not text.startswith(_DYNAMIC)]
    exact = all(conditions.read(text, exactly=True) is not None for text in filters)
    if len(cuts) != 1 or cuts[0]["name"] not in _CUTS or not exact or "Sample Method" in said:
        return None
    order = _order(cuts[0], of=said) if cuts[0]["name"] != "TOP_N" or cuts[0] is passed[-1] else None
    counts = [cuts[0]["extra_info"].get(name, "0") for name in ("Limit", "Top", "Offset")]
    if order is None or not all(count.isdecimal() for count in counts):
        return None
    scan = _of_scan(node)
    return Wanted(columns=scan.columns, where=scan.where, first=sum(map(int, counts)), order=order)


_ORDER = re.compile(r'"?(#?\w+)"? (ASC|DESC)')


def _order(cut: Mapping[str, Any], *, of: Mapping[str, Any]) -> tuple[tuple[str, bool], ...] | None:
    """By which columns of a scan its rows are put in order, and whether they fall; None for others than these."""
    columns = _listed(of.get("Projections"))
    order = []
    for text in _listed(cut["extra_info"].get("Order By")):
        said = _ORDER.fullmatch(text)
        name = said[1] if said else ""
        if name[:1] == "#" and int(name[1:]) < len(columns):
            name = columns[int(name[1:])]
        if said is None or name not in columns:
            return None
        order.append((name, said[2] == "DESC"))
    return tuple(order)


def _listed(said: str | list[str] | None) -> list[str]:
    return said if isinstance(said, list) else [said] if said else []
