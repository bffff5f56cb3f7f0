"""What holds for every meter data sync: nothing is lost on the way, and nothing breaks the reader."""

from collections.abc import Callable
from datetime import date
from typing import Any

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import sync_faults, sync_file, sync_whole
from schemas.sync_file import ROSTER, Part

DUNS, TODAY = "957877905", date(2013, 9, 3)
TEXT = st.text(st.characters(exclude_categories=("Cc", "Cs"), exclude_characters=","), max_size=40)
SUPPLIER = st.one_of(
    st.just(("", None)),
    st.tuples(st.from_regex("[A-Z0-9]{9,13}", fullmatch=True), st.none() | st.dates()),
)
CHANNEL = st.from_regex("[A-Za-z0-9]{1,8}", fullmatch=True)
ROWS = st.fixed_dictionaries(
    {
        "egs_name": TEXT,
        "account_status": st.sampled_from("ADI"),
        "customer_class": st.sampled_from(["RES", "SCI", "LCI"]),
        "load_profile": TEXT,
        "bill_cycle": TEXT,
        "zip": st.from_regex("[0-9]{5}(-?[0-9]{4})?", fullmatch=True),
        "meter_multiplier": st.sampled_from(["1", "40", "0.5", ".000001", "12."]),
        "channels": st.lists(CHANNEL, min_size=1, max_size=4, unique=True).map(";".join),
        "interval_seconds": st.sampled_from([900, 1800, 3600]),
        "ami": st.booleans(),
    }
)
ACCOUNT = st.from_regex("[A-Za-z0-9._-]{1,64}", fullmatch=True)
METERS = st.lists(TEXT.filter(bool), min_size=1, max_size=3, unique=True)


@st.composite
def rosters(draw: Callable[..., Any]) -> pa.Table:
    """Rows of a legal part; some accounts have several meters."""
    rows = []
    for account in draw(st.lists(ACCOUNT, min_size=1, max_size=6, unique=True)):
        duns, start = draw(SUPPLIER)
        for meter in draw(METERS):
            its = {"account": account, "egs_duns": duns, "egs_start": start, "meter": meter}
            rows.append(draw(ROWS) | its)
    return pa.Table.from_pylist(draw(st.permutations(rows)), schema=ROSTER)


def parse(text: bytes) -> Part | tuple[Any, ...]:
    return sync_file.parse(text, duns=DUNS, today=TODAY)


@given(rosters(), st.dates(max_value=TODAY), st.integers(1, 99), st.integers(0, 9))
def test_a_part_that_is_written_reads_as_it_was(rows: pa.Table, as_of: date, part: int, more: int) -> None:
    text = sync_file.render(rows, duns=DUNS, as_of=as_of, part=part, parts=part + more)
    assert parse(text) == Part(as_of=as_of, part=part, parts=part + more, rows=rows)
    assert parse(text.replace(b"\n", b"\r\n")) == parse(text)


@given(st.binary(max_size=300))
def test_any_bytes_are_answered_with_faults(content: bytes) -> None:
    assert isinstance(parse(content), tuple)


@settings(max_examples=150)
@given(rosters(), st.data())
def test_any_spoilt_part_is_read_or_answered_with_faults_that_point_into_it(
    rows: pa.Table, data: st.DataObject
) -> None:
    text = sync_file.render(rows, duns=DUNS, as_of=TODAY, part=1, parts=1)
    spoil = st.sampled_from(
        [b"", b",", b"\n", b"\r", b'"', b"\xff", b"\xef\xbb\xbf", b"TRL,1\n", b"\x00", b"A"]
    )
    for _ in range(data.draw(st.integers(1, 3))):
        begin = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(begin, min(begin + 4, len(text))))
        text = text[:begin] + data.draw(spoil) + text[end:]
    answer = parse(text)
    if isinstance(answer, Part):
        return
    assert answer
    lines = text.split(b"\n")
    for one in answer:
        if one.line is not None:
            assert 1 <= one.line <= len(lines)
            if one.column is not None:
                assert 1 <= one.column <= len(lines[one.line - 1]) + 1


@given(rosters())
def test_the_careful_reading_finds_nothing_in_a_good_part(rows: pa.Table) -> None:
    text = sync_file.render(rows, duns=DUNS, as_of=TODAY, part=1, parts=1)
    lines = text.decode().removesuffix("\n").split("\n")
    assert sync_faults.of(lines, duns=DUNS, today=TODAY) == ()


def numbered(*parts: pa.Table) -> dict[int, pa.Table]:
    return dict(enumerate(parts, 1))


@given(rosters(), st.integers(1, 4))
def test_parts_together_are_the_whole_sorted_by_account_and_meter(rows: pa.Table, size: int) -> None:
    parts = [rows.slice(at, size) for at in range(0, len(rows), size)]
    whole = sync_whole.assemble(numbered(*parts))
    assert isinstance(whole, pa.Table)
    assert whole.schema == ROSTER
    wanted = sorted(rows.to_pylist(), key=lambda row: (row["account"].encode(), row["meter"].encode()))
    assert whole.to_pylist() == wanted
    assert sync_whole.in_order(whole) is whole


@given(rosters())
def test_an_account_of_two_suppliers_in_two_parts_is_named(rows: pa.Table) -> None:
    other = {**rows.slice(0, 1).to_pylist()[0], "egs_duns": "OTHEREGS1", "egs_start": None, "meter": "?"}
    odds = sync_whole.assemble(numbered(rows, pa.Table.from_pylist([other], schema=ROSTER)))
    assert isinstance(odds, sync_whole.AtOdds)
    assert {(one.code, one.account) for one in odds.faults} >= {("account-twice-differs", other["account"])}
    assert "in part 2" in "".join(one.message for one in odds.faults)
    assert odds.total == len(odds.faults)


@given(rosters())
def test_a_meter_that_stands_in_two_parts_is_named(rows: pa.Table) -> None:
    odds = sync_whole.assemble(numbered(rows, rows.slice(0, 1)))
    assert isinstance(odds, sync_whole.AtOdds)
    [one] = odds.faults
    assert (one.code, one.account) == ("meter-twice", rows["account"][0].as_py())


def test_of_very_many_that_are_at_odds_the_first_are_named_and_all_are_counted() -> None:
    rows = [
        {"account": f"{k:04}", "egs_duns": "799530915", "egs_name": "", "egs_start": None,
         "account_status": "A", "customer_class": "RES", "load_profile": "", "bill_cycle": "", "zip": "77002",
         "meter": "M", "meter_multiplier": "1", "channels": "4", "interval_seconds": 900, "ami": True}
        for k in range(300)
    ]  # fmt: skip
    one = pa.Table.from_pylist(rows, schema=ROSTER)
    other = pa.Table.from_pylist([row | {"egs_duns": ""} for row in rows], schema=ROSTER)
    odds = sync_whole.assemble(numbered(one, other))
    assert isinstance(odds, sync_whole.AtOdds)
    assert odds.total == 600
    assert [(one.account, one.code, one.found) for one in odds.faults[:3]] == [
        ("0000", "account-twice-differs", "no EGS in part 2"),
        ("0000", "meter-twice", "M in part 2"),
        ("0001", "account-twice-differs", "no EGS in part 2"),
    ]
    assert (len(odds.faults), odds.faults[-1].account) == (100, "0049")
