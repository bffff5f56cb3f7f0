"""The doors with the real hub behind them: what a client does, and what the ledger says of it."""

import resource
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from doors_fixtures import AGREED, Door, Raw, open_door, string, until
from exchange.app import Counter, let_many_files_be_open
from exchange.desk import SessionInfo
from exchange.keys import Proof
from hub_fixtures import Hub
from jobs.steps import arrive
from schemas import tables
from schemas.drop import Drop, Stage

WRITE, CREAT, TRUNC, CLOSE, REMOVE, RENAME, FAILURE = 2, 8, 16, 4, 13, 18, 4


@pytest.fixture
def door(hub: Hub, tmp_path: Path) -> Iterator[Door]:
    """Partners log in at the door; what they do becomes drops of the hub, which is not swept."""
    desk = Counter(hub.stores, lambda: hub.now, lambda _: None)
    with open_door(tmp_path, hub=desk, partners=hub.home.partners) as door:
        yield door


def drops(hub: Hub) -> list[Drop]:
    with hub.stores.ledger.read() as tx:
        ids = tx.scalars(select(tables.drop.c.id).order_by(tables.drop.c.id)).all()
    return [hub.drop(one) for one in ids]


def put(raw: Raw, name: str, content: bytes, flags: int = WRITE | CREAT | TRUNC) -> None:
    handle = raw.open(f"inbound/{name}", flags)
    assert raw.write(handle, 0, content)[0] == 0
    assert raw.status(CLOSE, handle)[0] == 0


def test_a_file_sent_under_a_temporary_name_sent_again_and_renamed_is_one_drop(door: Door, hub: Hub) -> None:
    with door.raw("cnp") as raw:
        put(raw, "a.tmp", b"first")
        assert [drop.stage for drop in drops(hub)] == [Stage.MISNAMED]
        handle = raw.open("inbound/a.tmp", WRITE)
        assert [drop.stage for drop in drops(hub)] == [Stage.INCOMPLETE]
        assert raw.write(handle, 0, b"second")[0] == 0
        assert raw.status(CLOSE, handle)[0] == 0
        assert [(drop.stage, drop.bytes) for drop in drops(hub)] == [(Stage.MISNAMED, 6)]
        assert raw.status(RENAME, string("inbound/a.tmp") + string(f"inbound/{AGREED}"))[0] == 0
    assert [(drop.stage, drop.name) for drop in drops(hub)] == [(Stage.ARRIVED, AGREED)]
    assert hub.stores.mailboxes.whole("cnp", AGREED).read_bytes() == b"second"


def test_a_file_whose_rename_came_too_late_can_no_longer_be_changed(door: Door, hub: Hub) -> None:
    with door.raw("cnp") as raw:
        put(raw, "a.tmp", b"first")
        hub.on(minutes=10)
        arrive.wait_no_longer(stores=hub.stores, now=hub.now)
        for code, words in (
            raw.opens("inbound/a.tmp", WRITE | CREAT | TRUNC),
            raw.status(RENAME, string("inbound/a.tmp") + string(f"inbound/{AGREED}")),
            raw.status(REMOVE, string("inbound/a.tmp")),
        ):
            assert (code, words) == (FAILURE, "a.tmp is still being taken in; wait for its receipt")
        assert hub.stores.mailboxes.whole("cnp", "a.tmp").read_bytes() == b"first"
        assert [drop.stage for drop in drops(hub)] == [Stage.ARRIVED]


def test_an_upload_that_is_being_resumed_is_not_discarded_as_old(door: Door, hub: Hub) -> None:
    with door.raw("cnp") as raw:
        assert raw.write(raw.open(f"inbound/{AGREED}", WRITE | CREAT), 0, b"first ")[0] == 0
    until(lambda: [drop.stage for drop in drops(hub)] == [Stage.INCOMPLETE])
    hub.on(hours=47)
    with door.raw("cnp") as raw:
        handle = raw.open(f"inbound/{AGREED}", WRITE)
        hub.on(hours=2)
        assert arrive.discard_broken(stores=hub.stores, now=hub.now) == []
        assert raw.write(handle, 6, b"second")[0] == 0
        assert raw.status(CLOSE, handle)[0] == 0
    assert hub.stores.mailboxes.whole("cnp", AGREED).read_bytes() == b"first second"
    assert [drop.stage for drop in drops(hub)] == [Stage.ARRIVED]


def test_an_upload_removed_by_its_sender_is_gone_and_said_to_be(door: Door, hub: Hub) -> None:
    with door.raw("cnp") as raw:
        put(raw, "a.tmp", b"first")
        assert raw.status(REMOVE, string("inbound/a.tmp"))[0] == 0
    assert [drop.stage for drop in drops(hub)] == [Stage.DISCARDED]
    assert list(hub.stores.mailboxes.uploads("cnp")) == []


def test_a_checksum_sent_first_is_no_drop_and_can_be_sent_again_until_its_file_comes(
    door: Door, hub: Hub
) -> None:
    whole = hub.stores.mailboxes.whole("cnp", f"{AGREED}.sha256")
    with door.raw("cnp") as raw:
        put(raw, f"{AGREED}.sha256", b"a" * 64)
        put(raw, "again.tmp", b"b" * 64)
        over = (
            string("posix-rename@openssh.com")
            + string("inbound/again.tmp")
            + string(f"inbound/{AGREED}.sha256")
        )
        assert raw.status(200, over)[0] == 0
        assert whole.read_bytes() == b"b" * 64
        assert [drop.stage for drop in drops(hub)] == [Stage.DISCARDED]  # again.tmp, which is no drop now
        put(raw, AGREED, b"no gzip")
        (drop,) = [drop for drop in drops(hub) if drop.name == AGREED]
        hub.schedule.wake(drop.id)
    assert hub.receipt(hub.drop(drop.id))["faults"][0]["code"] == "checksum"


def test_a_hub_is_given_as_many_open_files_as_its_system_allows() -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(1024, before[1]), before[1]))
        let_many_files_be_open()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(65_536, before[1]), before[1])
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_an_upload_that_ended_in_time_is_in_time_however_long_the_disk_takes(hub: Hub) -> None:
    desk = Counter(hub.stores, lambda: hub.now, lambda _: None)
    hub.stores.mailboxes.part("cnp", AGREED).write_bytes(b"whole")
    began = hub.now
    proof = Proof(fingerprint="")
    session = SessionInfo(
        id="X1", partner_id="cnp", address="127.0.0.1", client_version="SSH-2.0-x", proof=proof, began=began
    )
    at = desk.upload_whole("cnp", "inbound", AGREED)
    hub.on(minutes=5)
    desk.upload_ended("cnp", "inbound", AGREED, at=at, session=session)
    assert [drop.arrived_at for drop in drops(hub)] == [began]
