"""What the partners of a tortured hub send, drawn from a seed, and what must have become of it.

Most accounts stay with their EGS for good; a few switch with each sync. Every block that is sent has a stamp of
its own, so that each can be told from all others wherever it turns up.
"""

import hashlib
import threading
from dataclasses import dataclass, field
from datetime import date, timedelta
from random import Random

ZONES = ("America/Chicago", "America/New_York")  # where a day begins last, first
INTERVALS = 96
_STAYING, _SWITCHING = 24, 6  # accounts of an EDC

Key = tuple[str, str, str]  # account, usage day and stamp of a block


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """A partner: an EDC, or an EGS."""

    id: str
    role: str
    duns: str
    zone: str = ""


def parties(edcs: int, egss: int) -> tuple[list[Party], list[Party]]:
    """So many EDCs and EGSs."""
    return (
        [
            Party(id=f"edc{n}", role="edc", duns=f"9578779{n:02}", zone=ZONES[n % len(ZONES)])
            for n in range(edcs)
        ],
        [Party(id=f"egs{n}", role="egs", duns=f"8041122{n:02}") for n in range(egss)],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """A file that an EDC sends, until it knows that the hub has it. `kind`: bucket, sync or bad."""

    edc: str
    name: str
    kind: str
    content: bytes
    blocks: frozenset[Key] = frozenset()

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


@dataclass(slots=True)
class Territory:
    """One EDC: its accounts, who has which, and what it has sent. Used by its own thread."""

    edc: Party
    egss: list[Party]
    random: Random
    owners: dict[str, str] = field(default_factory=dict)  # account → EGS, by the last sync that was sent
    staying: tuple[str, ...] = ()
    switching: tuple[str, ...] = ()
    sent: list[Sent] = field(default_factory=list)
    _counter: int = 0

    def __post_init__(self) -> None:
        accounts = [f"10089010{self.edc.duns[-2:]}{n:07}" for n in range(_STAYING + _SWITCHING)]
        self.staying, self.switching = tuple(accounts[:_STAYING]), tuple(accounts[_STAYING:])
        self.owners = {account: self.random.choice(self.egss).id for account in accounts}

    def next(self, today: date) -> Sent:
        """What the EDC sends next."""
        drawn = self.random.random()
        if not self.sent:
            file = self.sync(today)
        elif drawn < 0.12:
            for account in self.random.sample(self.switching, 2):
                self.owners[account] = self.random.choice(self.egss).id
            file = self.sync(today)
        elif drawn < 0.18:
            file = self._file(
                "bad", "IntervalData", today, "lse.gz", b"\x1f\x8b" + self.random.randbytes(200)
            )
        elif drawn < 0.28 and (buckets := [one for one in self.sent if one.kind == "bucket"]):
            again = self.random.choice(buckets)  # the same readings under another name: a duplicate
            file = self._file("bucket", "IntervalData", today, "lse", again.content, again.blocks)
        else:
            file = self.bucket(today)
        self.sent.append(file)
        return file

    def bucket(self, today: date) -> Sent:
        """Readings of some accounts, of one of the last days: first ones, or new ones in their place."""
        day = today - timedelta(days=self.random.randint(1, 4))
        texts, keys = [], set()
        for account in sorted(self.random.sample([*self.staying, *self.switching], 12)):
            self._counter += 1
            made = divmod(self._counter, 3600)
            stamp = f"{day + timedelta(days=1):%Y%m%d}{made[0] % 24:02}{made[1] // 60:02}{made[1] % 60:02}"
            texts.append(_block(account, day, stamp, self._counter))
            keys.add((account, f"{day:%Y%m%d}", stamp))
        return self._file("bucket", "IntervalData", today, "lse", "".join(texts).encode(), frozenset(keys))

    def sync(self, today: date) -> Sent:
        """Who has which account, by now. A file of its own even if nothing has changed."""
        self._counter += 1
        duns = {egs.id: egs.duns for egs in self.egss}
        rows = [
            f"DTL,{account},{duns[egs]},SOME ENERGY,20130115,A,RES,R{self._counter},07,77002,M{account},1,4,900,Y\n"
            for account, egs in sorted(self.owners.items())
        ]
        head = f"HDR,METERDATASYNC,1,{self.edc.duns},{today:%Y%m%d},1,1\n"
        text = f"{head}{''.join(rows)}TRL,{len(rows)}\n"
        return self._file("sync", "MeterDataSync", today, "csv", text.encode())

    def _file(
        self,
        kind: str,
        word: str,
        today: date,
        ending: str,
        content: bytes,
        blocks: frozenset[Key] = frozenset(),
    ) -> Sent:
        self._counter += 1
        number = f"{self._counter:09}"
        name = f"{self.edc.duns}{word}{today:%Y%m%d}{number[:6]}{number[6:]}.{ending}"
        return Sent(edc=self.edc.id, name=name, kind=kind, content=content, blocks=blocks)


@dataclass(slots=True)
class World:
    """All EDCs, and what EGSs have taken home: by EGS and file name, the bytes."""

    edcs: list[Party]
    egss: list[Party]
    territories: dict[str, Territory]
    taken: dict[str, dict[str, bytes]]
    waiting: dict[str, Sent] = field(default_factory=dict)  # by EDC: what it does not know to be there
    lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def drawn(cls, seed: str, *, edcs: int, egss: int) -> "World":
        senders, takers = parties(edcs, egss)
        land = {one.id: Territory(one, takers, Random(f"{seed}/{one.id}")) for one in senders}  # noqa: S311
        return cls(edcs=senders, egss=takers, territories=land, taken={one.id: {} for one in takers})

    def owner(self, account: str) -> str:
        """The EGS of record by the last sync that was sent."""
        return next(land.owners[account] for land in self.territories.values() if account in land.owners)


def _block(account: str, day: date, stamp: str, wh: int) -> str:
    value = f"{wh / 1000:.3f},A,"
    return (
        f"00000001,{account},4,{day:%Y%m%d}000000,{day:%Y%m%d}235959,Y,N\n"
        "00000002,,,1,0,1,0,900,01,,12,,,CST6CDT\n"
        "00000003,\n"
        f"00000004,{stamp},M\n"
        "10000000," + ",".join([value] * INTERVALS) + "\n"
    )
