"""Meter data syncs as files: what each gives, and what is said of each that is wrong."""

import json
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from schemas import fault, sync_file

GOLDEN = Path(__file__).parent / "golden" / "sync"
GOOD = sorted(file.name for file in GOLDEN.glob("good-*.csv"))
BAD = sorted(file.name for file in GOLDEN.glob("*.csv") if file.name not in GOOD)


def parsed(name: str) -> sync_file.Part | tuple[fault.Fault, ...]:
    text = (GOLDEN / name).read_bytes()
    return sync_file.parse(text, duns="957877905", today=date(2013, 9, 3), max_rows=20)


def expected(name: str) -> Any:
    return json.loads((GOLDEN / name).with_suffix(".json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", GOOD)
def test_a_good_part_gives_its_place_and_its_rows(name: str) -> None:
    part = parsed(name)
    assert isinstance(part, sync_file.Part)
    assert part.rows.schema == sync_file.ROSTER
    rows = [{**row, "egs_start": row["egs_start"] and str(row["egs_start"])} for row in part.rows.to_pylist()]
    assert {"as_of": str(part.as_of), "part": part.part, "parts": part.parts, "rows": rows} == expected(name)


@pytest.mark.parametrize("name", BAD)
def test_a_bad_part_is_refused_with_all_its_faults(name: str) -> None:
    faults = parsed(name)
    assert isinstance(faults, tuple)
    assert [{k: v for k, v in asdict(one).items() if v not in {None, ""}} for one in faults] == expected(name)


def test_each_code_of_a_sync_has_a_bad_file_of_its_name_that_shows_it() -> None:
    of_syncs = {code for code, its in fault.CODES.items() if its.scope is fault.Scope.ROW}
    of_syncs |= {code for code in fault.CODES if code.startswith("sync-")}
    for code in of_syncs:
        assert code in {one["code"] for one in expected(f"{code}.csv")}


def test_all_line_ends_give_the_same_part() -> None:
    names = ("good-three-accounts.csv", "good-crlf.csv", "good-mixed-line-ends-and-no-last-one.csv")
    first, *others = [parsed(name) for name in names]
    assert isinstance(first, sync_file.Part)
    for other in others:
        assert isinstance(other, sync_file.Part)
        assert other.rows == first.rows


def test_a_sync_cut_off_anywhere_is_refused() -> None:
    text = (GOLDEN / "good-crlf.csv").read_bytes()
    whole = (len(text), len(text) - len(b"\r\n"))
    for size in range(len(text)):
        part = sync_file.parse(text[:size], duns="957877905", today=date(2013, 9, 3))
        assert isinstance(part, sync_file.Part) == (size in whole), f"cut after {size} bytes"


def test_a_part_of_fifty_thousand_rows_is_taken_and_one_row_more_is_not() -> None:
    row = "DTL,%022d,799530915,CHAMPION ENERGY,20130115,A,RES,RESHIWR,07,77002,MTR%d,1,4,900,Y\n"
    for rows in (50_000, 50_001):
        body = "".join(row % (k, k) for k in range(rows))
        text = f"HDR,METERDATASYNC,1,957877905,20130903,1,1\n{body}TRL,{rows}\n".encode()
        part = sync_file.parse(text, duns="957877905", today=date(2013, 9, 3))
        if rows == 50_000:
            assert isinstance(part, sync_file.Part)
            assert len(part.rows) == rows
        else:
            assert isinstance(part, tuple)
            assert [one.code for one in part] == ["sync-too-large"]


@pytest.mark.parametrize(
    ("text", "code", "found"),
    [
        (b"", "empty", "0 bytes"),
        ("HDR,METERDATASYNC".encode("utf-16"), "utf-16", "the bytes ff fe 48 00 at its beginning"),
        ("HDR,METERDATASYNC".encode("utf-16-le"), "not-text", "the byte 00 at place 2 of the file"),
        ("HDR,1\nÉ,Ö".encode("latin-1"), "not-utf8", "the byte c9"),
        ("\ufeffHDR,METERDATASYNC,1,957877905,20130903,1,1\n".encode(), "sync-header", "\\ufeffHDR,"),
    ],
)
def test_what_is_no_text_in_utf8_is_refused_by_what_it_is(text: bytes, code: str, found: str) -> None:
    answer = sync_file.parse(text, duns="957877905", today=date(2013, 9, 3))
    assert isinstance(answer, tuple)
    [one] = answer
    assert one.code == code
    assert one.found.startswith(found)
