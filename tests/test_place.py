"""A full disk, one that can only be read, a ledger that is away: nothing is half taken, all of it waits and goes on."""

import json
import os
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError

from cli_do_fixtures import BIN, SECONDS, Server, copy_home, ledger, poll
from exchange.cli.main import main
from hub_fixtures import CNP, Hub
from jobs.steps import arrive
from jobs.stores import place
from jobs_fixtures import Cut, interval_name, lse
from schemas.drop import Outcome, Stage
from schemas.sample import EDCS, Night

DAY = date(2013, 9, 2)
NOW = "2013-09-03T10:00:00Z"
NIGHT = Night(day=DAY, edcs=EDCS[:1], accounts=200)
FULL = "the hub's disk is full; try again later, and tell its operator"


def test_with_less_than_what_must_be_free_loads_wait_and_go_on_when_there_is_more(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub(f"[storage]\nmin_free_bytes = {1 << 50}\n")
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    for _ in range(4):
        (trouble,) = hub.schedule.sweep(to_the_end=True)
        assert trouble.code == "disk-full"
        hub.schedule.wake(drop.id)
        assert hub.drop(drop.id).stage is Stage.ARRIVED
    assert place.room_left(hub.stores) < 0
    hub.home.settings_file.write_text("")
    hub.restart()
    assert place.look_closely(hub.stores) == ()
    hub.sweep()
    assert hub.drop(drop.id).outcome is Outcome.ACCEPTED


def test_what_fails_on_a_full_disk_is_no_failure_of_the_drop(hub: Hub) -> None:
    assert place.is_at_fault(OSError(28, "No space left on device"), hub.stores)
    assert place.is_at_fault(OSError(30, "Read-only file system"), hub.stores)
    assert not place.is_at_fault(OSError(5, "Input/output error"), hub.stores)  # for all can be written
    assert not place.is_at_fault(ValueError("?"), hub.stores)
    hub.home.archive.rename(hub.home.archive.with_name("away"))
    assert place.is_at_fault(OSError(5, "Input/output error"), hub.stores)
    hub.home.archive.with_name("away").rename(hub.home.archive)


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template") / "hub"
    assert main(["--home", str(home), "init", "--sample"]) == 0
    return home


@pytest.fixture
def small(tmp_path: Path, template: Path) -> Iterator[Path]:
    """The home of a hub with sample partners, on a disk of 64 MiB of which 16 must be free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64m", "meterhub", str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("only who may mount a disk can fill one")
    home = copy_home(template, disk / "hub")
    with (home / "config" / "meterhub.toml").open("a") as settings:
        settings.write(f"[storage]\nmin_free_bytes = {16 << 20}\n")
    yield home
    subprocess.run(["umount", "--lazy", disk], check=True)


def status(home: Path, command: str = "status") -> tuple[int, dict[str, object]]:
    asked = [BIN, "--home", home, command, "--json"]
    done = subprocess.run(
        asked,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
        env={**os.environ, "METERHUB_NOW": NOW},
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return done.returncode, answer


def codes(answer: dict[str, object]) -> set[str]:
    return {need["code"] for need in answer["needs"]}  # type: ignore[attr-defined, index]


def test_a_disk_that_fills_refuses_uploads_in_words_and_takes_them_again_when_there_is_room(
    small: Path,
) -> None:
    server = Server(small, NOW).start()
    bucket = NIGHT.bucket_of(EDCS[0], 0)
    balloon = small / "state" / "balloon"
    try:
        with server.sftp("cnp") as sftp:
            remote = sftp.open(f"inbound/{bucket.name}", "wb")
            remote.write(bucket.content[:1024])
            balloon.write_bytes(bytes(50 << 20))

            def refused() -> str:  # the room is counted once a second
                piece = bucket.content[remote.tell() : remote.tell() + 1024]
                assert piece, "the whole upload was taken"
                try:
                    remote.write(piece)
                except OSError as error:
                    return str(error)
                return ""

            assert FULL in poll("the full disk is noticed", refused)
            with pytest.raises(OSError, match=FULL):
                sftp.open("inbound/another.lse", "wb")
            assert sftp.listdir("inbound") == [bucket.name]
            sftp.get_channel().get_transport().close()  # type: ignore[union-attr]
        broken = 'select bytes from "drop" where stage = ?'
        poll("the upload is known to be broken off", lambda: ledger(small, broken, "incomplete"))
        code, answer = status(small)
        assert code == 3
        assert "disk-full" in codes(answer)
        balloon.unlink()
        with server.sftp("cnp") as sftp:
            there = sftp.stat(f"inbound/{bucket.name}").st_size
            assert there is not None
            with sftp.open(f"inbound/{bucket.name}", "ab") as again:
                again.write(bucket.content[there:])
        assert server.receipt("cnp", bucket.name)["outcome"] == "accepted"
        assert server.stop()[0] == 0
    finally:
        server.end()


def test_a_disk_that_can_only_be_read_is_told_by_every_command(small: Path) -> None:
    assert status(small)[0] in {0, 3}
    subprocess.run(["mount", "-o", "remount,ro", small.parent], check=True)
    code, answer = status(small)
    assert code == 3
    assert answer["error"]["code"] in {"disk-unwritable", "ledger-unreachable"}  # type: ignore[index]
    subprocess.run(["mount", "-o", "remount,rw", small.parent], check=True)
    assert "error" not in status(small)[1]


def test_a_hub_that_cannot_open_its_ledger_ends_and_says_that_it_is_to_be_started_again(
    tmp_path: Path,
) -> None:
    home = tmp_path / "hub"
    subprocess.run([BIN, "--home", home, "init"], check=True, capture_output=True)
    (home / "state" / "ledger.sqlite").mkdir(parents=True)
    code, answer = status(home, "serve")
    assert (code, answer["error"]["code"]) == (3, "ledger-unreachable")  # type: ignore[index]
    assert "start it again" in str(answer["error"]["hint"])  # type: ignore[index]


def test_while_the_ledger_is_away_uploads_are_refused_and_commands_say_so(hub: Hub, tmp_path: Path) -> None:
    hub.close()
    file = hub.home.ledger_file
    for path in file.parent.glob(f"{file.name}-*"):
        path.unlink()
    file.rename(tmp_path / "away")
    file.mkdir()
    code, answer = status(hub.home.root)
    assert code == 3
    assert answer["error"]["code"] == "ledger-unreachable"  # type: ignore[index]
    file.rmdir()
    (tmp_path / "away").rename(file)
    hub.open()


def test_an_end_of_an_upload_whose_transaction_fails_leaves_the_file_as_it_was(hub: Hub) -> None:
    """Its sender was told that it failed: it must not find its file taken in."""
    name, content = interval_name(hub), lse([Cut(account="A", day=DAY)])
    part, whole = hub.stores.mailboxes.part(CNP.id, name), hub.stores.mailboxes.whole(CNP.id, name)
    part.write_bytes(content)
    with hub.stores.ledger.write() as tx:  # what is checked when a transaction commits, and never holds
        tx.exec_driver_sql("create table nobody (id integer primary key)")
        tx.exec_driver_sql(
            "create table late (id integer references nobody (id) deferrable initially deferred)"
        )
        tx.exec_driver_sql(
            "create trigger fails after insert on [drop] begin insert into late values (1); end"
        )
    with pytest.raises(IntegrityError):
        arrive.ended(CNP.id, name, stores=hub.stores, now=hub.now)
    assert (part.exists(), whole.exists()) == (True, False)
    with hub.stores.ledger.write() as tx:
        tx.exec_driver_sql("drop trigger fails")
    arrive.ended(CNP.id, name, stores=hub.stores, now=hub.now)
    assert (part.exists(), whole.exists()) == (False, True)
