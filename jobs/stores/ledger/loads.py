"""Loads and lake files in the ledger: what of the lake exists, and in which order it was committed."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, and_, func, insert, select

from jobs.stores.conditions import Compared, Condition, in_sql
from schemas import tables

_file, _load = tables.lake_file, tables.load


@dataclass(frozen=True, slots=True, kw_only=True)
class LakeFile:
    """One committed Parquet file: blocks of one EDC and usage day, or affirmations of such."""

    id: int = 0  # given by the ledger
    load_seq: int = 0  # given by the ledger
    drop_id: str
    edc: str
    usage_date: date
    kind: str  # usage | affirmed
    path: str  # below the lake
    rows: int
    first_versions: int
    late: int  # first versions that came after the deadline
    account_low: str
    account_high: str
    version_low: int
    version_high: int
    bytes: int
    sha256: str


_COLUMNS = [_file.c[field.name] for field in fields(LakeFile)]


def add(tx: Connection, *, drop_id: str, edc: str, at: datetime, written: list[LakeFile]) -> int:
    """Record a load and its files; its place in the order of commits. A drop is loaded once: the
    table refuses a second time.
    """
    inserted = insert(_load).values(drop_id=drop_id, edc=edc, loaded_at=at).returning(_load.c.seq)
    seq = int(tx.execute(inserted).scalar_one())
    for file in written:
        row = asdict(file) | {"load_seq": seq}
        del row["id"]
        tx.execute(insert(_file).values(row))
    return seq


def last_seq(tx: Connection, edc: str) -> int:
    """The latest load of an EDC, or 0."""
    return int(tx.execute(select(func.max(_load.c.seq)).where(_load.c.edc == edc)).scalar_one() or 0)


def on_day(
    tx: Connection, *, edc: str, day: date, low: str = "", high: str = "", after: int = 0
) -> list[LakeFile]:
    """The files of an EDC's usage day, of those committed after file `after`, whose accounts touch
    `low` … `high` (all, when `high` is empty).
    """
    where = (_file.c.edc == edc) & (_file.c.usage_date == day) & (_file.c.id > after)
    if high:
        where &= (_file.c.account_low <= high) & (_file.c.account_high >= low)
    return _all(tx, where)


def day_before(tx: Connection, *, edc: str, day: date) -> date | None:
    """The last usage day before that one of which anything of the EDC is loaded."""
    where = (_file.c.edc == edc) & (_file.c.usage_date < day)
    found: date | None = tx.execute(select(func.max(_file.c.usage_date)).where(where)).scalar_one()
    return found


def names(tx: Connection, *, edc: str, day: date) -> dict[str, str]:
    """The drops whose blocks of an EDC's usage day are loaded, and the names of their files."""
    query = select(tables.drop.c.id, tables.drop.c.name).join(_file, _file.c.drop_id == tables.drop.c.id)
    rows = tx.execute(query.where((_file.c.edc == edc) & (_file.c.usage_date == day)).distinct())
    return {row.id: row.name for row in rows}


def between(tx: Connection, *, edc: str, after_seq: int, through_seq: int) -> list[LakeFile]:
    """The files of loads above `after_seq`, up to `through_seq`, in the order of commits."""
    where = (_file.c.edc == edc) & (_file.c.load_seq > after_seq) & (_file.c.load_seq <= through_seq)
    return _all(tx, where)


def outranked_on(tx: Connection, *, edc: str, day: date) -> list[LakeFile]:
    """The files of a usage day whose drops brought blocks below a later stamp; which of them do is in the files."""
    some = select(tables.drop.c.id).where(tables.drop.c.blocks_outranked > 0)
    where = (_file.c.edc == edc) & (_file.c.usage_date == day) & (_file.c.kind == "usage")
    return _all(tx, where & (_file.c.version_high > 1) & _file.c.drop_id.in_(some))


def of_drop(tx: Connection, drop_id: str) -> list[LakeFile]:
    return _all(tx, _file.c.drop_id == drop_id)


def by_ids(tx: Connection, wanted: list[int]) -> dict[int, LakeFile]:
    """Files by id; a file that is not there is missing in the answer."""
    found: dict[int, LakeFile] = {}
    for start in range(0, len(wanted), 500):
        found |= {file.id: file for file in _all(tx, _file.c.id.in_(wanted[start : start + 500]))}
    return found


def holding(tx: Connection, account: str, *, edc: str, day: date | None = None) -> list[LakeFile]:
    """The files of an EDC, of one usage day or of all, whose range of accounts includes this one."""
    where = (_file.c.edc == edc) & (_file.c.account_low <= account) & (_file.c.account_high >= account)
    return _all(tx, where if day is None else where & (_file.c.usage_date == day))


def paths(tx: Connection, *, kind: str, where: ColumnElement[bool] | None = None) -> list[str]:
    """The paths of the files of a kind, all or those of `touching` or `latest`."""
    query = select(_file.c.path).where(_file.c.kind == kind)
    query = query if where is None else query.where(where)
    return list(tx.execute(query.order_by(_file.c.usage_date, _file.c.id)).scalars())


def later_paths(tx: Connection, *, where: ColumnElement[bool] | None = None) -> list[str]:
    """The paths of usage files that hold any version above 1."""
    later = _file.c.version_high > 1
    return paths(tx, kind="usage", where=later if where is None else later & where)


def days(tx: Connection, *, where: ColumnElement[bool] | None = None) -> list[tuple[str, date]]:
    """Every EDC and usage day of which anything is loaded."""
    query = select(_file.c.edc, _file.c.usage_date).distinct()
    query = query if where is None else query.where(where)
    return [(edc, day) for edc, day in tx.execute(query.order_by(_file.c.edc, _file.c.usage_date))]


def touching(condition: Condition) -> ColumnElement[bool] | None:
    """The files that may hold blocks for which a condition is true; None: it says nothing of files."""
    return in_sql(condition, _may_hold)


def _may_hold(one: Compared) -> ColumnElement[bool] | None:
    kinds = {type(value) for value in one.values}
    if kinds == {str} and one.column == "edc":
        return _in_reach(_file.c.edc, _file.c.edc, one.by, one.values)
    if kinds == {str} and one.column == "account":
        return _in_reach(_file.c.account_low, _file.c.account_high, one.by, one.values)
    day: ColumnElement[date] = _file.c.usage_date
    if kinds == {date} and one.column == "usage_date":
        return _in_reach(day, day, one.by, one.values)
    if kinds == {datetime} and one.column in {"start_utc", "start_local"}:
        starts = [value.date() for value in one.values if isinstance(value, datetime)]
        # Wherever the EDC is, an interval starts on its usage day, or by UTC on the day before or after it.
        reach = (day >= min(starts) - _A_DAY) if one.by not in _BELOW else None
        until = (day <= max(starts) + _A_DAY) if one.by not in _ABOVE else None
        return and_(*(part for part in (reach, until) if part is not None))
    return None


_A_DAY = timedelta(days=1)
_BELOW, _ABOVE = ("<", "<="), (">", ">=")


def _in_reach(
    low: ColumnElement[Any], high: ColumnElement[Any], by: str, values: Sequence[Any]
) -> ColumnElement[bool]:
    """Whether any value from `low` to `high` compares so with one of these."""
    found: ColumnElement[bool] = low <= max(values)
    if by in _ABOVE:
        found = high >= min(values)
    elif low is high and len(values) == 1 and by not in _BELOW:
        found = low == values[0]
    elif by not in _BELOW:
        found &= high >= min(values)
    return found


def latest(tx: Connection, *, blocks: int) -> ColumnElement[bool] | None:
    """The files of as many of an EDC's latest usage days as hold so many current blocks; None: all files."""
    query = select(_file.c.edc).order_by(_file.c.id.desc()).limit(1)
    edc = tx.execute(query).scalar_one_or_none()
    first = func.sum(_file.c.first_versions)  # each stack has one version that is current
    by_day = select(_file.c.usage_date, first).where((_file.c.edc == edc) & (_file.c.kind == "usage"))
    found = 0
    for day, count in tx.execute(by_day.group_by(_file.c.usage_date).order_by(_file.c.usage_date.desc())):
        found += count
        if found >= blocks:
            since: ColumnElement[bool] = (_file.c.edc == edc) & (_file.c.usage_date >= day)
            return since
    return None


def night(tx: Connection, *, edc: str, day: date, until: datetime | None = None) -> dict[str, Any]:
    """What is loaded of an EDC's usage day, of drops that had arrived by `until`: files, blocks, first
    versions, late ones, drops, last load.
    """
    where = (_file.c.edc == edc) & (_file.c.usage_date == day) & (_file.c.kind == "usage")
    if until is not None:
        where &= tables.drop.c.arrived_at <= until
    query = (
        select(
            func.count().label("files"),
            func.coalesce(func.sum(_file.c.rows), 0).label("blocks"),
            func.coalesce(func.sum(_file.c.first_versions), 0).label("first_versions"),
            func.coalesce(func.sum(_file.c.late), 0).label("late"),
            func.count(_file.c.drop_id.distinct()).label("drops"),
            func.max(_load.c.loaded_at).label("last_load_at"),
        )
        .join(_load, _load.c.seq == _file.c.load_seq)
        .join(tables.drop, tables.drop.c.id == _file.c.drop_id)
        .where(where)
    )
    return dict(tx.execute(query).one()._asdict())


def _all(tx: Connection, where: ColumnElement[bool]) -> list[LakeFile]:
    return [_read(row) for row in tx.execute(select(*_COLUMNS).where(where).order_by(_file.c.id))]


def _read(row: Row[Any]) -> LakeFile:
    return LakeFile(**row._asdict())
