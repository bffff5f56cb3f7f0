"""Names of the files that partners send: `<DUNS><Kind><ccyymmddhhmmss><counter>.lse[.gz]`.

Source: formats.md, sections 1 to 3. The literal of the kind is looked for; characters are not
counted from the left, since a DUNS has 9 to 13 of them.
"""

import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from schemas.fault import Fault


class Kind(StrEnum):
    """What a file holds, as its name says."""

    INTERVALS = "IntervalData"
    SYNC = "MeterDataSync"
    SUMMARY = "DailySummary"


WANTED = "<DUNS>(IntervalData|MeterDataSync|DailySummary)<ccyymmddhhmmss><counter>.(lse|csv)[.gz]"
_NAME = re.compile(
    r"(?P<duns>[A-Z0-9]{9,13})(?P<kind>IntervalData|MeterDataSync|DailySummary)"
    r"(?P<stamp>\d{14})(?P<counter>\d{3})\.(?P<ending>lse|csv)(?P<gz>\.gz)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileName:
    """A name of the agreed form, taken apart."""

    duns: str
    kind: Kind
    stamp: str  # 14 digits: the sending time, local to the sender
    counter: str
    ending: str
    gzipped: bool

    def __str__(self) -> str:
        gz = ".gz" if self.gzipped else ""
        return f"{self.duns}{self.kind}{self.stamp}{self.counter}.{self.ending}{gz}"


def parse(name: str) -> FileName | Fault:
    """The parts of `name`, or the fault that says what is wrong with it."""
    match = _NAME.fullmatch(name)
    if match is None:
        return Fault(code="name", found=name, wanted=WANTED)
    kind = Kind(match["kind"])
    if kind is not Kind.INTERVALS and match["ending"] != "csv":
        return Fault(code="name", found=name, wanted=f"{kind} files end in .csv or .csv.gz")
    if not is_stamp(match["stamp"]):
        return Fault(code="name", found=match["stamp"], wanted="ccyymmddhhmmss, a time that exists")
    return FileName(
        duns=match["duns"],
        kind=kind,
        stamp=match["stamp"],
        counter=match["counter"],
        ending=match["ending"],
        gzipped=match["gz"] is not None,
    )


def outbound(*, duns: str, at: datetime, counter: int) -> str:
    """The name of an outbound interval file of an EDC, sent at the local time `at`."""
    return f"{duns}{Kind.INTERVALS}{at:%Y%m%d%H%M%S}{counter:03d}.lse.gz"


def is_stamp(text: str) -> bool:
    """Whether `text` is 14 digits that name a date and time of the calendar."""
    if not (len(text) == 14 and text.isascii() and text.isdigit()):
        return False
    try:
        datetime.strptime(text, "%Y%m%d%H%M%S")  # noqa: DTZ007 - stamps are local, without a zone
    except ValueError:
        return False
    return True
