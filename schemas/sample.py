"""A sample night: the syncs and buckets that distribution companies might send, of any size.

A `Night` is a recipe; the same recipe gives the same bytes, and each of its files can be made alone. The
morning after the usage day each EDC sends its sync at 03:10 and its buckets at 04:15, local time.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from isal import igzip

from schemas import interval_text, sample_blocks, sample_curves, sample_people, sync_file
from schemas.file_name import Kind
from schemas.sample_people import EDCS, EGSS, Edc, Egs
from schemas.usage_day import UsageDay

__all__ = ["EDCS", "EGSS", "Edc", "Egs", "Night", "SampleFile"]

INTERVAL_SECONDS = 900
_SYNC_AT, _BUCKETS_AT, _EXTRA_AT, _CUTS_AT = time(3, 10), time(4, 15, 30), time(4, 45, 30), time(10, 20)


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleFile:
    """A file to upload, and what to expect of it."""

    name: str
    content: bytes
    edc: str
    says: str
    accounts: int = 0
    blocks: int = 0
    intervals: int = 0
    faults: tuple[str, ...] = ()  # the codes to expect, each once


@dataclass(frozen=True, slots=True, kw_only=True)
class Night:
    """The recipe of a night. Shares are from 0 to 1; counts are per EDC."""

    day: date  # the usage day that is sent
    edcs: tuple[Edc, ...] = EDCS
    egss: tuple[Egs, ...] = EGSS
    accounts: int = 100_000  # in the buckets
    bucket: int = 50_000  # accounts a file
    extra: int = 0  # accounts in the roster besides, which the extra bucket is made of
    strangers: int = 0  # accounts in the extra bucket that the first sync does not name
    estimated: float = 0.02  # share of blocks that hold estimates
    net_metered: float = 0.04  # share of accounts that feed in, too
    default_service: float = 0.05  # share of accounts that are no supplier's
    seed: int = 1
    gzipped: bool = False

    def people(self, edc: Edc) -> sample_people.People:
        """All customers of the EDC: those of the buckets, the extra ones, the strangers."""
        return _people(self, edc)

    def roster(self, edc: Edc, *, later: int = 0, switched: int = 0) -> pa.Table:
        """What the EDC's sync says (`sync_file.ROSTER`) `later` days after the first one.

        Strangers are in it from the next day on; `switched` accounts have gone to another EGS on its
        as-of date.
        """
        rows = sample_people.roster(
            self.people(edc),
            edc,
            self.egss,
            first=self.morning(),
            as_of=self.morning(later),
            switched=self.switchers(edc, switched),
        )
        return rows if later else rows.slice(0, self.accounts + self.extra)

    def switchers(self, edc: Edc, n: int) -> sample_people.Numbers:
        """The places among the EDC's people of the first `n` that a switch concerns, in their order."""
        supplied = np.flatnonzero(self.people(edc).suppliers != sample_people.NOBODY)
        supplied = supplied[supplied < self.accounts + self.extra]
        return np.sort(sample_people.rng(self.seed, edc, _SWITCH).permutation(supplied)[:n])

    def syncs(self) -> Iterator[SampleFile]:
        """Every EDC's sync of the morning after the usage day, in parts."""
        for edc in self.edcs:
            yield from self.sync(edc)

    def switch(self, edc: Edc, *, accounts: int) -> Iterator[SampleFile]:
        """The parts of the next day's sync, in which `accounts` accounts have another EGS."""
        yield from self.sync(edc, later=1, switched=accounts)

    def sync(self, edc: Edc, *, later: int = 0, switched: int = 0) -> Iterator[SampleFile]:
        """The parts of a sync of the EDC, as of `later` days after the first one."""
        rows = self.roster(edc, later=later, switched=switched)
        as_of = self.morning(later)
        parts = max(-(-len(rows) // sync_file.MAX_ROWS), 1)
        for part in range(1, parts + 1):
            some = rows.slice((part - 1) * sync_file.MAX_ROWS, sync_file.MAX_ROWS)
            yield SampleFile(
                name=self.name(edc, Kind.SYNC, as_of, _SYNC_AT, part),
                content=self.packed(
                    sync_file.render(some, duns=edc.duns, as_of=as_of, part=part, parts=parts)
                ),
                edc=edc.id,
                says=f"sync as of {as_of}, part {part} of {parts}"
                + (f", {switched:,} accounts of another EGS" if switched else ""),
                accounts=len(some),
            )

    def buckets(self, *, day: date | None = None) -> Iterator[SampleFile]:
        """Every EDC's buckets of a usage day, by default the night's own."""
        for edc in self.edcs:
            for number in range(-(-self.accounts // self.bucket)):
                yield self.bucket_of(edc, number, day=day)

    def bucket_of(self, edc: Edc, number: int, *, day: date | None = None) -> SampleFile:
        """The EDC's bucket `number`, from 0."""
        day = day or self.day
        begin = number * self.bucket
        end = min(begin + self.bucket, self.accounts)
        blocks = self.blocks(edc, begin, end, day=day)
        return self.file(edc, blocks, says=f"usage of {day}", day=day, at=_BUCKETS_AT, counter=number + 1)

    def replacement(self, edc: Edc, *, accounts: int, cut: int = 1) -> SampleFile:
        """A later cut of some accounts of the first bucket: whole days again, other values, no estimates."""
        end = min(self.bucket, self.accounts)
        accounts = min(accounts, end)
        draw = sample_people.rng(self.seed, edc, _REPLACE, cut)
        chosen = self.people(edc).accounts.take(pa.array(np.sort(draw.permutation(end)[:accounts])))
        blocks = self.blocks(edc, 0, end, day=self.day)
        blocks = blocks.filter(pc.is_in(blocks["account"], chosen)).combine_chunks()
        old = blocks["wh"].combine_chunks().values.to_numpy().reshape(len(blocks), -1)
        mended = sample_curves.whole(old * draw.uniform(0.9, 1.1, (len(blocks), 1)) + 1)
        at = (datetime.combine(self.day, _CUTS_AT) + timedelta(minutes=5 * (cut - 1))).time()
        blocks = sample_blocks.table(
            blocks["account"].combine_chunks(),
            blocks["channel"].combine_chunks(),
            day=UsageDay(self.day, edc.zone),
            interval_seconds=INTERVAL_SECONDS,
            stamp=_stamp(self.morning(), at),
            wh=mended,
            status=np.full(mended.shape, ord("A"), np.uint8),
        )
        says = f"new readings of {self.day} for {accounts:,} accounts"
        return self.file(edc, blocks, says=says, day=self.day, at=at, counter=1)

    def extra_blocks(self, edc: Edc) -> pa.Table:
        """The blocks (`block.FIELDS`) of the extra accounts, then of the strangers."""
        return self.blocks(
            edc, self.accounts, self.accounts + self.extra + self.strangers, day=self.day, at=_EXTRA_AT
        )

    def extra_bucket(self, edc: Edc) -> SampleFile:
        """The bucket of the extra accounts and the strangers, all good."""
        says = f"usage of {self.day} for {self.extra:,} more accounts"
        if self.strangers:
            says += f" and {self.strangers:,} that the sync does not name"
        return self.file(edc, self.extra_blocks(edc), says=says, day=self.day, at=_EXTRA_AT, counter=1)

    def blocks(self, edc: Edc, begin: int, end: int, *, day: date, at: time = _BUCKETS_AT) -> pa.Table:
        """The blocks (`block.FIELDS`) of the people from `begin` to before `end`, load before surplus."""
        them = self.people(edc)
        some = slice(begin, end)
        draw = sample_people.rng(self.seed, edc, _USE, day.toordinal(), begin)
        usage_day = UsageDay(day, edc.zone)
        wh = sample_curves.use(
            them.kinds[some], them.watts[some], day=usage_day, interval_seconds=INTERVAL_SECONDS, rng=draw
        )
        solar = np.flatnonzero(them.solar[some])
        net = wh[solar] - sample_curves.sun(
            len(solar), day=usage_day, interval_seconds=INTERVAL_SECONDS, rng=draw
        )
        wh[solar] = np.maximum(net, 0)
        whose = np.repeat(np.arange(len(wh)), 1 + them.solar[some])
        fed_in = np.append(False, whose[1:] == whose[:-1])
        rows = sample_curves.whole(wh)[whose]
        rows[fed_in] = sample_curves.whole(np.maximum(-net, 0))
        return sample_blocks.table(
            them.accounts.take(pa.array(begin + whose)),
            pa.DictionaryArray.from_arrays(
                pa.array(fed_in.astype(np.int32)), [edc.load, edc.surplus or edc.load]
            ),
            day=usage_day,
            interval_seconds=INTERVAL_SECONDS,
            stamp=_stamp(day + timedelta(days=1), at),
            wh=rows,
            status=sample_blocks.statuses(*rows.shape, estimated=self.estimated, draw=draw),
        )

    def file(self, edc: Edc, blocks: pa.Table, *, says: str, day: date, at: time, counter: int) -> SampleFile:
        """The file of some blocks, sent the day after `day`."""
        return SampleFile(
            name=self.name(edc, Kind.INTERVALS, day + timedelta(days=1), at, counter),
            content=self.packed(interval_text.render(blocks).text),
            edc=edc.id,
            says=says,
            accounts=len(pc.unique(blocks["account"])),
            blocks=len(blocks),
            intervals=len(blocks) * UsageDay(day, edc.zone).intervals(INTERVAL_SECONDS),
        )

    def morning(self, later: int = 0) -> date:
        """The day on which the usage day is sent, or so many days later."""
        return self.day + timedelta(days=1 + later)

    def name(self, edc: Edc, kind: Kind, day: date, at: time, counter: int) -> str:
        """The name of the file `counter` (from 1) of those sent then; the thousandth is sent a minute later."""
        sent = datetime.combine(day, at) + timedelta(minutes=(counter - 1) // 999)
        ending = "lse" if kind is Kind.INTERVALS else "csv"
        gz = ".gz" if self.gzipped else ""
        return f"{edc.duns}{kind}{sent:%Y%m%d%H%M%S}{(counter - 1) % 999 + 1:03}.{ending}{gz}"

    def packed(self, text: bytes | pa.Buffer) -> bytes:
        """A file's content, of its text."""
        if self.gzipped:
            return igzip.compress(text, 1, mtime=0)
        return text if isinstance(text, bytes) else text.to_pybytes()


def _stamp(day: date, at: time) -> str:
    return f"{datetime.combine(day, at):%Y%m%d%H%M%S}"


@lru_cache(maxsize=8)
def _people(night: Night, edc: Edc) -> sample_people.People:
    return sample_people.people(
        edc,
        night.accounts + night.extra + night.strangers,
        suppliers=len(night.egss),
        seed=night.seed,
        net_metered=night.net_metered,
        default_service=night.default_service,
    )


_SWITCH, _REPLACE, _USE = range(3)  # what a source of numbers is for
