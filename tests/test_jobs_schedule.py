"""What is due is done, by whoever comes first, once; and again by another when its process is gone."""

import os
import signal
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from apscheduler.schedulers.background import BackgroundScheduler
from sqlalchemy import select

from cli_do_fixtures import SECONDS, poll
from config.home import Home
from hub_fixtures import CNP, PPL, Hub
from interruption_fixtures import FORKS
from jobs import executor, pipeline, tasks
from jobs.clock import RunningClock, StandingClock
from jobs.schedule import Done, Schedule
from jobs.steps import arrive
from jobs.stores.ledger import claims, runs
from jobs.stores.ledger.claims import Owner
from jobs_fixtures import CHAMPION, Cut, accounts_found, interval_name, local, lse, send, send_sync
from schemas import tables
from schemas.drop import Drop, Outcome, Stage

DAY = date(2013, 9, 2)


def arrived(hub: Hub, account: str = "A") -> Drop:
    return hub.arrive(CNP.id, interval_name(hub), lse([Cut(account=account, day=DAY)]))


def claimed(hub: Hub) -> dict[str, str]:
    with hub.stores.ledger.read() as tx:
        return {row.key: row.owner for row in tx.execute(select(tables.claim))}


# ── claims ───────────────────────────────────────────────────────────────────────────────────────


def _hold(root: Path, now: datetime, drop_id: str, held: Any) -> None:
    """Claim a drop, and wait for one's end."""
    hub = Hub(Home(root), now, fresh=False)
    with hub.stores.ledger.write() as tx:
        assert claims.take(tx, f"drop:{drop_id}", owner=hub.stores.owner, now=now)
    held.set()
    signal.pause()


def test_a_drop_that_a_living_process_has_is_left_to_it_and_a_dead_ones_is_taken_over(hub: Hub) -> None:
    drop = arrived(hub)
    held = FORKS.Event()
    child = FORKS.Process(target=_hold, args=(hub.home.root, hub.now, drop.id, held))
    child.start()
    assert held.wait(SECONDS)
    outcome = pipeline.advance(drop.id, stores=hub.stores, clock=StandingClock(hub.now))
    assert outcome == pipeline.ClaimedElsewhere(drop_id=drop.id)
    hub.sweep()
    assert hub.drop(drop.id).stage is Stage.ARRIVED
    child.kill()
    child.join()
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    assert claimed(hub) == {}


def test_a_claim_is_given_back_when_the_work_raises(hub: Hub) -> None:
    work = claims.claimed(hub.stores.ledger, "k", owner=hub.stores.owner, now=hub.now)
    with pytest.raises(ZeroDivisionError), work as mine:  # noqa: PT012 - it is held until then
        assert mine
        assert claimed(hub) == {"k": hub.stores.owner.name}
        _ = 1 / 0
    assert claimed(hub) == {}


def test_a_claim_is_held_against_oneself_and_others(hub: Hub) -> None:
    other = Owner(hub.home.locks)
    with claims.claimed(hub.stores.ledger, "k", owner=hub.stores.owner, now=hub.now) as mine:
        assert mine
        for owner in (hub.stores.owner, other):
            with claims.claimed(hub.stores.ledger, "k", owner=owner, now=hub.now) as again:
                assert not again
        assert claimed(hub) == {"k": hub.stores.owner.name}
    with claims.claimed(hub.stores.ledger, "k", owner=other, now=hub.now) as mine:
        assert mine
    other.close()


def test_owners_that_are_gone_leave_nothing_behind(hub: Hub) -> None:
    (hub.home.locks / "99999-dead.lock").touch()
    other = Owner(hub.home.locks)
    hub.stores.owner.clear_up()
    left = {path.stem for path in hub.home.locks.glob("*.lock")}
    assert left == {hub.stores.owner.name, other.name}
    other.close()
    assert not hub.stores.owner.is_alive(other.name)
    assert hub.stores.owner.is_alive(hub.stores.owner.name)


# ── sweeps ───────────────────────────────────────────────────────────────────────────────────────


def test_a_step_that_fails_is_tried_again_at_the_next_sweep(hub: Hub) -> None:
    """Something lies where the lake has a folder."""
    send_sync(hub, {"A": CHAMPION.duns})
    in_the_way = hub.home.lake / "usage"
    in_the_way.touch()
    drop = arrived(hub)
    hub.sweep()
    assert {failure["task"] for failure in hub.failures()} == {f"drop:{drop.id}"}
    assert hub.drop(drop.id).stage is Stage.ACCEPTED
    assert claimed(hub) == {}
    in_the_way.unlink()
    hub.on(minutes=15)
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED
    assert accounts_found(hub, CHAMPION.id) == ["A"]


def test_the_verdict_waits_for_a_drop_that_came_in_time_and_fails(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    hub.at(local(CNP, date(2013, 9, 3), 22, 59))
    arrived(hub)
    in_the_way = hub.home.lake / "usage"
    in_the_way.touch()
    hub.at(local(CNP, date(2013, 9, 3), 23, 5))
    hub.sweep()
    assert hub.failures()
    assert not hub.events("deadline.missed")
    assert [line["drops"] for line in hub.log() if line["event"] == "deadline.awaited"] == [1]
    in_the_way.unlink()
    hub.sweep()
    assert hub.events("deadline.met")[0]["details"]["hub_late_seconds"] == 300


def test_a_slot_is_published_once_and_each_has_its_turn(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    send(hub, Cut(account="B", day=DAY))
    hub.on(minutes=14, seconds=59)
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A"]
    hub.on(seconds=1)
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A", "B"]
    with hub.stores.ledger.read() as tx:
        keys = sorted(run["key"] for run in runs.last(tx) if run["job"] == "publish" and "cnp" in run["key"])
    assert keys == ["cnp@2013-09-03T10:00:00+00:00", "cnp@2013-09-03T10:15:00+00:00"]


def test_work_that_is_not_done_yet_is_tried_again_and_done_work_is_not(hub: Hub) -> None:
    answers = iter([None, None, {"outcome": "AllIn"}])

    def once() -> str:
        return tasks.once("job", "key", lambda: next(answers), opened=hub.stores, clock=hub.schedule.clock)

    assert [once() for _ in range(5)] == ["Waits", "Waits", "AllIn", "Done", "Done"]
    with hub.stores.ledger.read() as tx:
        (run,) = [run for run in runs.last(tx) if run["job"] == "job"]
    assert run["said"] == {"outcome": "AllIn"}


def test_a_whole_file_without_a_drop_is_taken_up_and_a_part_only_at_a_start(hub: Hub) -> None:
    name = interval_name(hub)
    hub.stores.mailboxes.whole(CNP.id, name).write_bytes(lse([Cut(account="A", day=DAY)]))
    hub.stores.mailboxes.part(CNP.id, "half.lse").write_bytes(b"0000")
    hub.sweep()
    (loaded,) = hub.events("drop.loaded")
    assert hub.drop(loaded["about"]).name == name
    assert not hub.events("drop.incomplete")
    hub.restart()
    (incomplete,) = hub.events("drop.incomplete")
    assert incomplete["details"] == {"name": "half.lse", "bytes": 4}
    assert arrive.adopt(CNP.id, stores=hub.stores, now=hub.now, parts=True) == []


def test_a_file_that_was_renamed_and_not_recorded_goes_on_from_what_it_is(hub: Hub) -> None:
    """An upload was resumed, and the hub died between the rename at its end and the ledger."""
    name, content = interval_name(hub), lse([Cut(account="A", day=DAY)])
    hub.stores.mailboxes.part(CNP.id, name).write_bytes(content[:100])
    broken = arrive.broken(CNP.id, name, size=100, stores=hub.stores, now=hub.now)
    hub.stores.mailboxes.part(CNP.id, name).write_bytes(content)
    hub.stores.mailboxes.part(CNP.id, name).rename(hub.stores.mailboxes.whole(CNP.id, name))
    hub.sweep()
    assert hub.drop(broken.id).outcome is Outcome.ACCEPTED
    # And the other way round: the upload of a whole file of a temporary name was begun again.
    other = hub.arrive(CNP.id, "a.tmp", b"0000")
    assert other.stage is Stage.MISNAMED
    hub.stores.mailboxes.whole(CNP.id, "a.tmp").rename(hub.stores.mailboxes.part(CNP.id, "a.tmp"))
    hub.restart()
    assert hub.drop(other.id).stage is Stage.INCOMPLETE
    # And one that was renamed: the file goes on under its new name, the drop of the old one has none.
    hub.stores.mailboxes.part(CNP.id, "a.tmp").rename(hub.stores.mailboxes.whole(CNP.id, "b.tmp"))
    hub.sweep()
    assert hub.drop(other.id).stage is Stage.DISCARDED
    assert [event["details"]["name"] for event in hub.events("drop.misnamed")] == ["a.tmp", "b.tmp"]


def test_drops_go_in_the_order_of_their_arrival(hub: Hub) -> None:
    ids = []
    for wh in (3, 1, 2):
        cut = Cut(account="A", day=DAY, wh=wh)
        ids.append(hub.arrive(CNP.id, interval_name(hub), lse([cut])).id)
        hub.on(seconds=1)
    hub.sweep()
    assert [event["about"] for event in hub.events("drop.loaded")] == ids


# ── the pool ─────────────────────────────────────────────────────────────────────────────────────


def pooled(hub: Hub, done: list[Done]) -> Schedule:
    hub.stores.home.settings_file.write_text("workers = 2\n")
    hub.restart()
    hub.schedule.stop(seconds=SECONDS)
    hub.schedule = Schedule(hub.stores, StandingClock(hub.now), told=done.append)
    return hub.schedule


def workers(schedule: Schedule) -> list[int]:
    processes: dict[int, Any] = vars(schedule._executor)["_processes"]
    return list(processes)


def test_buckets_are_loaded_side_by_side_in_processes_of_their_own(hub: Hub) -> None:
    done: list[Done] = []
    schedule = pooled(hub, done)
    for edc in (CNP, PPL):
        content = lse([Cut(account="A", day=DAY)], edc)
        schedule.wake(hub.arrive(edc.id, interval_name(hub, edc), content).id)
    assert schedule.settle_down(seconds=SECONDS) == 0
    assert sorted(one.outcome for one in done) == ["loaded", "loaded"]
    assert os.getpid() not in workers(schedule)


def test_a_pool_whose_worker_is_killed_is_built_anew_and_its_work_is_done(hub: Hub) -> None:
    done: list[Done] = []
    schedule = pooled(hub, done)
    schedule.wake(arrived(hub, "A").id)
    schedule.settle_down(seconds=SECONDS)
    second = arrived(hub, "B")
    with hub.stores.ledger.write():  # so that its worker waits, whatever it has begun
        schedule.wake(second.id)
        for worker in workers(schedule):
            os.kill(worker, signal.SIGKILL)
        assert schedule.settle_down(seconds=SECONDS) == 0
    assert done[-1].error is not None
    schedule.sweep(to_the_end=True)
    assert hub.drop(second.id).outcome is Outcome.ACCEPTED
    assert [line["event"] for line in hub.log()].count("pool.rebuilt") == 1
    assert len(hub.events("drop.loaded")) == 2


def test_what_a_dead_worker_left_does_not_wait_for_the_sweep_of_the_next_minute(hub: Hub) -> None:
    schedule = pooled(hub, [])
    triggers = schedule._triggers = BackgroundScheduler(timezone="UTC", misfire_grace_time=None)
    triggers.start(paused=True)
    schedule.wake(arrived(hub, "A").id)
    schedule.settle_down(seconds=SECONDS)
    second = arrived(hub, "B")
    with hub.stores.ledger.write():
        schedule.wake(second.id)
        for worker in workers(schedule):
            os.kill(worker, signal.SIGKILL)
        assert schedule.settle_down(seconds=SECONDS) == 0
    poll("a sweep is planned", lambda: triggers.get_job("sweep soon"))
    triggers.resume()
    poll("it is loaded", lambda: hub.drop(second.id).stage is Stage.LOADED)


def test_a_stop_lets_what_is_begun_end_and_takes_nothing_new(hub: Hub) -> None:
    done: list[Done] = []
    schedule = pooled(hub, done)
    first = arrived(hub, "A")
    schedule.wake(first.id)
    schedule.settle_down(seconds=SECONDS)
    schedule.stop(seconds=SECONDS)
    second = arrived(hub, "B")
    schedule.wake(second.id)
    schedule.sweep()
    assert hub.drop(first.id).stage is Stage.LOADED
    assert hub.drop(second.id).stage is Stage.ARRIVED
    hub.restart()
    hub.sweep()
    assert hub.drop(second.id).stage is Stage.LOADED


def test_a_task_that_raises_tells_its_error_and_stops_nobody(hub: Hub) -> None:
    done: list[Done] = []
    schedule = pooled(hub, done)
    schedule.wake("D000000-00001")
    schedule.wake(arrived(hub).id)
    schedule.settle_down(seconds=SECONDS)
    assert {(one.outcome, type(one.error).__name__) for one in done} == {
        ("", "KeyError"),
        ("loaded", "NoneType"),
    }
    assert [failure["task"] for failure in hub.failures()] == ["drop:D000000-00001"]


def test_the_inline_executor_answers_as_an_executor_does() -> None:
    inline = executor.Inline()
    assert inline.submit(lambda: 3).result() == 3
    assert isinstance(inline.submit(lambda: 1 / 0).exception(), ZeroDivisionError)


def test_a_running_clock_that_was_set_runs_on() -> None:
    instant = datetime.fromisoformat("2013-09-03T23:00:00+00:00")
    clock = RunningClock.reading(instant)
    first, second = clock(), clock()
    assert instant <= first <= second < instant + timedelta(hours=1)
