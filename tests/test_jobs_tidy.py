"""Leftovers of processes that died go at the next sweep; nobody walks through years of folders for nothing."""

from datetime import date
from pathlib import Path

import pytest

from hub_fixtures import CNP, Hub
from jobs.clock import StandingClock
from jobs.schedule import Schedule
from jobs.steps import tidy
from jobs.stores.ledger import loads
from jobs.stores.ledger.claims import Owner
from schemas.drop import Stage
from schemas.sample import Night

NIGHT = Night(day=date(2013, 9, 1), edcs=(CNP,), accounts=200, bucket=100)


@pytest.fixture
def left(hub: Hub) -> list[Path]:
    """What a dead process may have left behind: a receipt in the making, a file of the archive in the making, and
    blocks in their place of a drop that was refused in the end. The night's sweep is over.
    """
    hub.send(*NIGHT.sync(CNP), NIGHT.bucket_of(CNP, 0))
    refused = hub.upload(CNP.id, NIGHT.bucket_of(CNP, 1).name, b"this is no LSE")
    assert refused.stage is Stage.REFUSED
    hub.sweep()
    with hub.stores.ledger.read() as tx:
        (usage,) = loads.paths(tx, kind="usage")
    stray = (hub.stores.lake.root / usage).with_name(f"{CNP.id}.{refused.id}.parquet")
    shard = next(hub.stores.archive.root.glob("??"))
    left = [
        hub.stores.mailboxes.folder(CNP.id, "receipts") / ".a.json.0badcafe.aside",
        shard / ".b.0badcafe.aside",
        stray,
    ]
    for path in left:
        path.write_bytes(b"half of it")
    return left


def test_what_a_process_that_died_left_behind_goes_at_the_next_sweep(hub: Hub, left: list[Path]) -> None:
    (hub.home.locks / "99999-dead.lock").touch()
    hub.sweep()
    assert [path for path in left if path.exists()] == []
    assert hub.stores.owner.gone() == []


def test_it_goes_although_a_hub_that_started_has_cleared_up_its_locks(hub: Hub, left: list[Path]) -> None:
    (hub.home.locks / "99999-dead.lock").touch()
    hub.stores.owner.clear_up()
    hub.restart()
    hub.sweep()
    assert [path for path in left if path.exists()] == []


def test_nobody_looks_for_leftovers_again_on_a_day_on_which_no_process_died(
    hub: Hub, left: list[Path]
) -> None:
    hub.on(minutes=15)
    assert tidy.tidy(stores=hub.stores, now=hub.now) == tidy.NothingDied()
    hub.sweep()
    assert [path for path in left if not path.exists()] == []
    hub.on(days=1)
    hub.sweep()
    assert [path for path in left if path.exists()] == []


def test_a_lake_file_that_the_ledger_knows_and_one_in_the_making_stay(hub: Hub, left: list[Path]) -> None:
    with hub.stores.ledger.read() as tx:
        known = [hub.stores.lake.root / path for path in loads.paths(tx, kind="usage")]
    waits = hub.arrive(CNP.id, NIGHT.bucket_of(CNP, 1).name, NIGHT.bucket_of(CNP, 1).content)
    begun = known[0].with_name(f"{CNP.id}.{waits.id}.parquet")
    begun.write_bytes(b"its load was cut off, and will be done again")
    (hub.home.locks / "99999-dead.lock").touch()
    assert tidy.tidy(stores=hub.stores, now=hub.now) != tidy.NothingDied()
    assert begun.exists()
    assert all(path.exists() for path in known)


def test_workers_that_end_in_order_have_not_died(hub: Hub) -> None:
    schedule = Schedule(hub.stores, StandingClock(hub.now))
    file = NIGHT.bucket_of(CNP, 0)
    schedule.wake(hub.arrive(CNP.id, file.name, file.content).id)
    assert schedule.stop(seconds=None) == 0
    assert hub.stores.owner.gone() == []
    assert [path.stem for path in hub.home.locks.iterdir()] == [hub.stores.owner.name]


def test_processes_that_were_ended_by_their_hub_may_have_left_something_too(tmp_path: Path) -> None:
    mine = Owner(tmp_path)
    (tmp_path / "99999-ended.lock").touch()
    mine.put_away([99999])
    gone = mine.gone()
    assert [path.name for path in gone] == ["99999-ended.gone"]
    mine.forget(gone)
    assert mine.gone() == []
    assert not mine.died("99999-ended")
    mine.close()
