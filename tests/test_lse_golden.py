"""LSE files and what they hold: every feature of the format, and every fault, as files to look at.

The expected blocks and faults stand beside each file and were written from the format, not from what
the parser gave.
"""

import json
from pathlib import Path

import pytest

from schemas.block import FIELDS
from schemas.fault_codes import OF_BLOCKS, OF_FILES
from schemas.interval_text import render
from tests import lse_fixtures as lse

GOLDEN = Path(__file__).parent / "golden" / "lse"
GOOD = sorted(path.stem for path in (GOLDEN / "good").glob("*.lse"))
BAD = sorted(path.stem for path in (GOLDEN / "bad").glob("*.lse"))

# Faults that are found before or after the text of an interval file is read; each where it is found.
FOUND_ELSEWHERE = {
    "name",
    "sender",
    "kind-not-taken",
    "broken-gzip",
    "checksum",
    "too-big-unpacked",
    "too-many-bad-blocks",
    "not-utf8",
    "late",
    "refused-by-operator",
}


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_gives_the_blocks_that_stand_beside_it(name: str) -> None:
    parsed = lse.parse((GOLDEN / "good" / f"{name}.lse").read_bytes())
    assert [fault.message for fault in parsed.faults] == []
    assert (parsed.refused, parsed.rejected) == (False, 0)
    assert parsed.blocks.schema == FIELDS
    found = [row | {"usage_date": row["usage_date"].isoformat()} for row in parsed.blocks.to_pylist()]
    assert found == json.loads((GOLDEN / "good" / f"{name}.json").read_text())


@pytest.mark.parametrize("name", GOOD)
def test_a_good_file_means_the_same_when_it_is_rendered(name: str) -> None:
    sent = lse.parse((GOLDEN / "good" / f"{name}.lse").read_bytes()).blocks
    again = lse.parse(render(sent).text.to_pybytes()).blocks
    assert again.drop_columns("line").to_pylist() == sent.drop_columns("line").to_pylist()


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_gives_the_faults_that_stand_beside_it_and_its_good_blocks_load(name: str) -> None:
    expected = json.loads((GOLDEN / "bad" / f"{name}.json").read_text())
    text = (GOLDEN / "bad" / f"{name}.lse").read_bytes()
    parsed = lse.parse(text, max_accounts=expected.get("max_accounts", 50_000))
    faults = [{key: getattr(fault, key) for key in expected["faults"][0]} for fault in parsed.faults]
    assert faults == expected["faults"]
    assert parsed.refused == expected["refused"]
    assert parsed.rejected == expected["rejected"]
    assert parsed.blocks["account"].to_pylist() == expected["loaded"]


@pytest.mark.parametrize("code", sorted({*OF_FILES, *OF_BLOCKS} - FOUND_ELSEWHERE))
def test_every_fault_code_has_a_bad_file_that_shows_it(code: str) -> None:
    expected = json.loads((GOLDEN / "bad" / f"{code}.json").read_text())
    assert code in {fault["code"] for fault in expected["faults"]}
