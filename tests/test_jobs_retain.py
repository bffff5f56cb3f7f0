"""What is kept for how long, and what is said when it goes."""

import json
from collections.abc import Callable
from datetime import date

from hub_fixtures import CNP, Hub
from jobs.steps import arrive
from jobs_fixtures import (
    CHAMPION,
    KEYSTONE,
    Cut,
    accounts_found,
    interval_name,
    lse,
    manifests_of,
    send,
    send_sync,
)
from schemas.drop import Outcome, Stage

DAY = date(2013, 9, 2)


def test_outbound_files_go_after_their_days_and_numbers_go_on(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[outbound]\nkeep_days = 3\n[sync]\nbrake = 1.0\nmax_age_days = 30\n")
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    hub.on(days=3)
    hub.sweep()
    assert accounts_found(hub, CHAMPION.id) == ["A"]
    hub.on(seconds=1)
    hub.sweep()
    assert list(hub.stores.mailboxes.folder(CHAMPION.id, "outbound").iterdir()) == []
    (file,) = hub.files(CHAMPION.id)
    assert (file.state, file.expired_at) == ("expired", hub.now)
    assert [event["about"] for event in hub.events("outbound.expired")] == [file.name]
    send(hub, Cut(account="A", day=DAY, wh=5, stamp="20130904000000"))
    hub.on(minutes=15)
    hub.sweep()
    (manifest,) = manifests_of(hub, CHAMPION.id)
    assert manifest["sequence"] == 2
    send_sync(hub, {"A": KEYSTONE.duns})  # withdraws the second, and nothing of the first
    assert [event["about"] for event in hub.events("outbound.withdrawn")] == [manifest["file"]]
    hub.on(days=4)
    hub.sweep()
    assert manifests_of(hub, CHAMPION.id) == []
    assert [file.state for file in hub.files(CHAMPION.id)] == ["expired", "withdrawn"]
    assert all(file.expired_at for file in hub.files(CHAMPION.id))
    count = len(hub.events("outbound.expired"))
    hub.sweep()
    assert [file.state for file in hub.files(KEYSTONE.id)] == ["expired"]  # what the second held, unfetched
    assert len(hub.events("outbound.expired")) == count == 3


def test_what_an_expired_file_held_stays_known(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[outbound]\nkeep_days = 1\n")
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    hub.on(days=2)
    hub.sweep()
    (file,) = hub.files(CHAMPION.id)
    assert (hub.home.state / file.contents).exists()


def test_a_broken_upload_is_discarded_with_a_note_when_nobody_resumed_it(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("[inbound]\nkeep_incomplete_hours = 2\n")
    name = interval_name(hub)
    part = hub.stores.mailboxes.part(CNP.id, name)
    part.write_bytes(b"0" * 99)
    drop = arrive.broken(CNP.id, name, size=99, stores=hub.stores, now=hub.now)
    hub.on(hours=1, minutes=59, seconds=59)
    hub.sweep()
    assert part.exists()
    hub.on(seconds=1)
    hub.sweep()
    assert not part.exists()
    assert hub.drop(drop.id).stage is Stage.DISCARDED
    note = hub.stores.mailboxes.folder(CNP.id, "receipts") / f"{name}.{drop.id}.discarded.json"
    assert json.loads(note.read_text()) == {
        "drop": drop.id,
        "file": name,
        "bytes": 99,
        "broke_off_at": "2013-09-03T10:00:00Z",
        "discarded_at": "2013-09-03T12:00:00Z",
        "why": "not resumed within 2 hours",
    }
    whole = hub.upload(CNP.id, name, lse([Cut(account="A", day=DAY)]))
    assert (whole.outcome, whole.id != drop.id) == (Outcome.ACCEPTED, True)


def test_a_broken_upload_that_goes_on_is_kept_from_when_it_last_broke_off(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub("[inbound]\nkeep_incomplete_hours = 2\n")
    name = interval_name(hub)
    part = hub.stores.mailboxes.part(CNP.id, name)
    for size in (10, 20, 30):
        part.write_bytes(b"0" * size)
        drop = arrive.broken(CNP.id, name, size=size, stores=hub.stores, now=hub.now)
        hub.on(hours=1, minutes=30)
        hub.sweep()
    assert (hub.drop(drop.id).stage, part.stat().st_size) == (Stage.INCOMPLETE, 30)
    assert hub.laid(CNP.id, "receipts", ".json") == []


def test_the_archive_keeps_everything(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    content = lse([Cut(account="A", day=DAY)])
    drop = hub.upload(CNP.id, interval_name(hub), content)
    hub.on(days=40)
    hub.sweep()
    assert hub.stores.archive.read(drop.sha256) == content
