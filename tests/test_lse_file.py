"""What becomes of an LSE file as a whole."""

import gzip
from datetime import date

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import interval_rows, interval_whole
from schemas.block import FIELDS
from schemas.fault import Fault
from schemas.interval_text import render
from tests import lse_fixtures as lse
from tests.lse_fixtures import AUTUMN, ORDINARY, SPRING, Written, codes

FIRST, SECOND, THIRD = (Written(account=f"account-{n}", seconds=3600) for n in "123")
HOURS = FIRST.starts()


def written(*blocks: Written) -> bytes:
    return b"".join(map(bytes, blocks))


def bad(block: Written) -> Written:
    return block.having(origin="none")


# ── A file that was cut off ──


@pytest.mark.parametrize(
    ("width", "trailing", "filled", "line_end"),
    [(24, False, False, "\n"), (8, True, False, "\r\n"), (1, False, True, "\n"), (24, True, True, "\r\n")],
)
def test_a_file_cut_anywhere_in_its_last_block_is_refused_whole(
    width: int, trailing: bool, filled: bool, line_end: str
) -> None:
    triplets = tuple(f"0.{n:03d},E,{start if filled else ''}" for n, start in enumerate(HOURS))
    last = SECOND.having(triplets=triplets, width=width, trailing=trailing, line_ends=(line_end,))
    whole, shortest = written(FIRST, last), len(bytes(FIRST)) + 1
    end_of_last = len(whole.rstrip(b"\r\n,"))
    # Without its last interval start the block is whole, too: a start may be empty.
    complete = {end_of_last - len(HOURS[0])} if filled else set()
    for end in range(shortest, end_of_last):
        parsed = lse.parse(whole[:end])
        assert end in complete or "cut-short" in codes(parsed), whole[:end][-60:]
        assert parsed.refused == (end not in complete)


def test_a_cut_that_leaves_whole_blocks_leaves_no_trace() -> None:
    assert len(lse.parse(written(FIRST, SECOND)[: len(bytes(FIRST))]).blocks) == 1


def test_a_short_last_block_with_its_line_end_is_bad_only_for_itself() -> None:
    short = SECOND.having(triplets=("0.1,A,",) * 23)
    parsed = lse.parse(written(FIRST, short))
    assert (codes(parsed), parsed.refused, len(parsed.blocks)) == (["interval-count"], False, 1)


def test_a_bad_value_early_in_a_last_row_without_line_end_does_not_refuse_the_file() -> None:
    wrong = SECOND.having(triplets=("-1,A,", *("0.1,A,",) * 23), line_ends=("\n", "\n", "\n", "\n", ""))
    parsed = lse.parse(written(FIRST, wrong))
    assert (codes(parsed), parsed.refused) == (["value"], False)


def test_the_faults_of_a_cut_file_say_where_it_ends() -> None:
    parsed = lse.parse(written(FIRST, SECOND)[:-3])
    (cut,) = parsed.faults  # that its last row has no whole triplet is nothing besides
    assert (cut.account, cut.line, cut.column) == ("account-2", 10, len(SECOND.rows()[4]) - 2 + 1)
    assert cut.found == "the end of the file after 23 of 24 intervals"


# ── The same block twice ──


def test_an_account_may_stand_in_a_file_on_two_channels_and_two_days() -> None:
    parsed = lse.parse(written(FIRST, FIRST.having(channel="1"), FIRST.having(day=date(2013, 9, 2))))
    assert (codes(parsed), len(parsed.blocks)) == ([], 3)


def test_the_same_block_three_times_is_a_fault_of_all_three() -> None:
    parsed = lse.parse(written(FIRST, SECOND, FIRST, FIRST.having(stamp="20130903041530")))
    assert [(fault.code, fault.line) for fault in parsed.faults] == [
        ("block-twice", 1),
        ("block-twice", 11),
        ("block-twice", 16),
    ]
    assert parsed.blocks["account"].to_pylist() == ["account-2"]
    assert parsed.rejected == 3


def test_a_good_block_whose_twin_is_bad_is_refused_too() -> None:
    parsed = lse.parse(written(bad(FIRST), SECOND, FIRST))
    assert [(fault.code, fault.line) for fault in parsed.faults] == [
        ("block-twice", 1),
        ("origin", 4),
        ("block-twice", 11),
    ]
    assert (parsed.rejected, len(parsed.blocks)) == (2, 1)


# ── What a file is counted and known by ──


def test_as_many_accounts_as_may_be_are_taken_and_one_more_is_not() -> None:
    text = written(FIRST, FIRST.having(channel="1"), SECOND)
    assert len(lse.parse(text, max_accounts=2).blocks) == 3
    parsed = lse.parse(text, max_accounts=1)
    assert (codes(parsed), parsed.refused, len(parsed.blocks)) == (["too-many-accounts"], True, 0)


def test_accounts_of_bad_blocks_count() -> None:
    assert lse.parse(written(FIRST, bad(SECOND)), max_accounts=1).refused
    assert not lse.parse(written(FIRST, bad(FIRST.having(channel="1"))), max_accounts=1).refused


def test_rows_before_the_first_block_are_one_refused_block() -> None:
    text = b"\n".join(bytes(FIRST).split(b"\n")[1:]) + bytes(SECOND)
    parsed = lse.parse(text)
    assert [(fault.code, fault.line, fault.found, fault.wanted) for fault in parsed.faults] == [
        ("row-order", 1, "00000002", "00000001")
    ]
    assert parsed.rejected == 1
    assert parsed.blocks["line"].to_pylist() == [5]


def test_an_empty_row_between_blocks_is_a_fault_and_at_the_end_it_is_not() -> None:
    parsed = lse.parse(bytes(FIRST) + b"\n" + bytes(SECOND) + b"\r\n\n")
    assert [(fault.code, fault.line, fault.found) for fault in parsed.faults] == [
        ("row-order", 6, "an empty row")
    ]
    assert len(parsed.blocks) == 1


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be"])
def test_utf_16_is_told_by_its_name(encoding: str) -> None:
    assert codes(lse.parse(bytes(FIRST).decode().encode(encoding))) == ["utf-16"]


def test_latin_1_is_named_by_its_byte_and_place() -> None:
    fault = lse.parse("año;kWh\n".encode("latin-1") * 3).faults[0]
    assert (fault.code, fault.found) == ("not-text", "the byte f1 at place 2 of the file")


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (bytes(5000), "the byte 00 at place 1 of the file"),
        (gzip.compress(bytes(FIRST)), "gzip data, under a name that does not end in .gz"),
        (b"PK\x03\x04\n00000001,1,4\n\xff\n", "the byte 03 at place 3 of the file"),
        (b"00000001\n\x1b\x00\n00000001,1\n" + bytes(range(256)), "the byte 1b at place 10 of the file"),
    ],
    ids=["NUL", "gzip", "a row 00000001 in it", "a row 00000001 before it"],
)
def test_what_is_no_text_is_told_by_what_it_is(content: bytes, found: str) -> None:
    (fault,) = lse.parse(content).faults
    assert (fault.code, fault.found) == ("not-text", found)


def test_a_byte_that_no_text_has_is_a_fault_of_its_block_where_there_are_blocks() -> None:
    parsed = lse.parse(bytes(FIRST).replace(b"00000001,", b"00000001,\x00", 1) + bytes(SECOND))
    assert (len(parsed.blocks), parsed.rejected, parsed.refused) == (1, 1, False)
    assert [fault.scope for fault in parsed.faults] == ["block"]


def test_a_file_that_was_cut_off_says_so_first_and_then_what_else_is_wrong() -> None:
    parsed = lse.parse(written(bad(FIRST), SECOND.having(stamp="x"))[:-3])
    assert [(fault.code, fault.line) for fault in parsed.faults] == [
        ("cut-short", 10),
        ("origin", 4),
        ("stamp", 9),
    ]


def test_megabytes_without_a_block_are_not_searched_for_one() -> None:
    junk = b"9" * (interval_rows.STRETCH_BYTES + interval_whole.LONGEST_BLOCK + 1)
    for text in (bytes(FIRST) + junk, junk + b"\n" + bytes(FIRST)):
        parsed = lse.parse(text)
        assert (codes(parsed), parsed.refused) == (["not-lse"], True)


def test_a_file_of_many_stretches_gives_every_block_in_order_and_in_one_piece() -> None:
    block = bytes(FIRST.having(seconds=900))
    count = 3 * interval_rows.STRETCH_BYTES // len(block)
    each = [block.replace(b"account-1", b"%09d" % number) for number in range(count)]
    wrong = count // 2
    each[wrong] = each[wrong].replace(b",M\n", b",MM\n")
    each[5] = each[5].replace(b"0.001,", b"0.001" + 40 * b"0" + b",")  # legal, but not of the plain kind
    parsed = lse.parse(b"".join(each))
    expected = [number for number in range(count) if number != wrong]
    assert parsed.blocks["account"].to_pylist() == [f"{number:09d}" for number in expected]
    assert parsed.blocks["line"].to_pylist() == [5 * number + 1 for number in expected]
    assert all(column.num_chunks == 1 for column in parsed.blocks.columns)
    assert [(fault.line, fault.account) for fault in parsed.faults] == [(5 * wrong + 4, f"{wrong:09d}")]
    parsed.blocks.validate(full=True)


def test_a_bucket_of_values_that_are_all_different_is_read_as_exactly_as_any_other() -> None:
    wh = [[1000 * block + hour for hour in range(24)] for block in range(2_000)]
    texts = (
        FIRST.having(
            account=f"{number:05d}",
            triplets=tuple(f"{value // 1000}.{value % 1000:03d},E," for value in values),
        )
        for number, values in enumerate(wh)
    )
    parsed = lse.parse(written(*texts))
    assert parsed.blocks["wh"].to_pylist() == wh
    assert parsed.blocks["estimated"].to_pylist() == [24] * len(wh)
    again = lse.parse(render(parsed.blocks).text.to_pybytes())
    assert again.blocks["wh"].to_pylist() == wh


def test_memory_may_be_handed_over_as_a_buffer() -> None:
    text = bytes(FIRST)
    assert lse.parse(pa.py_buffer(text)).blocks.equals(lse.parse(text).blocks)


# ── Days ──


@pytest.mark.parametrize(("day", "quarters"), [(ORDINARY, 96), (SPRING, 92), (AUTUMN, 100)])
def test_a_day_has_as_many_intervals_as_its_clock_shows(day: date, quarters: int) -> None:
    for seconds, parts in ((900, 1), (1800, 2), (3600, 4)):
        count = quarters // parts
        block = Written(day=day, seconds=seconds)
        assert len(lse.parse(bytes(block)).blocks) == 1
        for wrong in (count - 1, count + 1):
            parsed = lse.parse(bytes(block.having(triplets=("0.1,A,",) * wrong)))
            fault = parsed.faults[0]
            assert (fault.code, fault.found, fault.wanted) == ("interval-count", str(wrong), str(count))


def test_the_repeated_hour_of_autumn_is_written_twice() -> None:
    block = Written(day=AUTUMN, seconds=3600)
    starts = block.starts()
    assert starts[:4] == ["20131103000000", "20131103010000", "20131103010000", "20131103020000"]
    right = block.having(triplets=tuple(f"1,A,{start}" for start in starts))
    assert codes(lse.parse(bytes(right))) == []
    skipped = [*starts[:2], *starts[3:], "20131104000000"]
    wrong = block.having(triplets=tuple(f"1,A,{start}" for start in skipped))
    assert set(codes(lse.parse(bytes(wrong)))) == {"interval-start"}


def test_the_day_of_arrival_is_taken_and_the_day_after_is_not() -> None:
    assert not lse.parse(bytes(FIRST), latest=ORDINARY).faults
    parsed = lse.parse(written(FIRST, SECOND), latest=date(2013, 8, 31))
    assert codes(parsed) == ["future-day", "future-day"]


# ── What a fault says, and what it does not ──


@pytest.mark.parametrize(
    "text",
    [
        "SMITH\nJOHN, 12 ELM ST",
        "SMITH\n00000003,JOHN",
        "JOHN SMITH\n10000000,JOHN",
        "JOHN\n00000009,SMITH",
    ],
)
def test_a_customers_name_is_in_no_fault_wherever_the_text_row_breaks(text: str) -> None:
    parsed = lse.parse(bytes(FIRST.having(text=text)))
    assert parsed.faults
    for fault in parsed.faults:
        assert "SMITH" not in fault.message
        assert "JOHN" not in fault.message


def test_a_fault_repeats_no_more_than_eighty_characters_and_nothing_that_acts_on_a_terminal() -> None:
    long = lse.parse(bytes(FIRST.having(origin="\x1b[2J" + "x" * 500))).faults[0]
    assert long.found == "\\u001b[2J" + "x" * 70 + "…"
    assert len(long.found) == 80


def test_of_many_like_faults_in_a_block_five_are_told_and_the_others_counted() -> None:
    parsed = lse.parse(written(FIRST, SECOND.having(triplets=(",A,",) * 24), THIRD))
    assert codes(parsed) == ["value-null"] * 5
    assert [fault.found for fault in parsed.faults][3:] == ["", "nothing (and 19 more in this block)"]


def test_columns_are_counted_in_characters() -> None:
    meter = ("é", "", "1", "0", "1", "0", "60", "01", "", "", "", "", "")
    fault = lse.parse(bytes(FIRST.having(meter=meter))).faults[0]
    assert (fault.code, fault.column) == ("interval-length", 10 + len("é,,1,0,1,0,"))


@given(st.integers(0, 1_200_000_000), st.integers(0, 5), st.integers(0, 3))
@settings(max_examples=300, deadline=None)
def test_a_value_is_read_exactly_or_refused(thousandths: int, zeros: int, pad: int) -> None:
    whole, part = divmod(thousandths, 1000)
    value = f"{'0' * pad}{whole}.{part:03d}{'0' * zeros}"
    parsed = lse.parse(bytes(FIRST.having(triplets=(f"{value},A,",) * 24)))
    if len(value.partition(".")[0]) <= 6:
        assert parsed.blocks["wh"][0].as_py() == [thousandths] * 24
        assert parsed.blocks["wh_total"].to_pylist() == [thousandths * 24]
    else:
        assert set(codes(parsed)) == {"value"}


@pytest.mark.parametrize(
    "value", ["-1", "+1", "1e3", "NaN", "inf", " 1", "1 ", ".", "1.2.3", "0x1", "1_0", "٣", "0.0001", "1,5"]
)
def test_what_other_parsers_take_for_a_number_is_refused(value: str) -> None:
    parsed = lse.parse(written(FIRST.having(triplets=(f"{value},A,", *("1,A,",) * 23)), SECOND))
    assert len(parsed.blocks) == 1
    assert parsed.faults[0].line == 5


def test_an_empty_table_has_all_columns() -> None:
    assert lse.parse(b"").blocks.schema == FIELDS
    assert isinstance(lse.parse(b"").faults[0], Fault)


# ── Texts of eight bytes or less are read a word each ──


@pytest.mark.parametrize("triplet", ["0.1,A\0,", "0\0.1,A,", "0,A\0\0\0\0\0,", "\0,A,"])
def test_a_zero_byte_in_a_reading_is_found_wherever_it_stands(triplet: str) -> None:
    odd = SECOND.having(triplets=("0.1,A,",) * 23 + (triplet,))
    parsed = lse.parse(written(FIRST, odd, THIRD))
    assert (parsed.rejected, len(parsed.blocks)) == (1, 2)


@pytest.mark.parametrize("last", ["0,A", "12.345,E", "999999.999,E"])
def test_the_last_reading_of_a_file_is_read_however_short_or_long(last: str) -> None:
    block = FIRST.having(triplets=("1,A,",) * 23 + (f"{last},",))
    (read,) = lse.parse(bytes(block).rstrip(b"\r\n")).blocks.to_pylist()
    kwh, status = last.split(",")
    assert (read["wh"][-1], read["status"][-1]) == (round(float(kwh) * 1000), status)
    assert read["wh"][:-1] == [1000] * 23
