"""Whatever is killed whenever: the work is taken up again, and comes to the same end.

Each test does a piece of work once in peace, then once for each moment at which its process can die, and
holds what the home has after the next sweeps to what it had in peace.
"""

import random
import signal
from collections.abc import Callable
from datetime import date, timedelta
from functools import partial as partial_of
from pathlib import Path
from typing import Any

import pytest

from config import partners
from config.home import Home
from hub_fixtures import CNP, LONG, PATIENCE, Hub
from interruption_fixtures import FORKS, act, deaths, holds
from jobs.proofs import home as proofs
from jobs.proofs.place import Place
from jobs.steps import arrive, collect
from jobs.stores import mishaps
from jobs.stores.ledger import HEAD, drops, failures
from jobs_fixtures import CHAMPION, KEYSTONE, Cut, Row, interval_name, local, lse, send, send_sync, sync_part
from schemas.drop import Drop, Stage

DAY = date(2013, 9, 2)
DAY_BEFORE = DAY - timedelta(days=1)
NAMES = {
    kind: f"957877905{word}20130903050000900.{ending}"
    for kind, word, ending in (
        ("partial", "IntervalData", "lse"),
        ("rejected", "IntervalData", "lse.gz"),
        ("duplicate", "IntervalData", "csv"),
        ("sync", "MeterDataSync", "csv"),
    )
}
ROSTER = {"A": CHAMPION.duns, "B": CHAMPION.duns, "C": KEYSTONE.duns, "D": KEYSTONE.duns}
NIGHT = [Cut(account=account, day=day) for day in (DAY_BEFORE, DAY) for account in ROSTER]
NEVER = 0  # of the moments at which it can die
FEW = ("lake", "drops", "receipts", "inbound")


def settled(hub: Hub) -> dict[str, Any]:
    """What the home holds after the sweeps of the next half hour."""
    for _ in range(3):
        hub.sweep()
        hub.on(minutes=15)
    return holds(hub)


def partial() -> bytes:
    """New blocks, a replacement, one unchanged, one affirmed, a bad one, a stranger."""
    cuts = [
        Cut(account="A", day=DAY, wh=7, stamp="20130903090000"),
        Cut(account="B", day=DAY),
        Cut(account="C", day=DAY_BEFORE, stamp="20130903090000"),
        Cut(account="S", day=DAY),
        Cut(account="A", day=DAY, channel="1"),
    ]
    return lse(cuts) + Cut(account="X", day=DAY).text(CNP, intervals=95).encode()


def upload_partial(hub: Hub) -> None:
    hub.upload(CNP.id, NAMES["partial"], partial())
    hub.sweep()


def upload_rejected(hub: Hub) -> None:
    hub.upload(CNP.id, NAMES["rejected"], b"no gzip")


def upload_duplicate(hub: Hub) -> None:
    hub.upload(CNP.id, NAMES["duplicate"], lse(NIGHT))


def test_an_upload_that_is_partly_good_is_loaded_and_published_once(hub: Hub, tmp_path: Path) -> None:
    send_sync(hub, ROSTER)
    send(hub, *NIGHT)
    hub.sweep()
    hub.on(minutes=15)
    _same_end(hub, upload_partial, NAMES["partial"], partial(), tmp_path)


@pytest.mark.parametrize(
    ("work", "content"), [(upload_rejected, b"no gzip"), (upload_duplicate, lse(NIGHT))],
    ids=["rejected", "duplicate"],
)  # fmt: skip
def test_an_upload_of_which_nothing_is_loaded_has_its_receipts_once(
    hub: Hub, tmp_path: Path, work: Callable[[Hub], None], content: bytes
) -> None:
    hub.upload(CNP.id, interval_name(hub), lse(NIGHT))
    name = NAMES["rejected"] if work is upload_rejected else NAMES["duplicate"]
    _same_end(hub, work, name, content, tmp_path)


def upload_and_rename(hub: Hub) -> None:
    hub.upload(CNP.id, "night.tmp", lse(NIGHT))
    rename(hub)


def rename(hub: Hub) -> None:
    drop = arrive.renamed(CNP.id, "night.tmp", NAMES["duplicate"], whole=True, stores=hub.stores, now=hub.now)
    hub.schedule.wake(drop.id)


@pytest.mark.parametrize("what", ["drop", "checksum"])
@pytest.mark.parametrize("moment", ["commit", "committed"])
def test_what_a_hub_discarded_with_a_note_when_it_died_is_known_to_the_next(
    hub: Hub, what: str, moment: str
) -> None:
    name = NAMES["partial"] if what == "drop" else f"{NAMES['partial']}.sha256"
    hub.stores.mailboxes.part(CNP.id, name).write_bytes(b"half")
    if what == "drop":
        arrive.broken(CNP.id, name, size=4, stores=hub.stores, now=hub.now)
    else:
        arrive.ended(CNP.id, name, stores=hub.stores, now=hub.now)
    hub.sweep()
    hub.on(hours=49)
    hub.close()
    work = partial_of(_killed_at, f"{moment}:{what}.discarded")
    child = FORKS.Process(target=act, args=(hub.home.root, hub.now, work, NEVER))
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL
    died = Hub(Home(hub.home.root), hub.now, fresh=False)
    died.restart()
    died.sweep()
    place = Place(
        home=died.home, settings=died.stores.settings, partners=partners.known(died.home), now=died.now
    )
    proof = proofs.verify(died.stores.ledger, place, version=HEAD)
    assert (proof.findings, proof.unfinished) == ((), ())
    assert len(died.laid(CNP.id, "receipts", ".discarded.json")) == 1
    assert len(died.events(f"{what}.discarded")) == 1
    assert list(died.stores.mailboxes.uploads(CNP.id)) == []
    died.close()


def _killed_at(moment: str, hub: Hub) -> None:
    mishaps.begin(f"{moment}=die@1")
    hub.sweep()


def test_a_rename_to_the_agreed_name_is_made_or_can_be_made_again(hub: Hub, tmp_path: Path) -> None:
    copies = deaths(hub, upload_and_rename, tmp_path / "copies")
    wanted = settled(next(copies))["lake"]
    for died in copies:
        for name, whole in list(died.stores.mailboxes.uploads(CNP.id)):
            if name == "night.tmp":  # its client does what it has not been told is done
                if not whole:
                    died.upload(CNP.id, name, lse(NIGHT))
                rename(died)
        held = settled(died)
        assert held["lake"] == wanted
        assert held["inbound"] == []
        assert [outcome for name, outcome in held["receipts"] if name == NAMES["duplicate"]] == [
            "accepted.json", "received.json",
        ]  # fmt: skip


def _same_end(hub: Hub, work: Callable[[Hub], None], name: str, content: bytes, tmp_path: Path) -> None:
    """Until the hub has said that it has the whole upload, it may be left broken off, and is sent again."""
    copies = deaths(hub, work, tmp_path / "copies")
    wanted = settled(next(copies))
    broken_off = 0
    for died in copies:
        (waiting,) = _drops(died, name) or [None]
        if waiting is None or waiting.stage is Stage.INCOMPLETE:
            broken_off += 1
            died.upload(CNP.id, name, content)
        assert settled(died) == wanted
    assert broken_off <= 3


def _drops(hub: Hub, name: str) -> list[Drop]:
    with hub.stores.ledger.read() as tx:
        return drops.listed(tx, name=name)


NEXT_ROSTER = {"A": CHAMPION.duns, "B": KEYSTONE.duns, "C": CHAMPION.duns, "S": KEYSTONE.duns}


def settle_a_sync(hub: Hub) -> None:
    with hub.stores.ledger.read() as tx:
        (arrived,) = drops.at_stage(tx, [Stage.ARRIVED])
    hub.schedule.wake(arrived.id)


def test_a_sync_withdraws_and_rewrites_once_and_tells_everybody(
    make_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    hub = make_hub("[sync]\nbrake = 1.0\n")
    send_sync(hub, ROSTER | {"N": ""})
    send(hub, *NIGHT, Cut(account="S", day=DAY), Cut(account="N", day=DAY))
    hub.sweep()
    _collected(hub, KEYSTONE.id)
    hub.on(hours=1)
    part = sync_part(NEXT_ROSTER | {"N": KEYSTONE.duns}, as_of=date(2013, 9, 3))
    hub.arrive(CNP.id, NAMES["sync"], part)
    copies = deaths(hub, settle_a_sync, tmp_path / "copies")
    wanted = settled(next(copies))
    assert wanted["syncs"][-1][1] == "in-force"
    assert [file[2] for file in wanted["outbound"]] == ["withdrawn", "withdrawn", "laid-out", "laid-out"]
    assert {"S", "N"} <= {block[0] for block in wanted["found"][KEYSTONE.id]}
    for died in copies:
        assert settled(died) == wanted


def _collected(hub: Hub, egs: str) -> None:
    for file in hub.files(egs):
        reading = collect.Reading(
            partner=egs, name=file.name, sent=file.bytes, whole=True, began=hub.now, ended=hub.now,
            session="s", address="127.0.0.1", key_fingerprint="SHA256:x",
        )  # fmt: skip
        collect.collect(reading, stores=hub.stores)


def sweep(hub: Hub) -> None:
    hub.sweep()


def test_a_sync_that_was_cut_off_while_it_took_files_away_is_not_overtaken_by_the_next(
    make_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    hub = make_hub("[sync]\nbrake = 1.0\n")
    send_sync(hub, {"A": CHAMPION.duns, "C": KEYSTONE.duns})
    send(hub, Cut(account="A", day=DAY), Cut(account="C", day=DAY))
    hub.sweep()
    hub.on(days=1)
    for died in deaths(hub, a_customer_leaves, tmp_path / "copies"):
        send_sync(died, {"A": CHAMPION.duns, "C": KEYSTONE.duns})  # and is back, before the sweep
        for _ in range(3):
            died.sweep()
            died.on(minutes=15)
        place = Place(
            home=died.home, settings=died.stores.settings, partners=partners.known(died.home), now=died.now
        )
        proof = proofs.verify(died.stores.ledger, place, version=HEAD)
        assert (proof.findings, proof.unfinished) == ((), ())


def a_customer_leaves(hub: Hub) -> None:
    send_sync(hub, {"A": KEYSTONE.duns, "C": KEYSTONE.duns})


def test_a_verdict_is_given_and_reported_once(hub: Hub, tmp_path: Path) -> None:
    send_sync(hub, [Row(account="A"), Row(account="B")])
    send(hub, Cut(account="A", day=DAY))
    hub.at(local(CNP, date(2013, 9, 3), 22, 59))
    hub.sweep()
    hub.at(local(CNP, date(2013, 9, 3), 23))
    copies = deaths(hub, sweep, tmp_path / "copies")
    wanted = settled(next(copies))
    assert wanted["verdicts"] == [(DAY, "missed", 2, 1, 0, 1)]
    assert wanted["reports"] == [
        "2013-09-02.deadline.json",
        "2013-09-02.missing.csv",
        "S130903-cnp-1.sync.json",
    ]
    for died in copies:
        assert settled(died) == wanted
        assert len(died.events("deadline.missed")) == 1


MANY = [f"K{k:02}" for k in range(30)]


def overlapping(number: int) -> list[Cut]:
    """The cuts of a drop that shares most of its accounts with the next ones; later ones have later stamps."""
    stamp = f"2013090301{number:02}00"
    return [
        Cut(account=account, day=DAY, wh=number + 1, stamp=stamp) for account in MANY[number : number + 20]
    ]


def test_several_processes_that_die_again_and_again_do_all_the_work_once(hub: Hub) -> None:
    send_sync(hub, dict.fromkeys(MANY, CHAMPION.duns))
    arrived = [hub.arrive(CNP.id, interval_name(hub), lse(overlapping(k))) for k in range(8)]
    hub.close()
    draw = random.Random(20130902)
    children: list[Any] = []
    for _ in range(200 if LONG else 12):
        if len(children) == 3:
            children.pop(0).join(PATIENCE)
        dies_at = draw.randint(2, 60)
        child = FORKS.Process(target=act, args=(hub.home.root, hub.now, sweep, dies_at))
        child.start()
        children.append(child)
    for child in children:
        child.join(PATIENCE)
    hub.open()
    for _ in range(3):
        hub.sweep()
        with hub.stores.ledger.write() as tx:
            for parked in failures.parked(tx):  # three processes have died of it, one after the other
                failures.retry(tx, parked, by="an operator", at=hub.now)
        hub.on(minutes=15)
    for drop in arrived:
        assert hub.drop(drop.id).stage is Stage.LOADED
        said = sorted(path.name for path in hub.laid(CNP.id, "receipts", ".json") if drop.id in path.name)
        assert said == [f"{drop.name}.{drop.id}.{word}.json" for word in ("accepted", "received")]
    held = holds(hub)
    assert held["inbound"] == []
    pushed = [cut.account for k in range(8) for cut in overlapping(k)]
    versions = [(row[2], row[4]) for row in held["lake"] if row[0] == "usage"]
    assert versions == [
        (account, k + 1) for account in sorted(set(pushed)) for k in range(pushed.count(account))
    ]
    assert len(hub.events("drop.loaded")) == 9
    assert [told[0] for told in held["manifests"][CHAMPION.id]] == list(
        range(1, len(hub.files(CHAMPION.id)) + 1)
    )
    last = {
        reading[0]: reading[4][0] for reading in sorted(held["found"][CHAMPION.id], key=lambda one: one[3])
    }
    assert last == {
        account: f"{max(k for k in range(8) if account in MANY[k : k + 20]) / 1000 + 0.001:g}"
        for account in set(pushed)
    }
