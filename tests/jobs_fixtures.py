"""What EDCs send and EGSs find, written and read line by line, without the code that the hub does it with."""

import gzip
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

from hub_fixtures import CNP, Hub
from schemas.drop import Drop
from schemas.sample import EGSS, Edc
from schemas.usage_day import UsageDay

CHAMPION, BLUEBONNET, KEYSTONE, LONESTAR = EGSS
STRANGER_DUNS = "999888777"  # of an EGS that is no partner

Reading = tuple[str, str, str, str, tuple[str, ...]]  # account, channel, day, stamp, values
Supplier = str | tuple[str, date | None]  # an EGS's DUNS; and from when


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A block as its EDC cuts it: each interval of the day has the same reading."""

    account: str
    day: date
    wh: int = 100
    stamp: str = ""  # the EDC's local time; by default early on the day after
    channel: str = "4"
    status: str = "A"
    origin: str = "M"
    seconds: int = 900

    @property
    def stamped(self) -> str:
        return self.stamp or f"{self.day + timedelta(days=1):%Y%m%d}041530"

    @property
    def value(self) -> str:
        return f"{self.wh / 1000:.3f}"

    def intervals(self, edc: Edc) -> int:
        return UsageDay(self.day, edc.zone).intervals(self.seconds)

    def text(self, edc: Edc, *, intervals: int | None = None) -> str:
        count = self.intervals(edc) if intervals is None else intervals
        day = f"{self.day:%Y%m%d}"
        return (
            f"00000001,{self.account},{self.channel},{day}000000,{day}235959,Y,N\n"
            f"00000002,,,1,0,1,0,{self.seconds},01,,12,,,CST6CDT\n"
            "00000003,\n"
            f"00000004,{self.stamp or self.stamped},{self.origin}\n"
            "10000000," + ",".join([f"{self.value},{self.status},"] * count) + "\n"
        )

    def read(self, edc: Edc) -> Reading:
        """What an EGS finds of it."""
        value = self.value.rstrip("0").rstrip(".")  # decimals are written without zeros behind
        values = (value,) * self.intervals(edc)
        return (self.account, self.channel, f"{self.day:%Y%m%d}", self.stamped, values)

    def again(self, **changes: Any) -> "Cut":
        return replace(self, **changes)


def lse(cuts: Iterable[Cut], edc: Edc = CNP) -> bytes:
    return "".join(cut.text(edc) for cut in cuts).encode()


def stamp(hub: Hub, edc: Edc) -> str:
    return f"{hub.now.astimezone(edc.zone):%Y%m%d%H%M%S}"


_sent: dict[int, int] = {}


def _number(hub: Hub) -> int:
    """A counter for a file name, 0 to 999 in turn."""
    _sent[id(hub)] = _sent.get(id(hub), -1) + 1
    return _sent[id(hub)] % 1000


def interval_name(hub: Hub, edc: Edc = CNP, *, ending: str = "lse") -> str:
    return f"{edc.duns}IntervalData{stamp(hub, edc)}{_number(hub):03}.{ending}"


def sync_name(hub: Hub, edc: Edc = CNP) -> str:
    return f"{edc.duns}MeterDataSync{stamp(hub, edc)}{_number(hub):03}.csv"


def send(hub: Hub, *cuts: Cut, edc: Edc = CNP) -> Drop:
    """Upload blocks; the drop goes as far as it can."""
    return hub.upload(edc.id, interval_name(hub, edc), lse(cuts, edc))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of a sync."""

    account: str
    duns: str = CHAMPION.duns
    start: date | None = date(2013, 1, 15)
    status: str = "A"
    meter: str = ""
    channels: str = "4"
    zip: str = "77002"
    ami: str = "Y"

    def text(self) -> str:
        start = f"{self.start:%Y%m%d}" if self.start and self.duns else ""
        name = "SOME ENERGY" if self.duns else ""
        meter = self.meter or f"M{self.account}"
        return (
            f"DTL,{self.account},{self.duns},{name},{start},{self.status},RES,RESHIWR,07,{self.zip},"
            f"{meter},1,{self.channels},900,{self.ami}\n"
        )


def rows_of(roster: Mapping[str, Supplier] | Iterable[Row]) -> list[Row]:
    if not isinstance(roster, Mapping):
        return list(roster)
    return [
        Row(account=account, duns=said) if isinstance(said, str)
        else Row(account=account, duns=said[0], start=said[1])
        for account, said in roster.items()
    ]  # fmt: skip


def sync_part(
    roster: Mapping[str, Supplier] | Iterable[Row],
    *,
    as_of: date,
    part: int = 1,
    parts: int = 1,
    edc: Edc = CNP,
) -> bytes:
    rows = rows_of(roster)
    head = f"HDR,METERDATASYNC,1,{edc.duns},{as_of:%Y%m%d},{part},{parts}\n"
    return (head + "".join(row.text() for row in rows) + f"TRL,{len(rows)}\n").encode()


def send_sync(
    hub: Hub,
    roster: Mapping[str, Supplier] | Iterable[Row],
    *,
    as_of: date | None = None,
    part: int = 1,
    parts: int = 1,
    edc: Edc = CNP,
) -> Drop:
    """Upload a part of a sync, by default all of one as of today; the drop goes as far as it can."""
    as_of = as_of or hub.now.astimezone(edc.zone).date()
    return hub.upload(
        edc.id, sync_name(hub, edc), sync_part(roster, as_of=as_of, part=part, parts=parts, edc=edc)
    )


def read_lse(path: Path) -> Iterator[Reading]:
    """The blocks of an outbound file, by splitting lines."""
    account = channel = day = stamp = ""
    for line in gzip.decompress(path.read_bytes()).decode().splitlines():
        fields = line.split(",")
        if fields[0] == "00000001":
            account, channel, day = fields[1], fields[2], fields[3][:8]
        elif fields[0] == "00000004":
            stamp = fields[1]
        elif fields[0] >= "10000000":
            yield account, channel, day, stamp, tuple(fields[1::3])


def found(hub: Hub, egs: str) -> list[Reading]:
    """All blocks in the outbound folder of an EGS, in the order of its files' sequence numbers."""
    outbound = hub.stores.mailboxes.folder(egs, "outbound")
    manifests = sorted(manifests_of(hub, egs), key=lambda manifest: manifest["sequence"])
    files = [outbound / manifest["file"] for manifest in manifests]
    return [block for file in files if file.exists() for block in read_lse(file)]


def accounts_found(hub: Hub, egs: str) -> list[str]:
    return [reading[0] for reading in found(hub, egs)]


def manifests_of(hub: Hub, egs: str) -> list[dict[str, Any]]:
    folder = hub.stores.mailboxes.folder(egs, "outbound")
    return [json.loads(path.read_text()) for path in sorted(folder.glob("*.manifest.json"))]


def local(edc: Edc, day: date, hour: int, minute: int = 0, second: int = 0) -> datetime:
    """The instant at which an EDC's clocks show that time."""
    return datetime(day.year, day.month, day.day, hour, minute, second, tzinfo=edc.zone)
