"""`meterhub report`: a usage day as a page that says what `query` and `status` say, and needs nothing else."""

import json
import re
from collections.abc import Iterator
from datetime import date, time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from exchange.picture.curve import Curve, bar, drawn
from hub_fixtures import CNP, Hub, partner_text
from jobs_fixtures import CHAMPION, Cut, local, send, send_sync
from look_fixtures import DAY, Desk, Told, told_once
from schemas.sample import Edc
from schemas.usage_day import UsageDay

XHTML = "{http://www.w3.org/1999/xhtml}"


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Told]:
    yield from told_once(tmp_path_factory)


@pytest.fixture
def desk(told: Told, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(told.hub, capsys, monkeypatch)


class Page:
    """A page as a program reads it: only what is well-formed can be."""

    def __init__(self, file: Path) -> None:
        self.text = file.read_text(encoding="utf-8")
        self.root = ET.fromstring(self.text.partition("\n")[2])  # noqa: S314  # we wrote it

    def words(self) -> str:
        return " ".join("".join(self.root.find(f"{XHTML}body").itertext()).split())  # type: ignore[union-attr]

    def rows(self, heading: str) -> list[list[str]]:
        """The cells of the first table below a heading."""
        below = False
        for one in self.root.iter():
            below = below or (one.tag in {f"{XHTML}h2", f"{XHTML}h3"} and heading in "".join(one.itertext()))
            if below and one.tag == f"{XHTML}tbody":
                return [["".join(cell.itertext()) for cell in row] for row in one]
        raise AssertionError(heading)


def made(desk: Desk, tmp_path: Path, day: date = DAY) -> Page:
    answer = desk.ask("report", str(day), "--html", str(tmp_path / "day.html"))
    assert answer.code == 0, answer.err
    return Page(tmp_path / "day.html")


def asked(desk: Desk, question: str) -> list[dict[str, Any]]:
    answer = desk.ask("query", question, "--json")
    assert answer.code == 0, answer.err
    return list(answer.json)


def test_the_page_says_what_query_and_status_say(desk: Desk, tmp_path: Path) -> None:
    page = made(desk, tmp_path)
    versions = asked(
        desk,
        "select edc, version, count(*) as blocks, sum(estimated) as estimated from usage "
        "where usage_date = '2013-09-02' group by all order by all",
    )
    current = asked(
        desk, "select sum(wh_total) / 1e6 as mwh from usage_current where usage_date = '2013-09-02'"
    )
    shown = page.rows("Versions and estimates")
    assert [(row[1], row[2], row[4]) for row in shown[:-1]] == [
        (str(row["version"]), str(row["blocks"]), str(row["estimated"])) for row in versions
    ]
    assert len(shown) == 3  # versions 1 and 2, and what is current of them
    by_version = asked(
        desk, "select sum(wh_total) / 1e6 as mwh from usage where usage_date = '2013-09-02' and version = 1"
    )
    assert float(shown[0][5]) == pytest.approx(by_version[0]["mwh"], abs=0.0005)
    assert (shown[-1][1], float(shown[-1][5])) == ("current", pytest.approx(current[0]["mwh"], abs=0.0005))
    given = asked(
        desk,
        "select egs, count(*) as files, count(collected_at) as whole, sum(blocks) as blocks "
        "from outbound_files group by all order by all",
    )
    assert [(row[0], row[2], row[4], row[5]) for row in page.rows("What each supplier got")] == [
        (row["egs"], str(row["files"]), str(row["whole"]), str(row["blocks"])) for row in given
    ]
    (verdict,) = asked(desk, "from verdicts where usage_date = '2013-09-02' and edc = 'cnp'")
    cnp = page.rows("Complete?")[0]
    assert cnp[:5] == ["cnp", *(str(verdict[name]) for name in ("expected", "in_time", "late", "missing"))]
    assert cnp[6] == verdict["verdict"] == "missed"
    status = desk.ask("status", "--day", "2013-09-02", "--json").json
    assert status["edcs"][0]["due"] == verdict["expected"]


def test_the_page_names_each_file_that_was_refused_in_whole_or_in_part(
    desk: Desk, told: Told, tmp_path: Path
) -> None:
    page = made(desk, tmp_path)
    rows = page.rows("Faults")
    assert [(row[0], row[3]) for row in rows] == [
        (told.partial.id, told.partial.outcome),
        (told.refused.id, told.refused.outcome),
    ]
    assert told.twin.outcome == "duplicate"  # which is no fault
    assert "Files whose bytes had come before, and were not taken again: 1." in page.words()
    assert rows[0][4] == str(told.partial.faults_total)


def test_a_page_that_cannot_be_written_is_said_in_words(desk: Desk) -> None:
    answer = desk.ask("report", "2013-09-02", "--html", "/proc/day.html")
    assert (answer.code, "no such file" in answer.err, "/proc/" in answer.err) == (3, True, True)


def test_every_question_on_the_page_can_be_asked_and_gives_the_figures_again(
    desk: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "day.html"
    figures = desk.ask("report", "2013-09-02", "--html", str(file), "--json").json
    assert (figures["file"], figures["bytes"]) == (str(file), file.stat().st_size)
    questions = [one.text or "" for one in Page(file).root.iter(f"{XHTML}pre")]
    assert len(questions) == 5
    for name, question in zip(("arrived", "versions", "current", "given", "faulty"), questions, strict=True):
        assert json.dumps(figures[name]) == json.dumps(asked(desk, question)), name
        assert figures[name], name


def test_the_page_is_whole_in_itself_and_small(desk: Desk, tmp_path: Path) -> None:
    page = made(desk, tmp_path)
    assert {one.tag.removeprefix(XHTML) for one in page.root.iter()}.isdisjoint(
        {"script", "link", "img", "iframe", "object", "embed", "image", "use", "base", "form"}
    )
    named = {name for one in page.root.iter() for name in one.attrib}
    assert named.isdisjoint(
        {"src", "href", "srcset", "data", "action"} | {n for n in named if n.startswith("on")}
    )
    outside = page.text.replace('xmlns="http://www.w3.org/1999/xhtml"', "")
    assert "//" not in outside
    assert "@import" not in outside
    assert set(re.findall(r"url\(([^)]*)\)", outside)) <= {"#hatch"}
    assert len(page.text) < 30_000
    colours = set(re.findall(r"#[0-9a-f]{3,6}\b", outside))
    assert colours <= {"#000", "#fff", "#bbb"}  # paper is black and white


def test_the_same_day_at_the_same_instant_is_the_same_page(desk: Desk, told: Told, tmp_path: Path) -> None:
    first = re.sub(r"As it stood at [^.]*\.", "", made(desk, tmp_path).text)
    assert re.sub(r"As it stood at [^.]*\.", "", made(desk, tmp_path).text) == first


def test_the_page_of_an_earlier_instant_is_of_what_was_known_then(desk: Desk, tmp_path: Path) -> None:
    file = tmp_path / "then.html"
    answer = desk.ask("report", "2013-09-02", "--html", str(file), "--as-known-at", "2013-09-03T20:00Z")
    assert answer.code == 0, answer.err
    page = Page(file)
    assert "As it stood at 2013-09-03 20:00:00 UTC." in page.words()
    assert "the deadline is to come" in page.words()
    assert "deadline missed" in made(desk, tmp_path).words()
    then, now = (
        sum(int(row[2]) for row in one.rows("Versions and estimates") if row[1] == "1")
        for one in (page, made(desk, tmp_path))
    )
    assert then < now  # account 1007 came late


def test_names_that_look_like_html_are_names(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.remove_partner("ppl")
    odd = Edc(id="cnp", name="</p><script>alert(1)</script> A&B 'x'", duns=CNP.duns, zone=CNP.zone)
    hub.add_partner(partner_text(odd, "edc"), "cnp")
    send_sync(hub, {"1001": CHAMPION.duns})
    page = made(Desk(hub, capsys, monkeypatch), tmp_path)
    assert f"{odd.name} (cnp)" in page.words()
    assert not list(page.root.iter(f"{XHTML}script"))


def test_a_day_of_which_there_is_nothing_is_refused_and_the_days_there_are_are_named(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    desk, file = Desk(hub, capsys, monkeypatch), tmp_path / "day.html"
    answer = desk.ask("report", str(DAY), "--html", str(file))
    assert (answer.code, "no day of which there is anything" in answer.err) == (3, True)
    send(hub, Cut(account="1001", day=DAY))
    assert "nobody knows how many blocks due" in made(desk, tmp_path).words()  # there is no sync yet
    send_sync(hub, {"1001": CHAMPION.duns})
    file.unlink()
    for day in ("2013-08-20", "2013-09-03", "2031-01-01"):  # before all, not over yet, and to come
        answer = desk.ask("report", day, "--html", str(file))
        assert (answer.code, "there is something of 2013-09-02" in answer.err) == (3, True)
    assert not file.exists()


def test_a_day_without_readings_that_are_due_has_a_page_that_says_so(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.remove_partner("ppl")
    desk = Desk(hub, capsys, monkeypatch)
    send_sync(hub, {"1001": CHAMPION.duns})
    words = made(desk, tmp_path).words()
    assert "the deadline is to come; 0 of 1 blocks due are loaded" in words
    assert "0 came so far; the deadline is Sep 3, 23:00:00 CDT." in words
    assert "came by the deadline" not in words
    send(hub, Cut(account="1001", day=DAY))
    hub.at(local(CNP, date(2013, 9, 3), 23, 1))
    hub.sweep()
    words = made(desk, tmp_path).words()
    assert "deadline met: 1 of 1 blocks due were loaded in time." in words
    assert "1 of 1 came by the deadline, Sep 3, 23:00:00 CDT." in words


def test_a_page_in_a_folder_that_is_not_there_is_refused(desk: Desk, tmp_path: Path) -> None:
    answer = desk.ask("report", "2013-09-02", "--html", str(tmp_path / "no" / "day.html"))
    assert (answer.code, "no-such-folder" in answer.err) == (1, True)


@pytest.mark.parametrize(
    ("day", "after_three_hours"),
    [
        (date(2013, 3, 9), "04:00"),  # its deadline is on the spring day
        (date(2013, 3, 10), "03:00"),
        (date(2013, 11, 2), "02:00"),  # its deadline is on the autumn day
        (date(2013, 11, 3), "03:00"),
    ],
)
def test_the_curve_is_right_by_the_clock_on_the_wall_when_that_is_changed(
    day: date, after_three_hours: str
) -> None:
    of_day = UsageDay(day, CNP.zone)
    deadline = of_day.deadline(time(23))
    curve = Curve(since=of_day.end, deadline=deadline, zone=CNP.zone, due=4, arrived=[(deadline, 3)])
    svg = ET.fromstring(drawn(curve, says="words"))  # noqa: S314
    words = [one.text or "" for one in svg.iter("text")]
    assert [word for word in words if re.fullmatch(r"\d\d:00", word)][:2] == ["00:00", after_three_hours]
    assert f"deadline 23:00 {deadline.astimezone(CNP.zone):%Z}" in words


def test_what_is_late_or_missing_can_be_seen_however_little_it_is() -> None:
    rects = list(ET.fromstring(bar(500_000, 1, 1)))  # noqa: S314
    whole, black, hatched = (float(one.attrib["width"]) for one in rects)
    assert (hatched, whole - black - hatched) == (3, 3)
    assert bar(0, 0, 0) == ""
