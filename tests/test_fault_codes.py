"""The one list of fault codes, and the page that shows it."""

import re
from pathlib import Path

import pytest

from schemas.fault import CODES, SHOWN, Fault, Scope, shown

PAGE = (Path(__file__).parents[1] / "schemas" / "faults.md").read_text()


@pytest.mark.parametrize("code", CODES)
def test_a_code_is_kebab_case_and_has_an_example_that_reads_as_a_sentence(code: str) -> None:
    known = CODES[code]
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", code)
    fault = Fault(code=code, line=3, column=10, found=known.found, wanted=known.wanted)
    assert fault.scope is known.scope
    assert fault.message.startswith(f"line 3, column 10: {known.says}: found ")
    assert fault.message.endswith(f"wanted {known.wanted}")
    assert len(known.found) <= SHOWN


@pytest.mark.parametrize("code", CODES)
def test_the_page_of_faults_shows_every_code_with_its_example(code: str) -> None:
    known = CODES[code]
    cells = (f"`{code}`", str(known.scope), known.says, known.found or "nothing", known.wanted)
    assert f"| {' | '.join(cells)} |".replace("<", "&lt;") in PAGE


def test_the_page_of_faults_shows_no_other_codes() -> None:
    assert re.findall(r"^\| `([a-z0-9-]+)` \|", PAGE, flags=re.MULTILINE) == list(CODES)


def test_a_fault_of_an_unknown_code_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="no such fault code: off-by-one"):
        Fault(code="off-by-one")


def test_a_fault_without_a_place_says_only_what_is_wrong() -> None:
    fault = Fault(code="empty", wanted="a file with content")
    assert fault.message == "the file is empty: found nothing, wanted a file with content"
    assert fault.scope is Scope.FILE


def test_what_was_found_is_shown_cut_and_harmless() -> None:
    assert shown("x" * 80) == "x" * 80
    assert shown("x" * 81) == "x" * 79 + "…"
    assert shown("a\tb\x1b[0m") == "a\\u0009b\\u001b[0m"
    assert shown("Núñez") == "Núñez"
