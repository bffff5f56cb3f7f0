"""What can be wrong with a file as such, and with the blocks of an interval file: one code each.

Source: formats.md, sections 1 and 4. The codes of meter data syncs stand in `schemas.sync_codes`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a fault spoils: the whole file, one block of it, or a row of a sync (and so all of it)."""

    FILE = "file"
    BLOCK = "block"
    ROW = "row"


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """What a fault code means, with an example of what was found and what was wanted."""

    scope: Scope
    says: str
    found: str
    wanted: str


def _file(says: str, *, found: str, wanted: str) -> Code:
    return Code(scope=Scope.FILE, says=says, found=found, wanted=wanted)


def _block(says: str, *, found: str, wanted: str) -> Code:
    return Code(scope=Scope.BLOCK, says=says, found=found, wanted=wanted)


BY_OPERATOR = "refused-by-operator"

# Known before a file is opened, or from its bytes as a whole. Any of these refuses the file.
OF_FILES: Mapping[str, Code] = {
    "name": _file(
        "the file's name is not of the agreed form",
        found="intervals-monday.lse",
        wanted="<DUNS>(IntervalData|MeterDataSync|DailySummary)<ccyymmddhhmmss><counter>.(lse|csv)[.gz]",
    ),
    "sender": _file(
        "the DUNS in the file's name is not the sender's",
        found="007909427AC",
        wanted="957877905, the DUNS of cnp",
    ),
    "kind-not-taken": _file(
        "files of this kind are not taken", found="DailySummary", wanted="IntervalData or MeterDataSync"
    ),
    "checksum": _file(
        "the bytes that came are not those whose checksum lies beside the file",
        found="sha256 5d41402abc4b2a76b9719d911017c592ae2b1ed0ee8a4e29b9c7f9cd2f7f9f3d",
        wanted="sha256 e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, as the .sha256 beside it says",
    ),
    "empty": _file("the file is empty", found="0 bytes", wanted="a file with content"),
    "broken-gzip": _file(
        "the file cannot be unpacked",
        found="the end of the file after 31457280 unpacked bytes",
        wanted="whole gzip data that ends in its own trailer",
    ),
    "too-big-unpacked": _file(
        "the file unpacks to more than is taken",
        found="2147483649 bytes or more",
        wanted="at most 2147483648 bytes",
    ),
    "utf-16": _file(
        "the file is UTF-16", found="the bytes ff fe 30 00 at its beginning", wanted="UTF-8 or ASCII"
    ),
    "not-text": _file(
        "the file is not text", found="the byte 00 at place 4 of the file", wanted="lines of UTF-8 or ASCII"
    ),
    "not-utf8": _file("the file is not UTF-8", found="the byte e9", wanted="text in UTF-8"),
    "not-lse": _file(
        "the file is text, but not LSE: it has no block",
        found="13 rows, none with the sort code 00000001",
        wanted="blocks that begin with a row 00000001",
    ),
    "cut-short": _file(
        "the file ends in the middle of its last block, as if cut off on its way",
        found="the end of the file after 43 of 96 intervals",
        wanted="the whole file again",
    ),
    "too-many-accounts": _file("the file has too many accounts", found="50001", wanted="at most 50000"),
    "too-many-bad-blocks": _file(
        "too many blocks are bad to load the others", found="812 of 50000 blocks", wanted="at most 500"
    ),
    BY_OPERATOR: _file(
        "the hub could not take the file in, and its operator has refused it",
        found="its usage day is of a meter test",
        wanted="what its operator asks for, and then the file under a new name",
    ),
}

# One block is refused for any of these; the others load.
OF_BLOCKS: Mapping[str, Code] = {
    "row-order": _block(
        "the rows of a block are not in their order",
        found="00000003",
        wanted="00000002: a block is rows 00000001 to 00000004, then 10000000 and rising by one",
    ),
    "field-count": _block(
        "the row has another number of fields", found="6 fields", wanted="exactly 7 fields"
    ),
    "encoding": _block("a field is not UTF-8", found="the byte e9", wanted="UTF-8 or ASCII"),
    "account": _block(
        "the account is not one", found="1044372 0001", wanted="1 to 64 characters of A-Z a-z 0-9 . _ -"
    ),
    "channel": _block("the channel is not one of this sender's", found="7", wanted="1 or 4"),
    "start-time": _block(
        "the start time is no local midnight",
        found="20130901001500",
        wanted="ccyymmdd000000, a date that exists",
    ),
    "stop-time": _block(
        "the stop time is not one", found="20130901235", wanted="ccyymmddhhmmss, a time that exists"
    ),
    "usage-day": _block(
        "the block does not cover one calendar day",
        found="20130902235959",
        wanted="20130901235959, 20130901235900 or 20130902000000",
    ),
    "future-day": _block(
        "the usage day is later than the file's arrival", found="20130905", wanted="20130902 or earlier"
    ),
    "dst-flag": _block("the DST participation flag is not as agreed", found="N", wanted="Y"),
    "invalid-flag": _block("the invalid-record flag is not as agreed", found="Y", wanted="N"),
    "interval-length": _block(
        "the seconds per interval are none of those agreed", found="300", wanted="900, 1800 or 3600"
    ),
    "unit": _block("the unit is not kWh", found="03", wanted="01"),
    "stamp": _block(
        "the time stamp is not one",
        found="20130931041530",
        wanted="ccyymmddhhmmss, a time that exists, or nothing",
    ),
    "origin": _block("the origin is not one", found="MX", wanted="one letter, or nothing"),
    "triplet": _block(
        "the row does not end with a whole triplet",
        found="287 fields behind the sort code",
        wanted="value, status and interval start, again and again; one comma more is legal",
    ),
    "interval-count": _block(
        "the block has another number of intervals than its day", found="95", wanted="96"
    ),
    "value-null": _block(
        "a value is missing", found="nothing", wanted="a decimal; the VEE fills every interval"
    ),
    "value": _block(
        "a value is not a legal decimal",
        found="-0.155",
        wanted="kWh of 0 or more, at most 6 digits before the point and 3 behind it",
    ),
    "status": _block("a status is none of those agreed", found="M", wanted="A, E or nothing"),
    "interval-start": _block(
        "an interval's start does not agree with its place in the day",
        found="20130901001500",
        wanted="20130901003000 or nothing",
    ),
    "block-twice": _block(
        "an account, channel and day stands in the file more than once",
        found="channel 4 of 2013-09-01 in line 1, too",
        wanted="one block for each account, channel and day",
    ),
    "late": _block(
        "the block came after its usage day's deadline",
        found="2013-09-03T04:12:09+00:00",
        wanted="by 2013-09-03T04:00:00+00:00",
    ),
}
