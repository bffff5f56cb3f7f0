"""`meterhub check`: what people are told of a file that is not sent yet."""

from pathlib import Path

import pytest

from hub_fixtures import Hub
from jobs_fixtures import CHAMPION, Cut, lse, send_sync
from look_fixtures import DAY, Desk

NAME = "957877905IntervalData20130903050500801.lse"


@pytest.fixture
def desk(hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(hub, capsys, monkeypatch)


def said(desk: Desk, folder: Path, content: bytes, *, code: int, name: str = NAME) -> list[str]:
    (folder / name).write_bytes(content)
    answer = desk.ask("check", str(folder / name), "--edc", "cnp")
    assert answer.code == code, answer.err
    return answer.out.splitlines()


def test_counts_are_told_in_words_and_those_of_nothing_are_not(desk: Desk, tmp_path: Path) -> None:
    first, *_ = said(desk, tmp_path, lse([Cut(account="1", day=DAY)]), code=0)
    assert first == f"{NAME} would be accepted: 1 account, 1 block, 96 intervals"
    cuts = lse([Cut(account="1", day=DAY), Cut(account="2", day=DAY)])
    first, *_ = said(desk, tmp_path, cuts.replace(b"0.100,A", b"-1,A", 1), code=1)
    assert first == f"{NAME} would be taken in part: 1 account, 1 block, 96 intervals, 1 block rejected"


def test_a_file_that_would_be_refused_is_told_with_the_fault_that_decides(desk: Desk, tmp_path: Path) -> None:
    text = lse([Cut(account="1", day=DAY), Cut(account="2", day=DAY)]).replace(b"0.100,A", b"-1,A", 1)
    first, *_ = said(desk, tmp_path, text[:-40], code=1)
    assert first == f"{NAME} would be refused: all of it, for cut-short"


def test_a_sync_is_told_without_blocks(hub: Hub, desk: Desk, tmp_path: Path) -> None:
    drop = send_sync(hub, {"1001": CHAMPION.duns})
    name = hub.drop(drop.id).name
    first, *_ = said(desk, tmp_path, b"nothing of the kind\n", code=1, name=name)
    assert first.startswith(f"{name} would be refused: all of it, for ")


def test_deadlines_are_told_by_the_clocks_of_the_edc(desk: Desk, tmp_path: Path) -> None:
    lines = said(desk, tmp_path, lse([Cut(account="1", day=DAY)]), code=0)
    (day,) = [line.split() for line in lines if line.split()[:1] == ["2013-09-02"]]
    assert day[:5] == ["2013-09-02", "1", "2013-09-03", "23:00:00", "CDT"]


def test_many_faults_are_counted_by_code_with_the_first_of_each_and_all_on_demand(
    desk: Desk, tmp_path: Path
) -> None:
    text = lse([Cut(account=f"{number:04}", day=DAY) for number in range(60)])
    bad = b"".join(
        block.replace(b"0.100,A", b"-1,A", 1) if number % 3 else block.replace(b",Y,N\n", b",X,N\n")
        for number, block in enumerate(text.split(b"00000001,"))
        for block in ([b"00000001," + block] if block else [])
    )
    lines = said(desk, tmp_path, bad, code=1)
    counted = [line.split() for line in lines if line.split()[1:] and line.split()[1:][0].isdigit()]
    assert ["value", "40", "40"] in [words[:3] for words in counted]
    shown = [line for line in lines if " value " in f" {line} " and "-1" in line]
    assert len(shown) == 3
    assert "The first of each code; all " in "\n".join(lines)
    whole = desk.ask("check", str(tmp_path / NAME), "--edc", "cnp", "--all").out.splitlines()
    assert len([line for line in whole if "-1" in line]) == 40
