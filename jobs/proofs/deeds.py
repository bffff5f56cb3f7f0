"""Deeds: what events tell of runs, verdicts, collections, blocks held and work parked, held to the rows of these."""

import bisect
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection, Table, select

from jobs.proofs.finding import ASK, Check, Finding
from jobs.stores.ledger import runs
from jobs.stores.ledger.events import Link
from jobs.stores.ledger.tallies import Tally, counted
from schemas import ids, tables

_CHUNK = 5_000  # rows
_VERDICTS = {"deadline.met": "met", "deadline.missed": "missed", "deadline.unjudged": "unknown"}
_FOUND_LATER = {"unfetched": "unfetched", "nobody": "nobody's"}  # not by who looked at the load first
_COUNTS = ("expected", "in_time", "late", "missing", "hub_late_seconds")


class Deeds:
    """What was told, event by event. Whatever a ledger that was made again has from before, nothing tells of."""

    def __init__(self) -> None:
        self.runs: dict[tuple[str, str], tuple[str, str, str]] = {}
        self.verdicts: dict[tuple[str, str], dict[str, Any]] = {}
        self.collections: Counter[tuple[Any, ...]] = Counter()
        self.held: dict[tuple[str, ...], list[str]] = defaultdict(list)
        self.parked: dict[str, tuple[Any, ...]] = {}
        self.was_lost = False  # the ledger, and is made again

    def hear(self, link: Link, said: Mapping[str, Any]) -> None:
        """Take in one event."""
        match link.name:
            case "ledger.rebuilt":
                self.was_lost = True
            case "job.ended":
                self.runs[said["job"], link.about] = (_utc(said["began_at"]), link.at, said["said_sha256"])
            case "deadline.met" | "deadline.missed" | "deadline.unjudged":
                judged = {name: said[name] for name in _COUNTS if name in said} | {
                    "reported_seq": said["through"]
                }
                judged |= {"verdict": _VERDICTS[link.name], "judged_at": link.at}
                self.verdicts[_edc_day(link)] = judged
            case "deadline.reported":
                anew = {"late": said["late"], "missing": said["missing"], "reported_seq": said["through"]}
                self.verdicts.setdefault(_edc_day(link), {}).update(anew)
            case "outbound.collected":
                began = _utc(said["began_at"])
                self.collections[
                    link.partner, link.about, said["bytes"], said["whole"], said["address"], said["key"],
                    said["session"], began, link.at,
                ] += 1  # fmt: skip
            case "blocks.held":
                self.held["held by", link.about, link.at].append(said["held"])
                self.held["given free by", link.about, link.at].append(said["given_free"])
                if counted([said["given_up"]]):
                    self.held["given up", link.partner, link.at].append(said["given_up"])
                self.held["of another reason by", link.about].append(said["reheld"])
            case "blocks.unfetched":
                self.held["unfetched", link.partner, link.at].append(said["held"])
            case "blocks.nobodys":
                self.held["nobody's", link.partner, link.at].append(said["held"])
            case "work.parked":
                self.parked[said["task"]] = (link.about, link.partner, link.at)
            case "work.retried" | "work.refused":
                self.parked.pop(said["task"], None)

    def check(self, tx: Connection) -> Iterator[Finding]:
        """Hold the rows to it."""
        yield from self._runs(tx)
        yield from self._verdicts(tx)
        yield from self._collections(tx)
        yield from self._held(tx)
        yield from self._parked(tx)

    def _runs(self, tx: Connection) -> Iterator[Finding]:
        found = {
            (row.job, row.key): (_text(row.began_at), _text(row.ended_at), runs.said_hash(row.said))
            for row in _rows(tx, tables.job_run)
            if row.ended_at is not None
        }
        yield from _differences("run", found, self.runs)

    def _verdicts(self, tx: Connection) -> Iterator[Finding]:
        rows = {(row.edc, str(row.usage_date)): row for row in _rows(tx, tables.verdict)}
        for key in self.verdicts.keys() - rows.keys():
            yield _finding("verdict", key, "its event is there, and its row is not")
        for key, row in rows.items():
            told = self.verdicts.get(key)
            if told is None and not self.was_lost:
                yield _finding("verdict", key, "no event tells of it")
            for name, wanted in (told or {}).items():
                found = _text(row.judged_at) if name == "judged_at" else getattr(row, name)
                if found != wanted:
                    yield _finding("verdict", key, f"{name} is {found} in its row and {wanted} in its event")

    def _collections(self, tx: Connection) -> Iterator[Finding]:
        row, file = tables.collection, tables.outbound_file
        query = select(row, file.c.name).join_from(
            row, file, row.c.outbound_file_id == file.c.id, isouter=True
        )
        found = Counter(
            (
                one.partner, one.name, one.bytes, one.whole, one.address, one.key_fingerprint, one.session,
                _text(one.began_at), _text(one.ended_at),
            )
            for one in tx.execute(query.execution_options(yield_per=_CHUNK))
        )  # fmt: skip
        for key in sorted((found - self.collections).keys(), key=str):
            yield _finding(
                "collection", (key[0], str(key[1])), f"no event tells of it as it stands, ended {key[-1]}"
            )
        for key in sorted((self.collections - found).keys(), key=str):
            yield _finding("collection", key[:2], f"an event tells of one, ended {key[-1]}, that no row has")

    def _held(self, tx: Connection) -> Iterator[Finding]:
        found = _held_rows(tx)
        for key in sorted(found.keys() | self.held.keys()):
            told, stands = self.held.get(key, []), found.get(key, Tally())
            if not stands.is_that_of(told):
                many = f"{stands.count} rows, by its event {counted(told)}"
                what = (
                    many if stands.count != counted(told) else f"{many}, and they are not as they were noted"
                )
                yield _finding("held", key, what)

    def _parked(self, tx: Connection) -> Iterator[Finding]:
        where = tables.failure.c.parked_at.is_not(None)
        rows = tx.execute(select(tables.failure).where(where))
        found = {row.task: (row.about, row.partner, _text(row.parked_at)) for row in rows}
        for task in sorted(found.keys() | self.parked.keys()):
            if found.get(task) != self.parked.get(task):
                yield _finding("failure", (task,), "what is parked is not what its event says")


def _held_rows(tx: Connection) -> dict[tuple[str, ...], Tally]:
    """The tallies of what is held, and was, by the rows: as they were at first, and as they became."""
    before: dict[int, list[Any]] = defaultdict(list)
    for row in _rows(tx, tables.held_before):
        before[row.held_id].append(row)
    found: dict[tuple[str, ...], Tally] = defaultdict(Tally)
    held_by = _Looked(tx)
    for row in held_by.rows(tx):
        block = (row.lake_file_id, row.account, row.channel)
        reasons = [(one.reason, one.egs_duns) for one in before[row.id]] if row.id in before else []
        reasons.append((row.reason, row.egs_duns))
        by = ("held by", held_by.publication(row), _text(row.since))
        if reasons[0][0] in _FOUND_LATER:
            by = (_FOUND_LATER[reasons[0][0]], row.edc, _text(row.since))
        found[by].add(*block, *reasons[0])
        for one, (was, now) in zip(before.pop(row.id, ()), itertools.pairwise(reasons), strict=True):
            found["of another reason by", one.publication_id].add(*block, *was, *now)
        if row.released_at is None and not row.release:
            continue
        if ids.PUBLICATION.fullmatch(row.release):
            found["given free by", row.release, _text(row.released_at)].add(*block)
        else:
            found["given up", row.edc, _text(row.released_at)].add(*block, row.release)
    for held_id, rows in before.items():
        found["of another reason by", rows[0].publication_id].add(held_id)
    return found


class _Looked:
    """Which publication was the first that looked at a load: it held back what is held of that."""

    def __init__(self, tx: Connection) -> None:
        self._of: dict[str, list[tuple[int, int, str]]] = defaultdict(list)  # by EDC: through, after, id
        for row in _rows(tx, tables.publication):
            if row.through_seq > row.after_seq:
                self._of[row.edc].append((row.through_seq, row.after_seq, row.id))
        for some in self._of.values():
            some.sort()

    def rows(self, tx: Connection) -> Iterator[Any]:
        """What is held, and was, each with the number of its load."""
        held, file = tables.held, tables.lake_file
        query = select(held, file.c.load_seq).join_from(
            held, file, held.c.lake_file_id == file.c.id, isouter=True
        )
        yield from tx.execute(query.order_by(held.c.id).execution_options(yield_per=_CHUNK))

    def publication(self, row: Any) -> str:
        """Its id; nothing for what no publication can have held."""
        some, seq = self._of.get(row.edc, []), row.load_seq or 0
        at = bisect.bisect_left(some, (seq,))
        return some[at][2] if at < len(some) and some[at][1] < seq else ""


def _rows(tx: Connection, table: Table) -> Iterator[Any]:
    query = select(table).order_by(*table.primary_key)
    yield from tx.execute(query.execution_options(yield_per=_CHUNK))


def _differences(
    kind: str, found: Mapping[tuple[str, str], Any], told: Mapping[tuple[str, str], Any]
) -> Iterator[Finding]:
    for key in sorted(found.keys() | told.keys()):
        if key not in found:
            yield _finding(kind, key, "its event is there, and its row is not")
        elif key not in told:
            yield _finding(kind, key, "no event tells of it")
        elif found[key] != told[key]:
            yield _finding(kind, key, "its row is not what its event says")


def _edc_day(link: Link) -> tuple[str, str]:
    edc, _, day = link.about.partition("/")
    return edc, str(date.fromisoformat(day))


def _utc(said: str) -> str:
    return _text(datetime.fromisoformat(said))


def _text(at: datetime | None) -> str:
    """An instant as the ledger keeps it; nothing for none."""
    return "" if at is None else str(tables.Instant().process_bind_param(at, None))  # type: ignore[arg-type]


def _finding(kind: str, key: tuple[Any, ...], what: str) -> Finding:
    where = f"{kind}: {' '.join(str(one) for one in key if one)}"
    return Finding(check=Check.DEEDS, where=where, what=what, do=ASK)
