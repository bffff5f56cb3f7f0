"""Work beside other work: pools that break, hubs that stop with work left, locks of processes that are gone."""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from cli_do_fixtures import SECONDS, poll
from config.errors import OperatorError
from config.home import Home
from conftest import DAY
from exchange import lock
from hub_fixtures import CNP, Hub, small_night
from jobs import executor
from jobs.clock import StandingClock
from jobs.schedule import Done, Schedule
from jobs.steps import retain
from jobs.stores import layout
from jobs.stores.ledger import claims
from jobs.stores.ledger.claims import Owner
from schemas.drop import Stage

NIGHT = small_night(DAY, accounts=120, bucket=20)


def workers() -> set[int]:
    """The processes that the fork server of this one has made, by their parent."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            text = stat.read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        parent = int(text.rpartition(")")[2].split()[1])
        if _is_ours(parent) and text.rpartition(")")[2].split()[0] != "Z":
            found.add(int(stat.parent.name))
    return found


def _is_ours(pid: int) -> bool:
    """Whether a process is a fork server that this process has started."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return int(stat[1]) == os.getpid() and b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("which", [0, 1])
def test_a_pool_of_which_an_idle_worker_was_killed_is_rebuilt_and_nobody_waits_for_ever(
    make_hub: Callable[..., Hub], which: int
) -> None:
    hub = make_hub("workers = 2\n")
    ended: list[Done] = []
    schedule = Schedule(hub.stores, StandingClock(hub.now), told=ended.append)

    def load(*numbers: int) -> None:
        """Each in a worker of its own: none is free again before all are begun."""
        files = [NIGHT.bucket_of(CNP, number) for number in numbers]
        drops = [hub.arrive("cnp", file.name, file.content) for file in files]
        with hub.stores.ledger.write():
            for drop in drops:
                schedule.wake(drop.id)
        schedule.settle_down()

    def kill_one() -> None:
        # One of two holds a lock that the other waits for, and neither heeds a termination.
        os.kill(sorted(workers())[which], signal.SIGKILL)
        poll("the pool has noticed", lambda: executor.is_broken(schedule._executor))

    load(0, 1)
    kill_one()
    load(2, 3)
    assert [done.outcome for done in ended] == ["loaded"] * 4
    assert [line["event"] for line in hub.log()].count("pool.rebuilt") == 1
    kill_one()
    stopped = threading.Thread(target=schedule.stop, kwargs={"seconds": 5})
    stopped.start()
    stopped.join(SECONDS)
    assert not stopped.is_alive()
    poll("its workers are gone", lambda: not workers())


class Stopping(threading.Thread):
    """Stops a schedule, and knows how many loads were left."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        self.schedule, self.left = schedule, -1

    def has_begun(self) -> bool:
        with self.schedule._lock:
            return self.schedule._stopping

    def run(self) -> None:
        self.left = self.schedule.stop(seconds=SECONDS)


def test_a_stopping_hub_ends_what_was_begun_and_leaves_the_rest_to_the_next_start(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("workers = 1\n")
    files = [NIGHT.bucket_of(CNP, k) for k in range(6)]
    drops = [hub.arrive("cnp", file.name, file.content) for file in files]
    schedule = Schedule(hub.stores, StandingClock(hub.now))
    stopping = Stopping(schedule)
    with hub.stores.ledger.write():  # for which the first waits, until nothing more is begun
        for drop in drops:
            schedule.wake(drop.id)
        stopping.start()
        poll("it stops", stopping.has_begun)
    stopping.join(SECONDS)
    left = stopping.left
    stages = [hub.drop(drop.id).stage for drop in drops]
    assert left == stages.count(Stage.ARRIVED) > 0
    assert stages.count(Stage.LOADED) == 6 - left
    schedule.wake(drops[-1].id)  # comes too late, and is left, too
    hub.sweep()
    assert [hub.drop(drop.id).stage for drop in drops] == [Stage.LOADED] * 6
    assert len(hub.events("drop.loaded")) == 6


def test_locks_of_processes_that_are_gone_are_cleared_up_and_those_of_the_living_are_not(
    tmp_path: Path,
) -> None:
    mine = Owner(tmp_path)
    there = multiprocessing.get_context("spawn").Process(target=_own_and_die, args=(tmp_path,))
    there.start()
    there.join(SECONDS)
    (dead,) = {path.stem for path in tmp_path.glob("*.lock")} - {mine.name}
    assert not mine.is_alive(dead)
    (tmp_path / f"{dead}.lock").touch()
    mine.clear_up()
    assert [path.stem for path in tmp_path.glob("*.lock")] == [mine.name]
    other = Owner(tmp_path)
    mine.clear_up()
    assert other.is_alive(mine.name)
    mine.close()
    assert not other.is_alive(mine.name)
    other.forget(other.gone())
    other.close()
    assert list(tmp_path.iterdir()) == []


def _own_and_die(locks: Path) -> None:
    Owner(locks)
    os._exit(9)


def test_files_that_another_process_is_changing_are_not_taken_away(hub: Hub) -> None:
    hub.send(*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0))
    hub.sweep()
    hub.on(days=31)
    other = Owner(hub.home.locks)
    with claims.claimed(hub.stores.ledger, layout.claim_key("cnp"), owner=other, now=hub.now) as theirs:
        assert theirs
        assert retain.retain(stores=hub.stores, now=hub.now).expired == ()
    other.close()
    expired = retain.retain(stores=hub.stores, now=hub.now).expired
    assert {file.egs for file in expired} == {"bluebonnet", "champion", "keystone", "lonestar"}
    assert retain.retain(stores=hub.stores, now=hub.now + timedelta(days=1)).expired == ()


def test_the_place_of_the_one_that_serves_is_taken_once_and_names_who_has_it(tmp_path: Path) -> None:
    first = lock.take(Home(tmp_path))
    with pytest.raises(OperatorError, match=f"process {os.getpid()}"):
        lock.take(Home(tmp_path))
    first.close()
    lock.take(Home(tmp_path)).close()


def test_a_sweep_that_stops_with_an_error_is_told_and_the_next_one_comes_all_the_same(hub: Hub) -> None:
    inbound = hub.home.sftp_root / "cnp" / "inbound"
    inbound.parent.mkdir(parents=True)
    inbound.write_text("in the way")
    hub.schedule.start()  # begins with a sweep
    (failed, *_) = poll("it is told", hub.failures)
    assert (failed["event"], failed["task"]) == ("work.failed", "sweep:adopt/cnp")
    assert "FileExistsError" in failed["exception"]
    hub.close()  # when that sweep is over
    hub.failures()
    hub.open()
    inbound.unlink()
    file = NIGHT.bucket_of(CNP, 0)
    drop = hub.arrive("cnp", file.name, file.content)
    hub.close()
    hub.open()
    hub.schedule.start()
    poll("it is loaded", lambda: hub.drop(drop.id).stage is Stage.LOADED)
