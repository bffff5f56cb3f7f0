"""What may go wrong in a night, on request: a block of each fault, and files that are broken as such."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import time

import numpy as np
from isal import igzip

from schemas import interval_text, sample_people, sync_file
from schemas.file_name import Kind
from schemas.sample import Edc, Night, SampleFile

# A block as the fields of its rows: four headers, then the row with the whole day.
Rows = list[list[str]]

_BROKEN_AT = time(5, 15, 30)
_ACCOUNTS = 20  # in a broken file


def bad_bucket(night: Night, edc: Edc) -> SampleFile:
    """The extra bucket (`Night.extra_bucket`) with one block spoilt in each way there is.

    With 3,000 extra accounts or more, little enough is bad that the rest loads. Raises ValueError if there
    are fewer accounts than ways.
    """
    if night.extra <= len(SPOILERS):
        raise ValueError(
            f"{night.extra} extra accounts: wanted more than {len(SPOILERS)}, one for each fault"
        )
    blocks = night.extra_blocks(edc)
    written = interval_text.render(blocks)
    text, ends = memoryview(written.text), written.offsets
    # Each account's first block. The last of the file is left whole, or it would look cut off.
    firsts = np.unique(blocks["account"].to_numpy(zero_copy_only=False), return_index=True)[1]
    chosen = firsts[np.linspace(0, night.extra - 2, len(SPOILERS)).astype(int)]
    pieces: list[bytes | memoryview] = []
    done = 0
    for at, spoil in zip(chosen, SPOILERS.values(), strict=True):
        begin, end = ends[at], ends[at + 1]
        rows = [row.split(",") for row in bytes(text[begin:end]).decode().splitlines()]
        pieces += [text[done:begin], _spoilt(rows, spoil)]
        done = end
    good = night.extra_bucket(edc)
    return replace(
        good,
        content=night.packed(b"".join([*pieces, text[done:]])),
        says=f"{good.says}, {len(SPOILERS)} blocks of them spoilt",
        faults=tuple(SPOILERS),
    )


def broken(night: Night, edc: Edc) -> Iterator[SampleFile]:
    """Files of which nothing can be taken, each with the one code to expect."""
    draw = sample_people.rng(night.seed, edc, night.day.toordinal())
    lse = bytes(
        interval_text.render(night.blocks(edc, 0, min(_ACCOUNTS, night.accounts), day=night.day)).text
    )
    rows = night.roster(edc).slice(0, _ACCOUNTS)
    sync = sync_file.render(rows, duns=edc.duns, as_of=night.morning(), part=1, parts=1)
    cut = lse.rindex(b"\n10000000") + 400
    contents = [
        ("cut-short", "cut off in its last block", lse[:cut], "lse"),
        ("broken-gzip", "cut off after it was packed", igzip.compress(lse, 1, mtime=0)[:-400], "lse.gz"),
        ("utf-16", "written in UTF-16", lse.decode().encode("utf-16"), "lse"),
        ("empty", "empty", b"", "lse"),
        ("not-text", "random bytes", draw.bytes(4_096), "lse"),
        ("not-lse", "text, but no LSE", b"ESIID,USAGE_DATE,KWH\n10443720000000001,09/01/2013,12.5\n", "lse"),
        ("sync-trailer", "a sync, cut off", sync[: len(sync) * 2 // 3], "csv"),
    ]
    for counter, (code, says, content, ending) in enumerate(contents, 1):
        kind = Kind.SYNC if ending == "csv" else Kind.INTERVALS
        yield SampleFile(
            name=_named(night, edc, kind, counter, ending),
            content=content,
            edc=edc.id,
            says=says,
            faults=(code,),
        )
    for other in night.edcs:
        if other != edc:
            yield SampleFile(
                name=_named(night, other, Kind.INTERVALS, len(contents) + 1, "lse"),
                content=lse,
                edc=edc.id,
                says=f"named as if {other.name} had sent it",
                faults=("sender",),
            )
            return


def _named(night: Night, edc: Edc, kind: Kind, counter: int, ending: str) -> str:
    plain = replace(night, gzipped=False).name(edc, kind, night.morning(), _BROKEN_AT, counter)
    return plain.rpartition(".")[0] + "." + ending


def _spoilt(rows: Rows, spoil: Callable[[Rows], None]) -> bytes:
    """The text of a block after `spoil` changed its rows. Letters beyond ASCII are written in Latin-1."""
    spoil(rows)
    return "".join(",".join(row) + "\n" for row in rows).encode("latin-1")


def _set(row: int, field: int, value: str) -> Callable[[Rows], None]:
    def spoil(rows: Rows) -> None:
        rows[row][field] = value

    return spoil


def _row_order(rows: Rows) -> None:
    rows[1], rows[2] = rows[2], rows[1]


def _field_count(rows: Rows) -> None:
    rows[0].append("")


def _account(rows: Rows) -> None:
    rows[0][1] = f"{rows[0][1][:7]} {rows[0][1][8:]}"


def _start_time(rows: Rows) -> None:
    rows[0][3] = f"{rows[0][3][:8]}001500"


def _stop_time(rows: Rows) -> None:
    rows[0][4] = rows[0][4][:11]


def _usage_day(rows: Rows) -> None:
    rows[0][4] = f"{rows[0][4][:8]}120000"


def _future_day(rows: Rows) -> None:
    year = int(rows[0][3][:4]) + 1
    rows[0][3], rows[0][4] = f"{year}0615000000", f"{year}0615235959"


def _stamp(rows: Rows) -> None:
    rows[3][1] = f"{rows[3][1][:4]}0931041530"


def _triplet(rows: Rows) -> None:
    del rows[4][-1]


def _interval_count(rows: Rows) -> None:
    del rows[4][-3:]


def _interval_start(rows: Rows) -> None:
    rows[4][6] = rows[0][3]  # the day's first start, at the second interval


def _twice(rows: Rows) -> None:
    rows += [list(row) for row in rows]


SPOILERS: Mapping[str, Callable[[Rows], None]] = {
    "row-order": _row_order,
    "field-count": _field_count,
    "encoding": _set(2, 1, "Café"),
    "account": _account,
    "channel": _set(0, 2, "77"),
    "start-time": _start_time,
    "stop-time": _stop_time,
    "usage-day": _usage_day,
    "future-day": _future_day,
    "dst-flag": _set(0, 5, "N"),
    "invalid-flag": _set(0, 6, "Y"),
    "interval-length": _set(1, 7, "300"),
    "unit": _set(1, 8, "03"),
    "stamp": _stamp,
    "origin": _set(3, 2, "MX"),
    "triplet": _triplet,
    "interval-count": _interval_count,
    "value-null": _set(4, 7, ""),
    "value": _set(4, 10, "-0.155"),
    "status": _set(4, 8, "M"),
    "interval-start": _interval_start,
    "block-twice": _twice,
}
