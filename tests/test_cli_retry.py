"""What failed too often, as an operator meets it: status, drops --parked, retry; and sweep while nothing can be done."""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from cli_do_fixtures import Operator
from hub_fixtures import CNP, Hub
from jobs.stores import mishaps
from jobs.stores.ledger import failures
from jobs_fixtures import CHAMPION, Cut, interval_name, lse, send_sync
from schemas.drop import Drop, Outcome, Stage

DAY = date(2013, 9, 2)


@pytest.fixture
def operator(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Operator:
    return Operator(capsys, monkeypatch)


@pytest.fixture
def parked(hub: Hub) -> tuple[Drop, Path]:
    """A drop that is parked, and what lies in its way."""
    send_sync(hub, {"A": CHAMPION.duns})
    obstacle = hub.home.lake / "usage"
    obstacle.touch()
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    for _ in range(3):
        hub.sweep()
    assert len(hub.failures()) == 3
    return drop, obstacle


def test_what_is_parked_is_named_with_its_reason_and_what_to_run(
    hub: Hub, operator: Operator, parked: tuple[Drop, Path]
) -> None:
    drop, _ = parked
    status = operator.asks(hub.home.root, hub.now, "status", code=3)
    (need,) = [need for need in status["needs"] if need["code"] == "parked"]
    assert need["partner"] == CNP.id
    assert need["run"] == f"meterhub retry {drop.id}"
    assert need["then"] == [f'meterhub retry {drop.id} --refuse --why "WHAT ITS SENDER IS TOLD"']
    assert status["tried_again"] == []
    assert f"{drop.id} failed 3 times and is parked: " in need["what"]
    assert "drops-wait" not in {need["code"] for need in status["needs"]}
    (listed,) = operator.asks(hub.home.root, hub.now, "drops", "--parked")
    assert (listed["id"], listed["stage"]) == (drop.id, "accepted")
    assert listed["parked"] in need["what"]
    assert f"meterhub retry {drop.id}" in operator.reads(hub.home.root, hub.now, "drops", "--parked")
    swept = operator.asks(hub.home.root, hub.now, "sweep")
    assert {"about": drop.id, "outcome": "left alone, it has failed too often: meterhub status"} in swept[
        "drop"
    ]


def test_what_failed_and_is_tried_again_is_shown_before_it_is_parked(hub: Hub, operator: Operator) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    (hub.home.lake / "usage").touch()
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    for times, words in ((1, "once"), (2, "2 times")):
        hub.sweep()
        (one,) = operator.asks(hub.home.root, hub.now, "status", code=3)["tried_again"]
        assert (one["about"], one["partner"], one["stage"]) == (drop.id, CNP.id, "accepted")
        assert (one["times"], one["last_at"]) == (times, hub.now.isoformat().replace("+00:00", "Z"))
        said = " ".join(operator.reads(hub.home.root, hub.now, "status", code=3).split())
        assert f"{drop.id}, accepted, failed {words}, and is tried again by the next sweep: " in said
        (story,) = operator.asks(hub.home.root, hub.now, "explain", drop.id)
        assert story["failed"].startswith(f"{words}, at ")
        assert one["why"] in story["failed"]
        assert story["failed"].endswith("the next sweep tries it again")
    hub.sweep()
    assert len(hub.failures()) == 3
    (story,) = operator.asks(hub.home.root, hub.now, "explain", drop.id)
    assert story["failed"].endswith(f"it is parked: meterhub retry {drop.id}")


def test_a_retry_does_it_at_once_and_says_how_it_went(
    hub: Hub, operator: Operator, parked: tuple[Drop, Path]
) -> None:
    drop, obstacle = parked
    (again,) = operator.asks(hub.home.root, hub.now, "retry", drop.id, "--by", "maria", code=1)
    assert "FileExistsError" in again["error"] or "NotADirectoryError" in again["error"]
    told = operator.asks(hub.home.root, hub.now, "retry", drop.id, code=1)  # it has two tries left
    assert told["error"]["code"] == "not-parked"
    for _ in range(2):
        hub.sweep()
    assert len(hub.failures()) == 2
    obstacle.unlink()
    (done,) = operator.asks(hub.home.root, hub.now, "retry", "--all")
    assert (done["about"], done["outcome"], done["error"]) == (drop.id, "loaded", "")
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    assert hub.events("work.retried")[0]["details"]["by"] == "maria"
    assert operator.asks(hub.home.root, hub.now, "retry", "--all") == []
    assert operator.asks(hub.home.root, hub.now, "drops", "--parked") == []


def test_a_parked_drop_is_ended_by_an_operators_word_and_its_sender_told_why(
    hub: Hub, operator: Operator, parked: tuple[Drop, Path]
) -> None:
    drop, obstacle = parked
    why = "its readings are those of another day"
    (told,) = operator.asks(
        hub.home.root, hub.now, "retry", drop.id, "--refuse", "--why", why, "--by", "maria"
    )
    assert (told["about"], told["outcome"], told["error"]) == (drop.id, "refused", "")
    (path,) = hub.laid(CNP.id, "receipts", f".{drop.id}.rejected.json")
    said = json.loads(path.read_text())
    assert [(one["code"], one["found"]) for one in said["faults"]] == [("refused-by-operator", why)]
    assert (said["faults_total"], said["blocks_loaded"]) == (1, 0)
    assert len(hub.laid(CNP.id, "receipts", f".{drop.id}.faults.csv")) == 1
    (event,) = hub.events("work.refused")
    assert (event["about"], event["details"]["by"], event["details"]["why"]) == (drop.id, "maria", why)
    assert operator.asks(hub.home.root, hub.now, "drops", "--parked") == []
    obstacle.unlink()
    hub.sweep()
    assert hub.drop(drop.id).stage is Stage.REFUSED
    assert operator.asks(hub.home.root, hub.now, "verify")["findings"] == []
    (done,) = operator.asks(hub.home.root, hub.now, "replay", str(DAY), "--edc", CNP.id)
    assert (done["identical"], done["differences"]) == (True, [])
    # the same bytes may come again: they are no duplicate of what was refused
    again = hub.upload(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    assert hub.drop(again.id).outcome is Outcome.ACCEPTED
    hub.on(minutes=15)
    hub.sweep()
    (done,) = operator.asks(hub.home.root, hub.now, "replay", str(DAY), "--edc", CNP.id)
    assert (done["identical"], done["differences"]) == (True, [])


def test_a_parked_drop_that_cannot_even_be_received_stays_parked_when_it_is_refused(
    hub: Hub, operator: Operator
) -> None:
    obstacle = hub.home.archive / hashlib.sha256(lse([Cut(account="A", day=DAY)])).hexdigest()[:2]
    obstacle.touch()
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    for _ in range(3):
        hub.sweep()
    asked = ("retry", "--all", "--refuse", "--why", "nobody can read it")
    (told,) = operator.asks(hub.home.root, hub.now, *asked, code=1)
    assert "Error" in told["error"]
    assert (hub.drop(drop.id).stage, len(hub.failures())) == (Stage.ARRIVED, 3)
    assert operator.asks(hub.home.root, hub.now, "drops", "--parked") != []
    obstacle.unlink()
    (told,) = operator.asks(hub.home.root, hub.now, *asked)
    assert (told["outcome"], hub.drop(drop.id).outcome) == ("refused", Outcome.REJECTED)
    assert len(hub.laid(CNP.id, "receipts", f".{drop.id}.received.json")) == 1


def test_what_is_refused_is_refused_for_a_reason(hub: Hub, operator: Operator) -> None:
    for words in (("--refuse",), ("--why", "x")):
        told = operator.reads(hub.home.root, hub.now, "retry", "D130903-00001", *words, code=2)
        assert "--refuse and --why go together" in told


def test_whoever_asks_for_a_retry_says_of_what(hub: Hub, operator: Operator) -> None:
    assert "say which, or --all" in operator.reads(hub.home.root, hub.now, "retry", code=2)
    assert "nothing is parked" in operator.reads(hub.home.root, hub.now, "retry", "D130903-00001", code=1)


def test_a_sweep_says_why_nothing_is_done_while_the_disk_is_full(
    make_hub: Callable[..., Hub], operator: Operator
) -> None:
    hub = make_hub(f"[storage]\nmin_free_bytes = {1 << 50}\n")
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    swept = operator.asks(hub.home.root, hub.now, "sweep", code=3)
    assert [one["code"] for one in swept["waits_for"]] == ["disk-full"]
    file = hub.home.root / interval_name(hub)
    file.write_bytes(lse([Cut(account="B", day=DAY)]))
    told = operator.asks(hub.home.root, hub.now, "submit", "--edc", CNP.id, str(file), code=3)
    assert told["error"]["code"] == "disk-full"
    assert hub.laid(CNP.id, "inbound", "") == [hub.stores.mailboxes.whole(CNP.id, drop.name)]
    assert "Nothing is loaded or published" in operator.reads(hub.home.root, hub.now, "sweep", code=3)
    assert hub.drop(drop.id).stage is Stage.ARRIVED


@contextmanager
def no_room_in_the_lake() -> Iterator[None]:
    mishaps.begin("*:lake=ENOSPC@1")
    try:
        yield
    finally:
        mishaps.begin("")


def test_what_finds_no_room_although_the_disk_has_some_is_told_with_what_to_do_and_goes_on_by_itself(
    hub: Hub, operator: Operator
) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    with no_room_in_the_lake():
        drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
        for _ in range(4):  # more often than what parks a drop
            hub.sweep()
        swept = operator.asks(hub.home.root, hub.now, "sweep", code=3)
    assert hub.failures() == []  # no traceback
    log = [line["why"] for line in hub.log() if line.get("task") == f"drop:{drop.id}"]
    assert len(log) == 5
    assert "no room left in " in log[0]
    assert "raise the quota" in log[0]
    assert swept["failed"] == []
    assert [one["what"].partition(": there is")[0] for one in swept["waits_for"]] == [f"drop:{drop.id}"]
    status = operator.asks(hub.home.root, hub.now, "status", code=3)
    (need,) = [need for need in status["needs"] if need["partner"] == CNP.id]
    assert (need["code"], need["run"]) == ("no-room", "meterhub sweep")
    assert need["what"].startswith(f"{drop.id} cannot go on: there is no room left in ")
    assert status["tried_again"] == []
    (story,) = operator.asks(hub.home.root, hub.now, "explain", drop.id)
    assert "no room left" in story["waits"]
    assert story["failed"] is None
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    with hub.stores.ledger.read() as tx:
        assert failures.waiting(tx) == []


def test_what_failed_by_itself_keeps_its_count_while_it_waits_for_room(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    (hub.home.lake / "usage").touch()
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    hub.sweep()
    (hub.home.lake / "usage").unlink()
    with no_room_in_the_lake():
        hub.sweep()
    assert len(hub.failures()) == 1
    with hub.stores.ledger.read() as tx:
        (tried,), (waits,) = failures.tried(tx), failures.waiting(tx)
    assert (tried.task, tried.times) == (waits.task, waits.times) == (f"drop:{drop.id}", 1)
    hub.sweep()
    with hub.stores.ledger.read() as tx:
        assert failures.tried(tx) == failures.waiting(tx) == []


def test_files_that_are_submitted_and_find_no_room_are_told_why(
    hub: Hub, operator: Operator, tmp_path: Path
) -> None:
    file = tmp_path / interval_name(hub)
    file.write_bytes(lse([Cut(account="A", day=DAY)]))
    with no_room_in_the_lake():
        (told,) = operator.asks(hub.home.root, hub.now, "submit", "--edc", CNP.id, str(file), code=3)
    assert "cannot be brought to its end: there is no room left in " in told["why"]
