"""`meterhub drops`: what was uploaded, newest first."""

from collections.abc import Iterator

import pytest

from hub_fixtures import Hub
from jobs_fixtures import Cut, lse
from look_fixtures import DAY, Desk, Told, on_a_terminal, told_once
from schemas.drop import FAULTS_KEPT


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


def test_accounts_that_were_unknown_are_told_of_as_of_then(desk: Desk, told: Told) -> None:
    (line,) = [line for line in desk.ask("drops").out.splitlines() if line.split()[:1] == [told.bucket.id]]
    assert line.endswith("1 account unknown when it was loaded")  # and known since the next sync
    (drop,) = [one for one in desk.ask("drops", "--json").json if one["id"] == told.bucket.id]
    assert drop["accounts_unknown_when_loaded"] == 1


def test_a_terminal_of_80_columns_has_two_whole_lines_for_each(told: Told) -> None:
    lines = on_a_terminal(told.hub, "drops")
    assert max(len(line) for line in lines) <= 80
    at = next(k for k, line in enumerate(lines) if line.split()[:1] == [told.refused.id])
    said = f"{told.refused.id} cnp 2013-09-03 10:05 refused: 1 fault, not-lse"
    assert lines[at].split() == said.split()
    assert lines[at + 1].strip() == told.refused.name


def test_what_is_written_into_a_file_has_no_blanks_at_the_ends_of_lines(desk: Desk) -> None:
    assert [line for line in desk.ask("drops").out.splitlines() if line != line.rstrip()] == []


def test_a_file_that_is_cut_off_is_refused_for_that_whatever_else_is_wrong(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = lse([Cut(account=f"{k:04}", day=DAY) for k in range(120)]).replace(b"0.100,A", b"-1,A")
    drop = hub.upload(
        "cnp", "957877905IntervalData20130903050500801.lse", text[: text.rindex(b"\n", 0, -1) - 99]
    )
    desk = Desk(hub, capsys, monkeypatch)
    codes = [fault.code for fault in drop.faults]
    assert len(codes) == FAULTS_KEPT < drop.faults_total
    assert (codes[0], codes.count("cut-short")) == ("cut-short", 1)
    assert any(line.endswith(" cut-short") for line in desk.ask("drops").out.splitlines())
    (story,) = desk.ask("explain", drop.id, "--json").json
    (refused,) = [one for one in story["timeline"] if one["event"] == "drop.refused"]
    assert refused["code"] == "cut-short"
    assert "it was refused, " in story["summary"]
    lines = [fault.line or 0 for fault in drop.faults[1:]]
    assert lines == sorted(lines)


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
