"""Laws of reading and writing LSE, held against blocks that Hypothesis draws and mutilates."""

import pyarrow as pa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas import interval_blocks, interval_file, interval_rows
from schemas.block import FIELDS
from schemas.interval_text import render
from tests import lse_fixtures as lse
from tests.lse_fixtures import TERMS, Written

thorough = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
MUTILATED = lse.blocks().flatmap(lambda block: lse.mutilated(bytes(block)))


def both_ways(text: bytes) -> tuple[list[pa.Table], list[interval_blocks.Verdict]]:
    """What the columnar and the careful path make of each block of a text: no table if it was not taken."""
    found = interval_rows.rows(pa.py_buffer(text))
    table, others = interval_file.columnar(found, TERMS)
    verdicts = interval_file.careful(found, found.blocks, TERMS)
    lines = table["line"].to_pylist()
    assert sorted(lines + [found.line + row for row in others.tolist()]) == [
        found.line + row for row in found.blocks.tolist()
    ]
    return [table.slice(k, 1) for k in range(len(table))], [verdicts[line] for line in lines]


@given(lse.blocks())
@thorough
def test_every_legal_block_is_taken_by_columns_and_reads_the_same_with_care(block: Written) -> None:
    tables, verdicts = both_ways(bytes(block))
    assert [table.to_pylist() for table in tables] == [[verdict.block] for verdict in verdicts]
    assert len(tables) == 1


@given(MUTILATED)
@thorough
def test_what_is_taken_by_columns_reads_the_same_with_care_however_mutilated(text: bytes) -> None:
    tables, verdicts = both_ways(text)
    assert [table.to_pylist() for table in tables] == [[verdict.block] for verdict in verdicts]


@given(MUTILATED)
@thorough
def test_a_mutilated_file_is_read_without_an_error_and_nothing_of_it_is_forgotten(text: bytes) -> None:
    parsed = lse.parse(text)
    rows = interval_rows.rows(pa.py_buffer(text))
    if parsed.refused:
        assert len(parsed.blocks) == 0
        assert any(fault.scope == "file" for fault in parsed.faults)
    else:
        strays = 1 if rows.blocks[0] > 0 else 0
        assert len(parsed.blocks) + parsed.rejected == len(rows.blocks) + strays
    assert bool(parsed.faults) == (parsed.refused or parsed.rejected > 0)
    order = [(fault.scope != "file", fault.line or 0, fault.column or 0) for fault in parsed.faults]
    assert order == sorted(order)  # what is wrong with the file as a whole comes first
    for fault in parsed.faults:
        assert len(fault.found) <= 80
        assert fault.wanted


@given(
    st.one_of(
        st.binary(max_size=300),
        st.lists(
            st.sampled_from([*lse.ODD, b"00000001,", b"00000002,", b"\n10000000,", b"\n"]), max_size=40
        ).map(b"".join),
    )
)
@thorough
def test_any_bytes_whatever_give_an_answer(text: bytes) -> None:
    parsed = lse.parse(text)
    assert parsed.faults
    assert parsed.blocks.schema == FIELDS


@given(
    st.lists(
        st.tuples(lse.blocks(), st.booleans()), min_size=2, max_size=4, unique_by=lambda pair: pair[0].account
    ),
    st.data(),
)
@settings(thorough, max_examples=40)
def test_a_bad_block_changes_nothing_for_the_others(
    drawn: list[tuple[Written, bool]], data: st.DataObject
) -> None:
    last = Written(account="last")
    texts, expected = [], []
    for block, good in drawn:
        rows = bytes(block).split(b"\n")
        if not good:
            rows[1] = data.draw(st.sampled_from([b"00000002", b"00000002,,,1,0,1,0,300,01,,,,,", b"junk"]))
        else:
            expected.append(block.account)
        texts.append(b"\n".join(rows))
    parsed = lse.parse(b"".join(texts) + bytes(last))
    assert parsed.blocks["account"].to_pylist() == [*expected, "last"]
    assert parsed.rejected == len(drawn) - len(expected)


@given(st.lists(lse.blocks(), max_size=4, unique_by=lambda block: block.account))
@settings(thorough, max_examples=60)
def test_what_is_rendered_means_what_was_sent(blocks: list[Written]) -> None:
    sent = lse.parse(b"".join(map(bytes, blocks))).blocks
    rendered = render(sent)
    text = rendered.text.to_pybytes()
    assert len(rendered.offsets) == len(sent) + 1
    assert (rendered.offsets[0], rendered.offsets[-1]) == (0, len(text))
    if blocks:
        again = lse.parse(text)
        assert not again.faults
        assert again.blocks.drop_columns("line").to_pylist() == sent.drop_columns("line").to_pylist()
        assert render(again.blocks).text.to_pybytes() == text
    for number in range(len(sent)):
        alone = lse.parse(text[rendered.offsets[number] : rendered.offsets[number + 1]])
        assert (
            alone.blocks.drop_columns("line").to_pylist()
            == sent.slice(number, 1).drop_columns("line").to_pylist()
        )
