"""The power is cut at every point of writing, one after the other, and what was promised is kept.

Each round is the same work with accounts of its own: a bucket comes, is loaded and published, the day before is
judged, and a sync takes one account from the EGS that has it. In round n a process dies at the n-th point of
that, and all that it had not made durable is undone. Then the hub goes on, as at a start.
"""

import os
import signal
from collections import Counter
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path

from config.home import Home
from exchange.torture import tormentor
from hub_fixtures import CNP, LONG, PATIENCE, Hub, morning
from interruption_fixtures import FORKS
from jobs import pipeline
from jobs.stores import mishaps
from jobs.stores.ledger import drops
from jobs_fixtures import CHAMPION, KEYSTONE, Cut, found, lse, manifests_of, sync_part
from schemas.drop import Outcome, Stage

TODAY = date(2013, 9, 3)
SUPPLIED_FROM = date(2013, 1, 15)  # as jobs_fixtures.Row has it


# Where a round writes, whatever else it does.
POINTS = {
    "fsync:inbound", "rename:inbound", "commit:drop.arrived", "committed:drop.arrived", "write:archive",
    "fsync:archive", "rename:archive", "commit:drop.received", "committed:drop.received", "write:receipts",
    "fsync:receipts", "rename:receipts", "remove:inbound", "commit:drop.accepted", "write:lake", "fsync:lake",
    "rename:lake", "commit:drop.loaded", "committed:drop.loaded", "write:staging", "fsync:staging",
    "commit:outbound.recorded", "committed:outbound.recorded", "rename:contents", "write:outbound",
    "fsync:outbound", "rename:outbound", "commit:publication.laid_out", "committed:sync.completed",
    "commit:sync.assembled", "remove:outbound", "commit:sync.enforced", "committed:sync.enforced",
}  # fmt: skip


def day_of(number: int) -> date:
    """Each round's readings are of a day of their own, long past."""
    return TODAY - timedelta(days=100 + number)


def bucket_name(number: int) -> str:
    return f"957877905IntervalData20130903050000{number:03}.lse"


def sync_name(number: int) -> str:
    return f"957877905MeterDataSync20130903060000{number:03}.csv"


def bucket(number: int) -> bytes:
    return lse(Cut(account=f"{kind}{number:04}", day=day_of(number)) for kind in "ABC")


def roster(number: int) -> bytes:
    """Of each round, A and C stay with their EGS; B goes to C's when the round is over, before it was fetched."""
    egs = {f"A{n:04}": CHAMPION.duns for n in range(number + 2)}
    egs |= {f"B{n:04}": CHAMPION.duns if n > number else KEYSTONE.duns for n in range(number + 2)}
    egs |= {f"C{n:04}": KEYSTONE.duns for n in range(number + 2)}
    return sync_part(egs, as_of=TODAY)


def upload(hub: Hub, name: str, content: bytes) -> None:
    """A sender that has not been told that its file is there sends it again."""
    with hub.stores.ledger.read() as tx:
        known = [drop.stage for drop in drops.listed(tx, name=name)]
    if not set(known) - {Stage.INCOMPLETE, Stage.DISCARDED}:
        hub.upload(CNP.id, name, content)


def work(hub: Hub, number: int) -> None:
    """What is done in a round."""
    upload(hub, bucket_name(number), bucket(number))
    hub.on(minutes=15)
    hub.sweep()
    upload(hub, sync_name(number), roster(number))


def struck(root: Path, now: datetime, number: int, planned: str) -> None:
    """Do the work of a round with a mishap before one; in a process of its own."""
    mishaps.begin(planned)
    hub = Hub(Home(root), now, fresh=False)
    work(hub, number)
    assert not hub.failures()
    os._exit(0)


def test_the_power_is_cut_at_every_point_of_writing_and_each_drop_is_loaded_and_published_once(
    make_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    told = tmp_path / "told"
    hub = make_hub("[sync]\nbrake = 1.0\n", now=morning(TODAY - timedelta(days=1), hour=6))
    hub.upload(CNP.id, sync_name(0), roster(0))
    number, at, whole = 0, 1, False
    while not whole:
        number += 1
        whole = not _cut(hub, number, f"told={told} *=cut@{at}")
        at += 1 if LONG else 23
    _all_is_there(hub, number)
    assert _struck(told).total() == number - 1
    if LONG:  # files appear side by side, so that the n-th point is not in each round the same
        for name in sorted(POINTS - _struck(told).keys()):
            number += 1
            assert _cut(hub, number, f"told={told} {name}=cut@1"), name
        assert _struck(told).keys() >= POINTS
        _all_is_there(hub, number)


def test_every_point_at_which_a_hub_is_killed_by_name_is_passed_on_the_way_of_a_night(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("[sync]\nbrake = 1.0\n", now=morning(TODAY - timedelta(days=1), hour=6))
    hub.upload(CNP.id, sync_name(0), roster(0))
    mishaps.begin("nowhere=EIO@0")
    try:
        work(hub, 1)
        hub.on(minutes=15)
        hub.sweep()
        passed = mishaps.passed()
    finally:
        mishaps.begin("")
    assert passed >= POINTS | set(tormentor.POINTS)


def _cut(hub: Hub, number: int, planned: str) -> bool:
    """A round with a power cut in it, and then the hub goes on; whether there was one."""
    child = FORKS.Process(target=struck, args=(hub.home.root, hub.now, number, planned))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode in {0, -signal.SIGKILL}
    pipeline.take_up(stores=hub.stores, now=hub.now)
    work(hub, number)
    hub.on(minutes=15)
    hub.sweep()
    return child.exitcode != 0


def _struck(told: Path) -> Counter[str]:
    """The points at which the power was cut."""
    return Counter(line.split()[1] for line in told.read_text().splitlines())


def _all_is_there(hub: Hub, rounds: int) -> None:
    loaded = Counter(event["about"] for event in hub.events("drop.loaded"))
    assert set(loaded.values()) == {1}
    with hub.stores.ledger.read() as tx:
        for number in range(1, rounds + 1):
            for name in (bucket_name(number), sync_name(number)):
                sent = [drop for drop in drops.listed(tx, name=name) if drop.stage is not Stage.DISCARDED]
                assert [drop.outcome for drop in sent] == [Outcome.ACCEPTED], name
                said = [
                    path.name for path in hub.laid(CNP.id, "receipts", ".json") if sent[0].id in path.name
                ]
                assert sorted(said) == [
                    f"{name}.{sent[0].id}.{word}.json" for word in ("accepted", "received")
                ]
    for egs, kinds in ((CHAMPION, "A"), (KEYSTONE, "BC")):
        given = Counter((reading[0], reading[2]) for reading in found(hub, egs.id))
        # B was not fetched when it went over; its new EGS is given it of days on which it was its supplier already.
        wanted = {
            (f"{kind}{n:04}", f"{day_of(n):%Y%m%d}"): 1
            for kind in kinds
            for n in range(1, rounds + 1)
            if kind != "B" or day_of(n) >= SUPPLIED_FROM
        }
        assert given == wanted
        numbers = [manifest["sequence"] for manifest in manifests_of(hub, egs.id)]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
    for edc in hub.stores.partners.current().edcs:
        assert list(hub.stores.mailboxes.folder(edc.id, "inbound").iterdir()) == []
    assert not list(hub.home.root.rglob("*.aside"))
    assert hub.failures() == []
