"""Outbound files, read again: each as its row and manifest have it, and no account in it of somebody else's.

Whose an account is, is asked of the roster file itself here, in SQL of this module's own: neither the way
in which a publication shares blocks out nor the way in which it reads a roster is used.
"""

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from jobs.proofs import lse
from jobs.proofs.finding import ASK, RESTORE, Check, Finding, Look
from jobs.proofs.known import Known
from jobs.proofs.lake import Tally
from jobs.proofs.place import Place, sha256
from schemas.usage_day import local_date

_ROSTERS = 3  # held at a time


class Suppliers:
    """What one roster says: the accounts of each EGS, by its DUNS, with the day from when on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._opened: duckdb.DuckDBPyConnection | None = None

    def strangers(self, accounts: pa.ChunkedArray, *, duns: str, today: date) -> list[str]:
        """Of these accounts, those whose supplier on that day is not the one of that DUNS; a few of them."""
        with self._lock:
            if self._opened is None:
                self._opened = duckdb.connect(config={"threads": 1})
                self._opened.execute(
                    "create table supplier as select distinct account, egs_duns, egs_start "
                    "from read_parquet(?) order by egs_duns, account",
                    [str(self._path)],
                )
            sql = self._opened.cursor()
        asked = pa.table({"account": accounts})
        with sql:
            sql.register("asked", asked)
            rows = sql.execute(
                "select distinct account from asked anti join ("
                "  select account from supplier where egs_duns = ? and (egs_start is null or egs_start <= ?)"
                ") using (account) order by account limit 5",
                [duns, today],
            ).fetchall()
        return [account for (account,) in rows]

    def close(self) -> None:
        with self._lock:
            if self._opened is not None:
                self._opened.close()
                self._opened = None


@dataclass(slots=True, kw_only=True)
class Files:
    """All that is known of outbound files, and what was found on the way."""

    known: Known
    place: Place
    given: Counter[int] = field(default_factory=Counter)  # blocks by lake file, of what was laid out first
    laid: dict[str, Counter[int]] = field(default_factory=dict)  # blocks by publication and lake file
    unread: set[str] = field(default_factory=set)  # publications of which a list could not be read
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _rosters: dict[str, Suppliers] = field(default_factory=dict)
    _syncs: dict[str, Any] = field(init=False)
    _in_force: dict[str, Any] = field(init=False)  # by EDC
    _published_at: dict[str, datetime] = field(init=False)

    def __post_init__(self) -> None:
        self._syncs = {row.id: row for row in self.known.syncs}
        self._in_force = {row.edc: row for row in self.known.syncs if row.state == "in-force"}
        self._published_at = {row.id: row.at for row in self.known.publications}

    def looks(self) -> Iterator[Look]:
        """One for each file that lies there or should not; and one for each list of blocks."""
        first = {row.id for row in self.known.publications if not row.replaces}
        for row in sorted(self.known.outbound, key=lambda row: row.sync_id):
            path = self.place.mailbox(row.egs, "outbound") / row.name
            where = self.place.named(path)
            yield Look(check=Check.OUTBOUND, where=where, look=partial(self._file, row, path, where))
            if not row.contents:
                continue  # of a ledger that was made again: the list is not known
            contents = self.place.home.state / row.contents
            listed = self.place.named(contents)
            look = partial(self._contents, row, contents, listed, row.publication_id in first)
            yield Look(check=Check.OWNERS, where=listed, look=look)

    def _file(self, row: Any, path: Path, where: str) -> Iterator[Finding]:
        claim = f"outbound:{row.edc}"
        if row.state == "recorded" and not path.exists():
            return  # it is to appear yet
        if row.state not in ("recorded", "laid-out"):
            if path.exists():
                what = f"it is {row.state}, and lies there still"
                do = f"take it away at once: rm {where}"
                yield Finding(check=Check.OWNERS, where=where, what=what, do=do, claim=claim)
            return
        try:
            reread = lse.read(path)
        except FileNotFoundError:
            yield Finding(check=Check.OUTBOUND, where=where, what="it is gone", do=RESTORE, claim=claim)
            return
        wrong = list(self._against_row(row, reread))
        for what in wrong:
            yield Finding(check=Check.OUTBOUND, where=where, what=what, do=RESTORE, claim=claim)
        in_force = self._in_force.get(row.edc)
        if in_force is not None and not reread.broken:
            what = self._somebody_elses(row, reread.accounts, in_force.path, self.place.now)
            if what:
                do = f"take it away at once (rm {where}), and tell its EGS and whoever made this hub"
                what = f"{what}, by {in_force.id}, in force"
                yield Finding(check=Check.OWNERS, where=where, what=what, do=do, claim=claim)
        if not wrong:
            yield from self._against_list(row, reread, where)

    def _against_row(self, row: Any, reread: lse.Reread) -> Iterator[str]:
        """How the bytes differ from what the ledger, and so the manifest, counts."""
        if (reread.sha256, reread.bytes) != (row.sha256, row.bytes):
            yield reread.broken or "its bytes are not those that were laid out"
            return
        blocks = sum(len(one) for one in reread.blocks)
        days = {day for one in reread.blocks for day in pc.unique(one["day"]).to_pylist()}
        counted = {
            "blocks": (blocks, row.blocks),
            "intervals": (reread.intervals, row.intervals),
            "estimated": (reread.estimated, row.estimated),
            "usage_days": (sorted(days), sorted(day.replace("-", "") for day in row.usage_days)),
        }
        for name, (found, wanted) in counted.items():
            if found != wanted:
                yield f"its {name} are {found} when it is read again, by its manifest {wanted}"

    def _against_list(self, row: Any, reread: lse.Reread, where: str) -> Iterator[Finding]:
        """The list of a file's blocks, by which withdrawals go, names just the blocks that are in it."""
        with suppress(FileNotFoundError, pa.ArrowInvalid, OSError):  # which is told where the list is read
            listed = _listed(self.place.home.state / row.contents)
            day = pc.strftime(listed["usage_date"], format="%Y%m%d")
            keys = pc.binary_join_element_wise(listed["account"], listed["channel"], day, " ")
            both = pc.is_in(keys, value_set=reread.keys.combine_chunks())
            if len(keys) != len(reread.keys) or not pc.all(both, min_count=0).as_py():
                what = "the list of its blocks, by which a file is withdrawn, names others than are in it"
                claim = f"outbound:{row.edc}"
                yield Finding(check=Check.OWNERS, where=where, what=what, do=ASK, claim=claim)

    def _contents(self, row: Any, path: Path, where: str, first: bool) -> Iterator[Finding]:
        claim = f"outbound:{row.edc}"
        said = self.known.told.sent.get((row.egs, row.name), {})
        with self._lock:
            self.unread.add(row.name)
        try:
            found = sha256(path)
        except FileNotFoundError:
            if row.state != "recorded":
                yield Finding(check=Check.OUTBOUND, where=where, what="it is gone", do=RESTORE, claim=claim)
            return
        if found != said.get("contents_sha256"):
            what = "it is not as the hub wrote it"
            yield Finding(check=Check.OUTBOUND, where=where, what=what, do=RESTORE, claim=claim)
            return
        listed = _listed(path)
        counts = {one["values"]: one["counts"] for one in pc.value_counts(listed["lake_file_id"]).to_pylist()}
        with self._lock:
            self.unread.discard(row.name)
            self.laid.setdefault(row.publication_id, Counter()).update(counts)
            if first:
                self.given.update(counts)
        sync = self._syncs.get(row.sync_id)
        at = self._published_at.get(row.publication_id)
        if sync is not None and at is not None:
            what = self._somebody_elses(row, listed["account"], sync.path, at)
            if what:
                what = f"{row.name} was laid out for {row.egs} with it: {what}, by {sync.id}"
                do = "tell its EGS and whoever made this hub: the file should never have been laid out"
                yield Finding(check=Check.OWNERS, where=where, what=what, do=do)

    def _somebody_elses(self, row: Any, accounts: pa.ChunkedArray, path: str, at: Any) -> str:
        """What is wrong with the accounts of a file, by a roster, as of an instant."""
        edc = self.place.partners.get(row.edc)
        egs = self.place.partners.get(row.egs)
        if edc is None or edc.zone is None or egs is None:
            return ""  # no partner any more: told among the settings
        try:
            strangers = self._roster(path).strangers(accounts, duns=egs.duns, today=local_date(at, edc.zone))
        except duckdb.Error:  # the roster is damaged or gone, which is told where it is read
            return ""
        return f"{', '.join(strangers)} and maybe others are not {row.egs}'s" if strangers else ""

    def _roster(self, path: str) -> Suppliers:
        """A roster, of which a few are held at a time: files are looked at sync by sync."""
        with self._lock:
            roster = self._rosters.pop(path, None) or Suppliers(self.place.lake / path)
            self._rosters[path] = roster
            while len(self._rosters) > _ROSTERS:
                self._rosters.pop(next(iter(self._rosters))).close()
            return roster

    def sums(self, tally: Tally) -> Iterator[Finding]:
        """No lake file's blocks are given away more often than it has blocks, but for those that were taken back
        before they were fetched; and each publication adds up.
        """
        yield from self._publications(tally)
        rows = {row.id: row for row in self.known.lake_files}
        for lake_file_id, given in self.given.items():
            row = rows.get(lake_file_id)
            again = self.known.unfetched.get(lake_file_id, 0)
            if row is None or given > row.rows + again:
                has = "is not there" if row is None else f"has {row.rows}, and {again} of them twice"
                what = f"{given} blocks of lake file {lake_file_id} were laid out, which {has}"
                yield Finding(
                    check=Check.SUMS,
                    where=row.path if row else f"lake file {lake_file_id}",
                    what=what,
                    do=ASK,
                )

    def _publications(self, tally: Tally) -> Iterator[Finding]:
        """What the manifests of a publication count is what the lake has of the blocks that its lists name."""
        blocks, intervals, unread = Counter[str](), Counter[str](), set()
        for row in self.known.outbound:
            blocks[row.publication_id] += row.blocks
            intervals[row.publication_id] += row.intervals
            if row.name in self.unread or not row.contents:
                unread.add(row.publication_id)
        for publication_id, laid in self.laid.items():
            if publication_id in unread or not laid.keys() <= tally.ends.keys():
                continue  # what cannot be read is told of where it is read
            least = sum(count * tally.ends[one][0] for one, count in laid.items())
            most = sum(count * tally.ends[one][1] for one, count in laid.items())
            if laid.total() != blocks[publication_id] or not least <= intervals[publication_id] <= most:
                has = f"{least}" if least == most else f"{least} to {most}"
                what = (
                    f"its manifests count {blocks[publication_id]} blocks with {intervals[publication_id]} intervals; "
                    f"its lists name {laid.total()} blocks, of which the lake has {has} intervals"
                )
                yield Finding(check=Check.SUMS, where=publication_id, what=what, do=ASK)

    def strangers(self) -> Iterator[Finding]:
        """Lists of blocks that belong to no file."""
        wanted = {row.contents for row in self.known.outbound}
        folder = self.place.home.state / "contents"
        for path in sorted(folder.rglob("*")) if folder.is_dir() else ():
            if path.is_file() and str(path.relative_to(self.place.home.state)) not in wanted:
                what, do = "no outbound file has it as its list of blocks", "take it away: nobody reads it"
                yield Finding(check=Check.STRANGERS, where=self.place.named(path), what=what, do=do)

    def close(self) -> None:
        for one in self._rosters.values():
            one.close()


def _listed(path: Path) -> pa.Table:
    with pa.memory_map(str(path)) as source:
        return pa.ipc.open_file(source).read_all()
