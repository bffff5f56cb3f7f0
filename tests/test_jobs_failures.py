"""What fails again and again is parked and told, and the rest goes on; what its place stops, waits."""

import os
import signal
from datetime import date
from pathlib import Path
from typing import Any

from sqlalchemy import insert

from hub_fixtures import CNP, PATIENCE, PPL, Hub, morning
from interruption_fixtures import DIED, FORKS
from jobs import pipeline, tasks
from jobs.clock import StandingClock
from jobs.schedule import Done, Schedule
from jobs.stores import attempts
from jobs.stores.ledger import Ledger, claims, failures
from jobs.stores.ledger.claims import Owner
from jobs.stores.ledger.failures import Failure
from jobs_fixtures import CHAMPION, Cut, accounts_found, interval_name, lse, send_sync
from schemas import tables
from schemas.drop import Drop, Outcome, Stage

DAY = date(2013, 9, 2)


def arrived(hub: Hub, account: str = "A", day: date = DAY) -> Drop:
    return hub.arrive(CNP.id, interval_name(hub), lse([Cut(account=account, day=day)]))


def in_the_way_of(hub: Hub, day: date) -> Path:
    """Something lies where the lake has the folder of a usage day."""
    path = hub.home.lake / "usage" / f"usage_date={day}"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def parked(hub: Hub) -> list[Failure]:
    with hub.stores.ledger.read() as tx:
        return failures.parked(tx)


def test_a_drop_that_fails_three_times_is_parked_with_its_reason_and_the_others_go_on(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    obstacle = in_the_way_of(hub, DAY)
    bad = arrived(hub)
    for _ in range(2):
        hub.sweep()
        assert parked(hub) == []
    hub.sweep()
    (found,) = parked(hub)
    assert (found.task, found.partner, found.times) == (f"drop:{bad.id}", CNP.id, 3)
    assert "NotADirectoryError" in found.why or "FileExistsError" in found.why
    (told,) = hub.events("work.parked")
    assert told["about"] == bad.id
    assert len(hub.failures()) == 3
    good = arrived(hub, "B", date(2013, 9, 1))
    hub.on(minutes=15)
    hub.sweep()
    assert hub.drop(good.id).outcome is Outcome.ACCEPTED
    assert accounts_found(hub, CHAMPION.id) == ["B"]
    assert hub.failures() == []  # the parked one was left alone
    obstacle.unlink()
    hub.sweep()
    assert hub.drop(bad.id).stage is Stage.ACCEPTED  # nothing goes on by itself


def test_what_goes_well_in_the_end_is_counted_from_the_beginning_again(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    obstacle = in_the_way_of(hub, DAY)
    drop = arrived(hub)
    for _ in range(2):
        hub.sweep()
    assert len(hub.failures()) == 2
    obstacle.unlink()
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    with hub.stores.ledger.read() as tx:
        assert failures.find(tx, f"drop:{drop.id}") is None


def _die_with(root: Path, key: str, orderly: bool) -> None:
    owner = Owner(root / "state" / "locks")
    ledger = Ledger(f"sqlite:///{root}/state/ledger.sqlite")
    with ledger.write() as tx:
        assert claims.take(tx, key, owner=owner, now=morning(DAY))
    if orderly:
        owner.leave()
    os._exit(DIED)


def cut_off(hub: Hub, drop: Drop, *, orderly: bool = False) -> None:
    """A process takes the drop in hand and is gone."""
    child = FORKS.Process(target=_die_with, args=(hub.home.root, f"drop:{drop.id}", orderly))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == DIED


def test_a_drop_that_three_processes_died_of_is_parked_before_it_kills_a_fourth(hub: Hub) -> None:
    drop = arrived(hub)
    for _ in range(2):
        cut_off(hub, drop)
        assert attempts.take_back(stores=hub.stores, now=hub.now) == [f"drop:{drop.id}"]
        assert parked(hub) == []
    cut_off(hub, drop)
    assert pipeline.advance(drop.id, stores=hub.stores, clock=hub.schedule.clock) == pipeline.Parked(
        id=drop.id
    )
    (found,) = parked(hub)
    assert found.why == attempts.DIED
    assert hub.drop(drop.id).stage is Stage.ARRIVED


def test_a_process_that_let_go_of_its_work_has_not_died_of_it(hub: Hub) -> None:
    drop = arrived(hub)
    for _ in range(4):
        cut_off(hub, drop, orderly=True)
        assert attempts.take_back(stores=hub.stores, now=hub.now) == []
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    assert not list(hub.home.locks.glob("*.left"))


def test_only_the_drop_whose_worker_died_is_to_blame_and_not_those_beside_it(hub: Hub) -> None:
    done: list[Done] = []
    hub.stores.home.settings_file.write_text("workers = 2\n")
    hub.restart()
    hub.schedule.stop(seconds=PATIENCE)
    hub.schedule = Schedule(hub.stores, StandingClock(hub.now), told=done.append)
    one, other = arrived(hub, "A"), arrived(hub, "B")
    with hub.stores.ledger.write():
        # Both are begun, each by a worker of its own, and wait for the ledger.
        hub.schedule.wake(one.id)
        hub.schedule.wake(other.id)
    hub.schedule.settle_down(seconds=PATIENCE)
    assert [hub.drop(drop.id).outcome for drop in (one, other)] == [Outcome.ACCEPTED] * 2
    executor: Any = hub.schedule._executor
    first, second = list(executor._processes.values())
    names = {int(path.stem.partition("-")[0]): path.stem for path in hub.home.locks.glob("*.lock")}
    third = arrived(hub, "C")
    with hub.stores.ledger.write() as tx:
        for key, process in (("drop:X", first), ("drop:Y", second)):
            tx.execute(insert(tables.claim).values(key=key, owner=names[process.pid], since=hub.now))
        # There is work when one dies. Who has none leaves a broken pool in peace, with claims or without.
        hub.schedule.wake(third.id)
        os.kill(first.pid, signal.SIGKILL)
        assert hub.schedule.settle_down(seconds=PATIENCE) == 0
    hub.schedule.sweep(to_the_end=True)
    assert hub.drop(third.id).outcome is Outcome.ACCEPTED
    assert attempts.take_back(stores=hub.stores, now=hub.now) == ["drop:X"]


def test_a_stage_of_a_sweep_that_fails_keeps_no_other_from_its_work(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    drop = arrived(hub)
    other = hub.home.sftp_root / PPL.id / "inbound"
    other.parent.mkdir(parents=True, exist_ok=True)
    if other.exists():
        other.rmdir()
    other.touch()  # nobody can look what the other EDC has uploaded
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    assert accounts_found(hub, CHAMPION.id) == ["A"]
    assert f"sweep:adopt/{PPL.id}" in {failure["task"] for failure in hub.failures()}
    with hub.stores.ledger.read() as tx:
        assert failures.find(tx, f"sweep:adopt/{PPL.id}") is not None
    other.unlink()
    hub.sweep()
    with hub.stores.ledger.read() as tx:
        assert failures.find(tx, f"sweep:adopt/{PPL.id}") is None


def test_a_lake_that_is_gone_for_a_while_is_nobodys_fault(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    away = hub.home.lake.with_name("away")
    hub.home.lake.rename(away)
    drop = arrived(hub)
    for _ in range(5):
        hub.sweep()
    assert [line["why"] for line in hub.log() if line["event"] == "work.waits"]
    assert hub.failures() == []
    assert hub.drop(drop.id).stage is Stage.ARRIVED
    away.rename(hub.home.lake)
    hub.on(minutes=15)
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    assert accounts_found(hub, CHAMPION.id) == ["A"]


def test_a_sync_that_fails_three_times_is_parked_and_the_one_in_force_stays(hub: Hub) -> None:
    first = send_sync(hub, {"A": CHAMPION.duns})
    hub.on(days=1)
    roster = hub.home.lake / f"syncs/{first.sync_id}.parquet"
    kept = roster.rename(roster.with_suffix(".away"))
    second = send_sync(hub, {"A": CHAMPION.duns}, as_of=date(2013, 9, 4))
    for _ in range(2):
        hub.sweep()
    assert second.sync_id
    (found,) = parked(hub)
    assert found.task == f"sync:{second.sync_id}"
    assert hub.failures()
    hub.sweep()
    kept.rename(roster)
    with hub.stores.ledger.write() as tx:
        failures.retry(tx, found, by="a test", at=hub.now)
    hub.failures()
    hub.sweep()
    assert hub.failures() == []
    assert [event["about"] for event in hub.events("sync.enforced")][-1] == second.sync_id


def test_work_of_the_clock_is_counted_and_tried_again_whatever_happens(hub: Hub) -> None:
    def work() -> dict[str, Any]:
        raise ZeroDivisionError

    for _ in range(5):
        try:
            tasks.once("publish", "cnp@now", work, opened=hub.stores, clock=hub.schedule.clock)
        except ZeroDivisionError:
            continue
        raise AssertionError
    with hub.stores.ledger.read() as tx:
        (found,) = failures.failing(tx)
    assert (found.task, found.times, found.parked_at) == ("publish:cnp", 5, None)
    tasks.once("publish", "cnp@later", lambda: {"outcome": "x"}, opened=hub.stores, clock=hub.schedule.clock)
    with hub.stores.ledger.read() as tx:
        assert failures.failing(tx) == []
