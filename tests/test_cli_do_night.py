"""`meterhub publish`, `deadline`, `sweep` and `retain`: what the server does by the clock, asked for by hand."""

import csv
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from cli_do_fixtures import Operator
from conftest import DAY
from exchange.cli.main import main
from hub_fixtures import CNP, PPL, Hub, morning, small_night
from jobs.stores.ledger import runs
from schemas.sample import EGSS

NOW = morning(DAY)
NIGHT = small_night(DAY)
CHICAGO = ZoneInfo("America/Chicago")
DEADLINE = datetime(2013, 9, 3, 23, tzinfo=CHICAGO).astimezone(UTC)
MICROSECOND = timedelta(microseconds=1)


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(capsys, monkeypatch)


@pytest.fixture
def loaded(hub: Hub) -> Hub:
    """A hub that has CNP's sync and all its readings of the night, and nothing of PPL's."""
    hub.send(*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0), NIGHT.bucket_of(CNP, 1))
    return hub


# ── publish ──────────────────────────────────────────────────────────────────────────────────────


def test_publish_says_which_file_was_laid_before_whom_and_a_second_time_nothing(
    loaded: Hub, operator: Operator
) -> None:
    root = loaded.home.root
    first = operator.asks(root, NOW + timedelta(minutes=5), "publish")
    by_edc = {one["edc"]: one for one in first}
    assert by_edc["cnp"]["outcome"] == "laid out"
    told = {(file["egs"], file["name"], file["blocks"]) for file in by_edc["cnp"]["files"]}
    assert told == {
        (egs.id, name, len(blocks)) for egs in EGSS for name, blocks in loaded.outbound(egs.id).items()
    }
    assert [file["sequence"] for file in by_edc["cnp"]["files"]] == [1] * len(told)
    assert (by_edc["ppl"]["outcome"], by_edc["ppl"]["waiting"]) == ("withheld", False)
    second = operator.asks(root, NOW + timedelta(minutes=5), "publish")  # the same instant once more
    assert {one["edc"]: one["outcome"] for one in second} == {"cnp": "nothing new", "ppl": "withheld"}
    assert "ppl: no sync is in force; nothing waits for it" in operator.reads(root, NOW, "publish")


def test_what_is_withheld_with_blocks_waiting_is_for_an_operator(hub: Hub, operator: Operator) -> None:
    hub.send(NIGHT.bucket_of(PPL, 0))
    said = operator.reads(hub.home.root, NOW, "publish", code=3)
    assert "ppl: no sync is in force; blocks wait for it" in said
    hub.send(*NIGHT.sync(PPL))
    too_late = NOW + timedelta(days=7)
    (_, ppl) = operator.asks(hub.home.root, too_late, "publish", code=3)
    assert (ppl["outcome"], ppl["files"]) == ("withheld", [])
    assert "too old" in ppl["why"]
    operator.asks(hub.home.root, NOW, "publish")


def test_held_late_blocks_are_laid_out_when_their_drop_is_released(
    make_hub: Callable[..., Hub], operator: Operator
) -> None:
    hub = make_hub('[deadline]\nlate = "hold"\n')
    hub.send(*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0))
    hub.at(DEADLINE + MICROSECOND)
    (late,) = hub.send(NIGHT.bucket_of(CNP, 1))
    root, now = hub.home.root, hub.now + timedelta(minutes=1)
    (cnp, _) = operator.asks(root, now, "publish")
    held = cnp["held"]["late"]
    assert held > 0
    assert f"cnp: held back: {held} late" in operator.reads(root, now, "publish")
    in_time = sum(file["blocks"] for file in cnp["files"])
    (cnp, _) = operator.asks(root, now + timedelta(minutes=1), "publish", "--release", late.id)
    laid = sum(file["blocks"] for file in cnp["files"])
    assert cnp["held"] == {"nobody": held - laid}  # of default service, and for whoever is of record later
    assert laid > held // 2
    assert in_time > 0
    error = operator.asks(root, now, "publish", "--release", late.id, code=1)["error"]
    assert error["code"] == "nothing-held"
    assert (
        operator.asks(root, now, "publish", "--release", "D000101-00001", code=1)["error"]["code"]
        == "no-such-drop"
    )


# ── deadline ─────────────────────────────────────────────────────────────────────────────────────


def test_before_the_deadline_it_looks_and_judges_nobody(loaded: Hub, operator: Operator) -> None:
    root = loaded.home.root
    (cnp,) = operator.asks(root, NOW, "deadline", "--day", str(DAY), "--edc", "cnp")
    assert (cnp["state"], cnp["missing"], cnp["judged_at"]) == ("open", 0, None)
    assert cnp["expected"] == cnp["loaded_in_time"] > 40
    assert cnp["deadline"] == "2013-09-04T04:00:00Z"
    said = operator.reads(root, NOW, "deadline", "--day", str(DAY), "--edc", "cnp")
    assert "2013-09-03 23:00:00 CDT" in said
    assert "looked at before the deadline: no verdict yet" in said
    # The instant itself is in time.
    (cnp,) = operator.asks(
        root, DEADLINE - timedelta(seconds=20), "deadline", "--day", str(DAY), "--edc", "cnp"
    )
    assert cnp["state"] == "open"
    assert loaded.events("deadline.met") == []
    assert loaded.laid("cnp", "reports", ".deadline.json") == []


def test_after_the_deadline_it_judges_once_and_reports_to_the_edc(loaded: Hub, operator: Operator) -> None:
    root = loaded.home.root
    for _ in range(2):
        (cnp,) = operator.asks(root, DEADLINE + MICROSECOND, "deadline", "--day", str(DAY), "--edc", "cnp")
        assert (cnp["state"], cnp["verdict"], cnp["percent_at_deadline"]) == ("judged", "met", 100.0)
    assert len(loaded.events("deadline.met")) == 1
    assert len(loaded.laid("cnp", "reports", ".deadline.json")) == 1
    loaded.at(DEADLINE + timedelta(minutes=3))
    loaded.sweep()  # the server finds that it was done
    assert len(loaded.events("deadline.met")) == 1


def test_a_missed_deadline_is_exit_code_1_and_what_is_missing_can_be_named(
    hub: Hub, operator: Operator
) -> None:
    hub.send(*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0))
    root, now = hub.home.root, DEADLINE + timedelta(hours=1)
    asked = ("deadline", "--day", str(DAY), "--edc", "cnp", "--missing")
    (cnp,) = operator.asks(root, now, *asked, code=1)
    assert (cnp["verdict"], cnp["late"]) == ("missed", 0)
    assert len(cnp["missing_blocks"]) == cnp["missing"] == cnp["expected"] - cnp["loaded_in_time"]
    (file,) = hub.laid("cnp", "reports", ".missing.csv")
    with file.open() as rows:
        assert list(csv.DictReader(rows)) == cnp["missing_blocks"]
    said = operator.reads(root, now, *asked, code=1)
    assert "Missing from cnp" in said
    assert all(block["account"] in said for block in cnp["missing_blocks"])
    # What comes later is late; the verdict stays.
    hub.at(now)
    hub.send(NIGHT.bucket_of(CNP, 1))
    (cnp,) = operator.asks(root, now, *asked, code=1)
    assert (cnp["verdict"], cnp["missing"], cnp["missing_blocks"]) == ("missed", 0, [])
    assert cnp["late"] > 0


def test_without_a_sync_there_is_no_verdict_and_an_operator_is_needed(hub: Hub, operator: Operator) -> None:
    hub.send(NIGHT.bucket_of(CNP, 0))
    asked = ("deadline", "--day", str(DAY), "--edc", "cnp")
    assert operator.asks(hub.home.root, NOW, *asked, code=3)[0]["state"] == "open"
    (cnp,) = operator.asks(hub.home.root, DEADLINE + MICROSECOND, *asked, code=3)
    assert (cnp["state"], cnp["verdict"]) == ("judged", "unknown")


def test_the_verdict_waits_for_a_drop_that_arrived_in_time(loaded: Hub, operator: Operator) -> None:
    file = NIGHT.replacement(CNP, accounts=3)
    loaded.at(DEADLINE)
    loaded.arrive("cnp", file.name, file.content)
    asked = ("deadline", "--day", str(DAY), "--edc", "cnp")
    (cnp,) = operator.asks(loaded.home.root, DEADLINE + timedelta(minutes=1), *asked, code=3)
    assert (cnp["state"], cnp["verdict"], cnp["waits_for"]) == ("waits", "unknown", 1)
    said = operator.reads(loaded.home.root, DEADLINE + timedelta(minutes=1), *asked, code=3)
    assert "waits for 1 drops that arrived in time" in said
    loaded.sweep()
    (cnp,) = operator.asks(loaded.home.root, DEADLINE + timedelta(minutes=1), *asked)
    assert (cnp["state"], cnp["verdict"]) == ("judged", "met")


def test_a_day_before_the_edc_had_sent_anything_is_looked_at_and_nobody_is_blamed(
    loaded: Hub, operator: Operator
) -> None:
    (cnp,) = operator.asks(loaded.home.root, NOW, "deadline", "--day", "2013-08-01", "--edc", "cnp", code=3)
    assert (cnp["state"], cnp["verdict"]) == ("not judged", "unknown")
    assert loaded.events("deadline.missed") == []
    assert loaded.laid("cnp", "reports", ".deadline.json") == []


def test_a_later_day_that_was_judged_by_hand_does_not_hide_an_earlier_one(
    loaded: Hub, operator: Operator
) -> None:
    root, now = loaded.home.root, DEADLINE + timedelta(days=3)
    later = DAY + timedelta(days=2)
    operator.asks(root, now, "deadline", "--day", str(later), "--edc", "cnp", code=1)
    loaded.at(now)
    loaded.sweep()
    with loaded.stores.ledger.read() as tx:
        assert sorted(runs.judged(tx, "cnp")) == [DAY + timedelta(days=k) for k in range(4)]


@pytest.mark.parametrize(
    ("day", "due"), [("2013-03-10", "2013-03-12T04:00:00Z"), ("2013-11-03", "2013-11-05T05:00:00Z")]
)
def test_deadlines_of_the_days_on_which_clocks_change(
    hub: Hub, operator: Operator, day: str, due: str
) -> None:
    (cnp, _) = operator.asks(
        hub.home.root, datetime.fromisoformat(day).replace(tzinfo=UTC), "deadline", "--day", day, code=3
    )
    assert cnp["deadline"] == due


# ── sweep ────────────────────────────────────────────────────────────────────────────────────────


def test_one_sweep_does_all_that_is_due_and_the_next_finds_nothing(hub: Hub, operator: Operator) -> None:
    for file in (*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0)):
        hub.arrive("cnp", file.name, file.content)
    root = hub.home.root
    answer = operator.asks(root, NOW, "sweep")
    assert [one["outcome"] for one in answer["drop"]] == ["loaded", "loaded"]
    assert {one["about"]: one["outcome"] for one in answer["publish"]}["cnp"] == "laid out"
    assert answer["failed"] == []
    assert "Nothing was due." in operator.reads(root, NOW + timedelta(minutes=1), "sweep")
    night = operator.asks(root, DEADLINE + timedelta(minutes=1), "sweep")
    assert {one["about"]: one["outcome"] for one in night["deadline"]} == {f"cnp/{DAY}": "missed"}


def test_several_drops_are_loaded_by_several_processes(hub: Hub, operator: Operator) -> None:
    files = [*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0), NIGHT.bucket_of(CNP, 1)]
    for file in files:
        hub.arrive("cnp", file.name, file.content)
    answer = operator.asks(hub.home.root, NOW, "sweep")
    assert sorted(one["outcome"] for one in answer["drop"]) == ["loaded"] * 3
    assert len(hub.events("drop.loaded")) == 3


def test_a_sweep_in_which_something_fails_says_so_with_exit_code_1(hub: Hub, operator: Operator) -> None:
    drop = hub.upload("cnp", NIGHT.bucket_of(CNP, 0).name, NIGHT.bucket_of(CNP, 0).content)
    other = NIGHT.bucket_of(PPL, 0)
    hub.arrive("ppl", other.name, other.content)
    for file in hub.home.lake.rglob(f"*{drop.id}*.parquet"):
        file.rename(file.with_suffix(".away"))
        away = file
    hub.send(*NIGHT.sync(CNP))
    answer = operator.asks(hub.home.root, NOW, "sweep", code=1)
    assert [one["task"] for one in answer["failed"]] == ["publish:cnp"]
    assert "No such file" in answer["failed"][0]["error"]
    assert [one["outcome"] for one in answer["drop"]] == ["loaded"]
    assert [line["task"] for line in hub.failures()] == ["publish:cnp"]
    away.with_suffix(".away").rename(away)
    answer = operator.asks(hub.home.root, NOW, "sweep")
    assert {one["about"]: one["outcome"] for one in answer["publish"]} == {"cnp": "laid out"}


# ── retain ───────────────────────────────────────────────────────────────────────────────────────


def test_retain_takes_away_what_was_kept_for_long_enough_and_nothing_else(
    loaded: Hub, operator: Operator
) -> None:
    root = loaded.home.root
    operator.asks(root, NOW, "publish")
    loaded.stores.mailboxes.part("cnp", "broken.lse").write_bytes(b"half")
    loaded.restart()
    asked = operator.asks(root, NOW + timedelta(hours=47), "retain")
    assert asked == {"outbound": [], "broken_uploads": []}
    asked = operator.asks(root, NOW + timedelta(hours=49), "retain")
    assert [(one["partner"], one["file"], one["bytes"]) for one in asked["broken_uploads"]] == [
        ("cnp", "broken.lse", 4)
    ]
    assert loaded.laid("cnp", "receipts", ".discarded.json")
    lying = {(egs.id, name) for egs in EGSS for name in loaded.outbound(egs.id)}
    assert operator.asks(root, NOW + timedelta(days=29), "retain")["outbound"] == []
    asked = operator.asks(root, NOW + timedelta(days=31), "retain")
    assert {(one["egs"], one["file"]) for one in asked["outbound"]} == lying
    assert not any(loaded.outbound(egs.id) for egs in EGSS)
    assert "Gone: 0 outbound files and 0 uploads" in operator.reads(root, NOW + timedelta(days=31), "retain")


# ── the clock ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("said", ["yesterday", "2013-09-03", "2013-09-03T10:00:00"])
def test_a_clock_that_is_set_to_no_instant_is_usage(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    monkeypatch.setenv("METERHUB_NOW", said)
    assert main(["--home", str(hub.home.root), "retain"]) == 2
    assert f"METERHUB_NOW is {said}; wanted: an instant such as" in capsys.readouterr().err
