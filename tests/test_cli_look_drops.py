"""`meterhub drops`: what was uploaded, newest first."""

from collections.abc import Iterator

import pytest

from look_fixtures import Desk, Told, told_once


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yield from told_once(tmp_path_factory)


@pytest.fixture
def desk(told: Told, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(told.hub, capsys, monkeypatch)


def ids(desk: Desk, *words: str) -> list[str]:
    return [drop["id"] for drop in desk.ask("drops", *words, "--json").json]


def test_the_newest_stand_first(desk: Desk) -> None:
    listed = ids(desk)
    assert len(listed) == 8
    assert listed == sorted(listed, reverse=True)


def test_they_can_be_asked_for_by_edc_stage_day_and_number(desk: Desk, told: Told) -> None:
    assert ids(desk, "--edc", "ppl") == []
    assert ids(desk, "--edc", "cnp", "--stage", "refused") == [told.refused.id]
    assert ids(desk, "--stage", "duplicate") == [told.twin.id]
    assert told.late.id in ids(desk, "--since", "2013-09-04")
    assert told.bucket.id not in ids(desk, "--since", "2013-09-04")
    assert len(ids(desk, "--limit", "3")) == 3


def test_a_line_says_what_became_of_a_drop(desk: Desk, told: Told) -> None:
    lines = desk.ask("drops").out.splitlines()
    said = {words[0]: " ".join(words[1:]) for line in lines if (words := line.split()) and words[0][0] == "D"}
    assert said[told.refused.id].endswith("refused 20 1 not-lse")
    assert said[told.twin.id].endswith(f"the same as {told.bucket.id}")
    assert "loaded, in part" in said[told.partial.id]
    assert said[told.replacement.id].endswith("1 replacing")
    assert said[told.late.id].endswith("1 late")
    assert "The newest 2; --limit shows more." in desk.ask("drops", "--limit", "2").out


def test_programs_are_told_all_there_is(desk: Desk, told: Told) -> None:
    (drop,) = [one for one in desk.ask("drops", "--json").json if one["id"] == told.partial.id]
    assert drop["blocks_loaded"] == drop["blocks_rejected"] == drop["faults_total"] == 1
    assert drop["faults"][0]["code"] == told.partial.faults[0].code
    assert drop["usage_days"] == ["2013-09-02"]


def test_an_edc_that_is_none_is_refused_with_who_is_meant(desk: Desk) -> None:
    answer = desk.ask("drops", "--edc", "cnpp")
    assert answer.code == 1
    assert "is cnp meant?" in answer.err


def test_none_is_said_in_words(desk: Desk) -> None:
    assert desk.ask("drops", "--edc", "ppl").out == "There are none.\n"
