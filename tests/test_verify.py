"""`meterhub verify`: a ledger at odds with itself, files at odds with it, somebody else's accounts, and a hub at work."""

import contextlib
import hashlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncssh
import pytest

from config import partners
from config.home import Home
from hub_fixtures import CNP, Hub
from interruption_fixtures import deaths
from jobs.proofs import home as proofs
from jobs.proofs.home import Proof
from jobs.proofs.place import Place
from jobs.steps import arrive
from jobs.stores.lake import usage_path
from jobs.stores.ledger import HEAD
from jobs_fixtures import BLUEBONNET, CHAMPION, Cut, interval_name, lse, send, send_sync
from look_fixtures import DAY, Desk, a_night
from schemas.drop import Stage


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """A home after a night that had a bit of everything, at rest."""
    hub = a_night(Home(tmp_path_factory.mktemp("verify") / "hub")).hub
    hub.sweep()
    hub.close()
    return hub


@pytest.fixture
def desk(home: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """The home, whose ledger is afterwards what it was."""
    before = home.home.ledger_file.read_bytes()
    yield Desk(home, capsys, monkeypatch)
    home.home.ledger_file.write_bytes(before)


def _proof(hub: Hub) -> Proof:
    place = Place(home=hub.home, settings=hub.stores.settings, partners=partners.known(hub.home), now=hub.now)
    return proofs.verify(hub.stores.ledger, place, version=HEAD)


def _wrong(desk: Desk) -> list[tuple[str, str]]:
    said = desk.ask("verify", "--json").json
    return [(one["check"], one["where"]) for one in (*said["findings"], *said["unfinished"])]


FIRST = "957877905IntervalData20130903050000001.lse.gz"


@pytest.mark.parametrize(
    ("change", "check", "where"),
    [
        ("update \"drop\" set stage = 'refused', outcome = 'rejected' where id like '%-00002'", "drops", "D130903-00002"),
        ("update \"drop\" set sha256 = hex(zeroblob(32)) where id like '%-00002'", "drops", "D130903-00002"),
        ("update \"drop\" set name = 'x' where id like '%-00002'", "drops", "D130903-00002"),
        ("update \"drop\" set blocks_loaded = 7 where id like '%-00002'", "drops", "D130903-00002"),
        ("update \"drop\" set blocks_rejected = 7 where id like '%-00002'", "sums", "sftp_root/cnp/receipts/"),
        ("update \"drop\" set outcome = 'partial' where id like '%-00002'", "drops", "D130903-00002"),
        ("update lake_file set sha256 = hex(zeroblob(32)) where id = 1", "lake", "lake: usage/"),
        ("update lake_file set account_high = '1005' where id = 1", "lake", "state/lake/usage/"),
        ("update lake_file set version_high = 2 where id = 1", "lake", "state/lake/usage/"),
        ("update lake_file set rows = rows + 1 where id = 1", "lake", "state/lake/usage/"),
        ("update sync set state = 'superseded' where state = 'in-force'", "syncs", "S130904-cnp-1"),
        ("update outbound_file set sequence = 9 where egs = 'champion' and sequence = 1", "sequence", "champion"),
        ("update outbound_file set sha256 = hex(zeroblob(32)) where egs = 'champion' and sequence = 2", "sequence", "champion: "),
        ("update outbound_file set intervals = 5 where egs = 'bluebonnet' and sequence = 1", "outbound", "sftp_root/bluebonnet/"),
        ("update outbound_file set state = 'withdrawn' where egs = 'bluebonnet' and sequence = 1", "owners", "sftp_root/bluebonnet/"),
        ("update publication set blocks = blocks + 1 where id like '%-00001'", "sums", "P130903-00001"),
        ("delete from load where seq = 1", "ledger", "state/ledger.sqlite"),
    ],
)  # fmt: skip
def test_a_row_that_was_changed_by_hand_is_named(desk: Desk, change: str, check: str, where: str) -> None:
    with contextlib.closing(sqlite3.connect(desk.hub.home.ledger_file)) as ledger:
        assert ledger.execute(change).rowcount > 0
        ledger.commit()
    assert any(kind == check and place.startswith(where) for kind, place in _wrong(desk))


@pytest.mark.parametrize(
    "name",
    [
        "sftp_root/champion/outbound/957877905IntervalData20130903050000999.lse.gz",
        "sftp_root/champion/outbound/sub/957877905IntervalData20130903050000999.lse.gz",
        "sftp_root/champion/history/of_somebody_else.csv",
        "sftp_root/champion/requests/a.csv",
        "sftp_root/nobody/outbound/a.lse.gz",
        "sftp_root/cnp/a.csv",
        "sftp_root/cnp/receipts/a.json",
        "sftp_root/cnp/reports/2013-09-01.deadline.json",
        f"state/archive/aa/{'a' * 64}",
        "state/lake/usage/usage_date=2013-09-02/cnp.D130903-00099.parquet",
        "state/lake/syncs/S130905-cnp-1.parquet",
        "state/contents/P130903-00001/x.arrow",
        "config/partners/stranger.toml",
    ],
)
def test_a_file_that_was_put_in_by_hand_is_named(desk: Desk, name: str) -> None:
    path = desk.hub.home.root / name
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text("id = 1\n")
    found = _wrong(desk)
    path.unlink()
    assert [where for _, where in found] == [name]


def test_an_account_of_somebody_elses_is_named_by_a_reading_of_its_own(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[sync]\nbrake = 1.0\n")
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns, "C": BLUEBONNET.duns})
    send(hub, *(Cut(account=name, day=DAY) for name in "ABC"))
    hub.sweep()
    assert _proof(hub).findings == ()
    # As if the hub had mixed the two up all along: each is given the other's name in the market.
    texts = {egs.id: (hub.home.partners / f"{egs.id}.toml").read_text() for egs in (CHAMPION, BLUEBONNET)}
    for egs, other in ((CHAMPION, BLUEBONNET), (BLUEBONNET, CHAMPION)):
        hub.add_partner(texts[egs.id].replace(egs.duns, other.duns), egs.id)
    hub.schedule.sweep(to_the_end=True)
    wrong = [one for one in _proof(hub).findings if one.check.name == "OWNERS"]
    assert {one.where.split("/")[1] for one in wrong if one.where.startswith("sftp_root")} == {
        "champion",
        "bluebonnet",
    }
    assert any("A, B" in one.what and "S130903-cnp-1, in force" in one.what for one in wrong)


def test_while_a_hub_works_nothing_is_called_wrong(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[sync]\nbrake = 1.0\n")
    names = [f"A{k}" for k in range(30)]
    hub.sweep()
    over = threading.Event()

    def work() -> None:
        try:
            for night in range(3):
                mine = {name: (CHAMPION, BLUEBONNET)[(k + night) % 2].duns for k, name in enumerate(names)}
                send_sync(hub, mine)
                send(
                    hub,
                    *(
                        Cut(account=name, day=DAY, wh=night + 1, stamp=f"2013090{night + 3}120000")
                        for name in names
                    ),
                )
                hub.upload(CNP.id, interval_name(hub), b"nothing of the kind\n")
                hub.sweep()
                hub.on(days=1)
        finally:
            over.set()

    worker = threading.Thread(target=work)
    worker.start()
    looks = 0
    while not over.is_set() or not looks:
        proof = _proof(hub)
        assert proof.findings == ()
        looks += 1
    worker.join()
    proof = _proof(hub)
    assert (proof.findings, proof.unfinished) == ((), ())


def test_what_a_crash_left_is_not_called_wrong_and_is_whole_when_it_was_taken_up(
    make_hub: Callable[..., Hub], tmp_path: Path
) -> None:
    hub = make_hub("[sync]\nbrake = 1.0\n")
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    hub.sweep()
    hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY), Cut(account="B", day=DAY)]))
    for died in deaths(hub, Hub.sweep, tmp_path / "died"):
        assert _proof(died).findings == ()
        died.sweep()
        proof = _proof(died)
        assert (proof.findings, proof.unfinished) == ((), ())


def test_what_has_lain_for_long_enough_and_went_is_not_missed(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub("[outbound]\nkeep_days = 2\n")
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    hub.stores.mailboxes.part(CNP.id, "broken.lse").write_bytes(b"half")
    arrive.broken(CNP.id, "broken.lse", size=4, stores=hub.stores, now=hub.now)
    hub.sweep()
    (file,) = hub.files(CHAMPION.id)
    path = hub.stores.mailboxes.folder(CHAMPION.id, "outbound") / file.name
    before = path.read_bytes()
    hub.on(days=3)
    hub.sweep()
    assert not path.exists()
    proof = _proof(hub)
    assert (proof.findings, proof.unfinished) == ((), ())
    path.write_bytes(before)  # who puts it back shows what is nobody's business any more
    assert [one.what for one in _proof(hub).findings] == ["it is expired, and lies there still"]


def test_bytes_of_a_drop_that_was_cut_off_while_it_was_received_are_told_from_a_strangers(hub: Hub) -> None:
    hub.sweep()
    content = lse([Cut(account="A", day=DAY)])
    drop = hub.arrive(CNP.id, interval_name(hub), content)
    for came in (content, b"somebody else's"):
        hub.stores.archive.keep(came, sha256=hashlib.sha256(came).hexdigest(), packed=None)
    proof = _proof(hub)
    (cut_off,), (strange,) = proof.unfinished, proof.findings
    assert f"{drop.id} brings these bytes" in cut_off.what
    assert "find out who put it there" in strange.do
    hub.sweep()
    proof = _proof(hub)
    assert (proof.findings, proof.unfinished) == ((strange,), ())


def test_a_lake_file_of_an_attempt_that_was_cut_off_is_removed_when_the_drop_is_loaded(hub: Hub) -> None:
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    left = hub.stores.lake.root / usage_path(edc=CNP.id, day=DAY, drop_id=drop.id, kind="affirmed")
    left.parent.mkdir(parents=True)
    left.write_bytes(b"PAR1")
    hub.sweep()
    assert hub.drop(drop.id).stage is Stage.LOADED
    proof = _proof(hub)
    assert (left.exists(), proof.findings, proof.unfinished) == (False, (), ())


def test_a_partners_file_that_a_command_changed_is_noted_before_the_next_sweep(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.sweep()
    desk = Desk(hub, capsys, monkeypatch)
    key = asyncssh.generate_private_key("ssh-ed25519").export_public_key("openssh").decode()
    assert desk.ask("partner", "key", "add", "cnp", key).code == 0
    assert desk.ask("partner", "disable", "champion").code == 0
    assert desk.ask("verify", "--json").json["findings"] == []
    file = hub.home.partners / "cnp.toml"
    file.write_text(file.read_text() + "# by hand\n")
    said = desk.ask("verify", "--json")
    assert [one["where"] for one in said.json["findings"]] == ["config/partners/cnp.toml"]


def test_a_ledger_that_is_gone_is_named_and_none_is_made(desk: Desk) -> None:
    ledger = desk.hub.home.ledger_file
    ledger.unlink()
    said = desk.ask("verify", "--json")
    assert said.code == 1
    assert [one["where"] for one in said.json["findings"]] == ["state/ledger.sqlite"]
    assert not ledger.exists()


def test_a_home_that_is_looked_at_is_left_as_it_is(desk: Desk) -> None:
    root = desk.hub.home.root

    def content() -> dict[str, bytes]:
        files = (
            path for path in root.rglob("*") if path.is_file() and not path.name.endswith(("-shm", "-wal"))
        )
        return {str(path): path.read_bytes() for path in files}

    before = content()
    assert desk.ask("verify").code == 0
    assert content() == before


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda packed: packed[:-9], "it is cut off"),
        (lambda packed: packed[:10] + b"\xff" * 20, "it cannot be unpacked: its packed bytes were changed"),
        (lambda packed: b"PK" + packed[2:], "it cannot be unpacked: its beginning is not that of a gzip file"),
        (lambda packed: packed[:-8] + bytes(8), "it cannot be unpacked: what it unpacks to is not what its own trailer says"),
    ],
)  # fmt: skip
def test_what_cannot_be_unpacked_is_told_in_plain_words(
    desk: Desk, damage: Callable[[bytes], bytes], words: str
) -> None:
    path = min(desk.hub.home.archive.glob("??/*.gz"))
    before, mode = path.read_bytes(), path.stat().st_mode
    path.chmod(0o600)
    path.write_bytes(damage(before))
    (found,) = desk.ask("verify", "--json").json["findings"]
    path.write_bytes(before)
    path.chmod(mode)
    assert found["what"].startswith(words)
    assert "Error" not in found["what"]


def test_people_read_what_is_wrong_and_what_to_do(desk: Desk) -> None:
    (path,) = desk.hub.laid(CNP.id, "receipts", ".D130903-00002.accepted.json")
    before = path.read_text()
    path.write_text(json.dumps(json.loads(before) | {"blocks_loaded": 7}))
    said = desk.ask("verify")
    path.write_text(before)
    assert said.code == 1
    assert f"{path.relative_to(desk.hub.home.root)}: it is not as the hub laid it" in said.out
    assert "put it back as it was from a backup" in said.out
