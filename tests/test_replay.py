"""Promise 5: the load of a day, done again from the archive, gives the same again byte for byte, or says what differs."""

import gzip
import hashlib
import shutil
import signal
import sqlite3
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from config.home import Home
from hub_fixtures import CNP, LONG, PATIENCE, Hub
from interruption_fixtures import FORKS, act
from jobs.stores import mishaps
from jobs.stores.outbound import read_contents
from jobs_fixtures import BLUEBONNET, CHAMPION, Cut, interval_name, lse, send, send_sync
from look_fixtures import Desk
from replay_fixtures import AUTUMN, SPRING, a_night, again, differences, killed_in_the_middle, morning_of
from schemas.receipt import manifest_name

# One worker: a few small loads are done sooner than processes are started.
SETTINGS = "workers = 1\n[sync]\nbrake = 0.3\n"


# In a long run a year in stretches of 30 nights; one of them: METERHUB_TESTS=long, -k 2013-11-05.
FIRST_NIGHTS = [SPRING + timedelta(days=30 * k) for k in range(13)] if LONG else [SPRING]


@pytest.mark.parametrize("first", [*FIRST_NIGHTS, AUTUMN], ids=str)
def test_nights_replay_clean(tmp_path: Path, first: date) -> None:
    """Replacements that cross the deadline, switches between load and publication, a hub that was killed in the
    middle; in a long run a year of them, and a hub that was killed at another moment each twelfth night.
    """
    since = (first - SPRING).days if first in FIRST_NIGHTS else 0
    nights = [first + timedelta(days=k) for k in range(30 if LONG else 2)]
    hub = Hub(Home(tmp_path / "hub"), morning_of(nights[0]), SETTINGS)
    for number, day in enumerate(nights, start=since):
        a_night(hub, day, number)
        if number % 12 == 0 and first in FIRST_NIGHTS:
            moment = 2 + number // 12 * 5 % 53 if LONG else 23  # of 56
            hub = killed_in_the_middle(hub, day + timedelta(days=1), number + 1, moment)
    hub.on(days=1)
    hub.sweep()
    done = [one for day in nights for one in again(hub, day)]
    assert [one.differences for one in done if one.differences] == []
    counted = {key: sum(one.counts[key] for one in done) for key in ("drops", "outbound_files", "verdicts")}
    assert counted["drops"] > 15
    assert counted["outbound_files"] > 10
    assert counted["verdicts"] >= len(nights)
    hub.end()


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """The hub of one night, and of the morning on which its verdict was given."""
    hub = Hub(Home(tmp_path_factory.mktemp("night") / "hub"), morning_of(SPRING), SETTINGS)
    a_night(hub, SPRING, 4)
    yield hub
    hub.end()


@pytest.fixture
def copied(night: Hub, tmp_path: Path) -> Iterator[Hub]:
    """A copy of that hub, in which something can be changed."""
    shutil.copytree(night.home.root, tmp_path / "hub")
    hub = Hub(Home(tmp_path / "hub"), night.now, fresh=False)
    yield hub
    hub.close()


@pytest.fixture
def desk(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[Hub], Desk]:
    return lambda hub: Desk(hub=hub, capsys=capsys, monkeypatch=monkeypatch)


def of_cnp(hub: Hub, egs: str, ending: str) -> Path:
    return next(path for path in hub.laid(egs, "outbound", ending) if path.name.startswith(CNP.duns))


def flip(path: Path, at: int = -3) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.chmod(0o644)
    path.write_bytes(content)


def test_changed_bytes_in_the_archive_are_named_and_nothing_else(copied: Hub) -> None:
    drop, other, damaged = map(copied.drop, ("D130311-00003", "D130311-00004", "D130312-00001"))
    path, gone, packed = (copied.stores.archive.path(one.sha256) for one in (drop, other, damaged))
    assert path is not None
    assert gone is not None
    assert packed is not None
    content = copied.stores.archive.read(drop.sha256)
    path.unlink()
    path.with_suffix("").write_bytes(content.replace(b"0.1", b"0.2", 1))
    gone.unlink()
    flip(packed, at=14)
    one, two, three = differences(copied, SPRING, edcs=["cnp"])
    assert (one.what, one.where, one.expected) == ("archive", f"{drop.id}, {drop.name}", drop.sha256)
    assert (two.what, two.where, two.found) == ("archive", f"{other.id}, {other.name}", "no such file")
    assert (three.what, three.where) == ("archive", f"{damaged.id}, {damaged.name}")
    assert three.found == "bytes that cannot be unpacked"


@pytest.mark.parametrize("changed", [True, False], ids=["changed", "lost"])
def test_what_is_changed_or_lost_of_the_lake_and_of_what_partners_find_is_named_and_nothing_else(
    copied: Hub, changed: bool
) -> None:
    wanted = {
        "outbound": of_cnp(copied, "bluebonnet", ".lse.gz"),
        "manifest": of_cnp(copied, "champion", ".manifest.json"),
        "receipts": copied.laid("cnp", "receipts", ".accepted.json")[0],
        "reports": copied.laid("cnp", "reports", ".missing.csv")[0],
    }
    below = {what: str(path.relative_to(copied.home.sftp_root)) for what, path in wanted.items()}
    (lake,) = copied.stores.lake.root.glob("usage/*/cnp.D130311-00003.parquet")
    contents = min((copied.home.state / "contents").glob("*/*.arrow"))
    roster = copied.stores.lake.root / "syncs" / "S130311-cnp-1.parquet"
    for path in (*wanted.values(), lake, contents, roster):
        if changed:
            flip(path)
        else:
            path.unlink()
    found = differences(copied, SPRING, edcs=["cnp"])
    assert {(one.what, one.where.partition(": ")[0]) for one in found} == {
        *below.items(),
        ("lake", str(lake.relative_to(copied.stores.lake.root))),
        ("contents", str(contents.relative_to(copied.home.state))),
        ("roster", "syncs/S130311-cnp-1.parquet"),
    }
    assert len(found) == 7
    assert all(one.found != one.expected for one in found)
    assert changed or {one.found for one in found} == {"no such file"}


def test_what_another_software_wrote_in_other_bytes_is_held_to_by_what_it_says(copied: Hub) -> None:
    written_by_another(copied)
    (done,) = again(copied, SPRING, edcs=["cnp"])
    assert done.differences == []
    assert done.notes == [f"pyarrow was 1.0.0 then and is {pa.__version__} now"]
    assert (done.counts["lake_files"], done.counts["outbound_files"]) > (2, 2)


def test_another_softwares_files_that_say_something_else_are_named_and_nothing_else(copied: Hub) -> None:
    written_by_another(copied)
    lake = copied.stores.lake.root / "usage" / "usage_date=2013-03-10" / "cnp.D130311-00003.parquet"
    rows = pq.ParquetFile(lake).read()
    totals = [rows["wh_total"][0].as_py() + 1, *rows["wh_total"][1:].to_pylist()]
    place = rows.schema.get_field_index("wh_total")
    pq.write_table(rows.set_column(place, rows.schema.field(place), [totals]), lake)
    outbound = of_cnp(copied, "bluebonnet", ".lse.gz")
    outbound.write_bytes(gzip.compress(gzip.decompress(outbound.read_bytes()).replace(b",A,", b",E,", 1)))
    manifest = of_cnp(copied, "champion", ".manifest.json")
    manifest.write_bytes(manifest.read_bytes().replace(b'"sequence": 1', b'"sequence": 7'))
    contents = min((copied.home.state / "contents").glob("*/*.arrow"))
    flip(contents, at=len(contents.read_bytes()) // 2)
    roster = copied.stores.lake.root / "syncs" / "S130311-cnp-1.parquet"
    said = pq.ParquetFile(roster).read()
    pq.write_table(said.set_column(said.schema.get_field_index("zip"), "zip", [["1"] * len(said)]), roster)
    found = differences(copied, SPRING, edcs=["cnp"])
    assert sorted((one.what, one.where.rpartition("/")[2]) for one in found) == [
        ("contents", contents.name),
        ("lake", f"{lake.name}: wh_total of account {rows['account'][0]}, channel 4 differs"),
        ("manifest", manifest.name),
        ("outbound", outbound.name),
        ("roster", roster.name),
    ]


def written_by_another(hub: Hub) -> None:
    """Let the home's files and ledger be as if another version of pyarrow had been there that night: the same said
    in other bytes, and the hashes and sizes of those wherever they are kept.
    """
    root, ours = hub.stores.lake.root, {}
    for path in (*root.glob("usage/*/cnp.*.parquet"), *root.glob("syncs/*cnp*.parquet")):
        rows = pq.ParquetFile(path).read()
        path.unlink()
        ours[str(path.relative_to(root))] = put(path, lambda to, rows=rows: pq.write_table(rows, to, row_group_size=2, compression="snappy"))  # fmt: skip
    for path in (hub.home.state / "contents").glob("*/*.arrow"):
        rows = read_contents(path)
        with pa.ipc.new_file(str(path), rows.schema) as file:
            file.write_table(rows)
    with sqlite3.connect(hub.home.ledger_file) as ledger:
        for path, (digest, size) in ours.items():
            ledger.execute("update lake_file set sha256 = ?, bytes = ? where path = ?", (digest, size, path))
            ledger.execute("update sync set sha256 = ? where path = ?", (digest, path))
        outbound = (
            "select egs, name, sha256, bytes from outbound_file where edc = 'cnp' and state = 'laid-out'"
        )
        for egs, name, digest, size in ledger.execute(outbound).fetchall():
            path = hub.stores.mailboxes.folder(egs, "outbound") / name
            text = gzip.decompress(path.read_bytes())
            new, much = put(path, lambda to, text=text: to.write_bytes(gzip.compress(text, 9, mtime=7)))
            assert new != digest
            ledger.execute(
                "update outbound_file set sha256 = ?, bytes = ? where egs = ? and name = ?",
                (new, much, egs, name),
            )
            manifest = path.with_name(manifest_name(name))
            said = manifest.read_text().replace(digest, new).replace(f'"bytes": {size}', f'"bytes": {much}')
            put(manifest, lambda to, said=said: to.write_text(said))
        ledger.execute("update event set details = replace(details, ?, ?) where name = 'circumstances.noted'",
                       (f'"pyarrow": "{pa.__version__}"', '"pyarrow": "1.0.0"'))  # fmt: skip


def put(path: Path, write: Callable[[Path], object]) -> tuple[str, int]:
    """Write a file anew; its hash and size."""
    if path.exists():
        path.chmod(0o644)
    write(path)
    content = path.read_bytes()
    return hashlib.sha256(content).hexdigest(), len(content)


CHANGES = {
    "drop D130311-00003: suspense": ("\"drop\" set suspense = suspense + 1", "id = 'D130311-00003'"),
    "drop D130311-00004: arrived_at": ("\"drop\" set arrived_at = '2013-03-12T07:00:00.000000Z'", "id = 'D130311-00004'"),
    "lake_file 1: rows": ("lake_file set rows = 3", "id = 1"),
    "load 1: loaded_at": ("load set loaded_at = '2013-03-12T07:00:00.000000Z'", "seq = 1"),
    "outbound_file champion 1: blocks": ("outbound_file set blocks = 9", "egs = 'champion' and sequence = 1"),
    "publication P130311-00001: blocks": ("publication set blocks = 99", "id = 'P130311-00001'"),
    "sync S130311-cnp-1: accounts": ("sync set accounts = 7", "id = 'S130311-cnp-1'"),
    "verdict cnp/2013-03-10: in_time": ("verdict set in_time = 2", "edc = 'cnp'"),
    "drop.loaded about D130311-00003: suspense": (
        "event set details = replace(details, '\"suspense\": ', '\"suspense\": 5')",
        "about = 'D130311-00003' and name = 'drop.loaded'",
    ),
    "publication.recorded about P130311-00001: files": (
        "event set details = replace(details, '\"files\": ', '\"files\": 1')",
        "about = 'P130311-00001' and name = 'publication.recorded'",
    ),
}  # fmt: skip


def test_changed_values_in_the_ledger_are_named_and_nothing_else(copied: Hub) -> None:
    with sqlite3.connect(copied.home.ledger_file) as ledger:
        for set_to, where in CHANGES.values():
            assert ledger.execute(f"update {set_to} where {where}").rowcount == 1
    found = differences(copied, SPRING, edcs=["cnp"])
    for words in CHANGES:
        assert [one.where for one in found if one.where.endswith(words)], words
    assert len(found) == len(CHANGES)
    assert all(one.expected != one.found for one in found)


def test_the_command_says_identical_and_the_counts_or_what_differs(
    copied: Hub, desk: Callable[[Hub], Desk], tmp_path: Path
) -> None:
    at_desk = desk(copied)
    keep = tmp_path / "kept"
    said = at_desk.ask("replay", "2013-03-10", "--keep", str(keep), "--json")
    assert said.code == 0
    cnp, ppl = said.json
    assert (cnp["identical"], ppl["identical"]) == (True, True)
    assert cnp["counts"]["drops"] == copied_drops(copied)
    kept = Hub(Home(keep / "cnp"), copied.now, fresh=False)
    assert kept.files(CHAMPION.id) != []
    kept.close()
    early = at_desk.ask(
        "replay", "2013-03-10", "--edc", "cnp", "--as-known-at", "2013-03-11T09:12Z", "--json"
    )
    assert (early.code, early.json[0]["to"]) == (0, "2013-03-11T09:12:00Z")
    assert 0 < early.json[0]["counts"]["drops"] < cnp["counts"]["drops"]
    flip(of_cnp(copied, "champion", ".lse.gz"))
    said = at_desk.ask("replay", "2013-03-10", "--edc", "cnp")
    assert said.code == 1
    assert "1 difference\n" in said.out


def test_a_usage_day_is_replayed_with_all_its_versions_whenever_they_came(
    copied: Hub, desk: Callable[[Hub], Desk]
) -> None:
    at_desk = desk(copied)
    cnp, ppl = at_desk.ask("replay", "2013-03-10", "--usage-day", "--json").json
    assert (cnp["identical"], ppl["identical"]) == (True, True)
    with sqlite3.connect(copied.home.ledger_file) as ledger:
        query = "select count(*), sum(rows) from lake_file where edc = 'cnp' and usage_date = '2013-03-10' and kind = 'usage'"
        files, blocks = ledger.execute(query).fetchone()
    assert (cnp["counts"]["lake_files"], cnp["counts"]["blocks"]) == (files, blocks)
    assert cnp["counts"]["verdicts"] == 1
    assert cnp["counts"]["blocks"] > at_desk.ask("replay", "2013-03-10", "--json").json[0]["counts"]["blocks"]
    flip(next(copied.stores.lake.root.glob("usage/usage_date=2013-03-10/cnp.D130312-*.parquet")), at=100)
    (found,) = at_desk.ask("replay", "2013-03-10", "--usage-day", "--edc", "cnp", "--json").json[0][
        "differences"
    ]
    assert found["what"] == "lake"


@pytest.mark.parametrize("moment", ["rename:outbound=die@1", "rename:outbound=die@2", "rename:outbound=die@3",
                                    "commit:publication.laid_out=die@1"])  # fmt: skip
def test_a_publication_that_was_cut_off_while_its_files_appeared_is_replayed_as_it_was_finished(
    tmp_path: Path, moment: str
) -> None:
    hub = Hub(Home(tmp_path / "hub"), morning_of(SPRING + timedelta(days=1)), SETTINGS)
    send_sync(hub, {"100": CHAMPION.duns, "101": BLUEBONNET.duns}, as_of=SPRING + timedelta(days=1))
    send(hub, *(Cut(account=one, day=SPRING) for one in ("100", "101")))
    hub.on(minutes=5)
    hub.close()
    child = FORKS.Process(
        target=act, args=(hub.home.root, hub.now, partial(_published_and_killed, moment), 0)
    )
    child.start()
    child.join(PATIENCE)
    assert child.exitcode == -signal.SIGKILL
    taken_up = Hub(Home(hub.home.root), hub.now + timedelta(minutes=15), fresh=False)
    taken_up.restart()
    taken_up.sweep()
    assert differences(taken_up, SPRING) == []
    taken_up.close()


def _published_and_killed(moment: str, hub: Hub) -> None:
    mishaps.begin(moment)
    hub.sweep()


def test_a_load_that_brought_no_new_blocks_is_replayed_as_any(tmp_path: Path) -> None:
    known = [Cut(account=f"10{k}", day=SPRING, wh=104 + k) for k in (0, 1)]
    hub = Hub(Home(tmp_path / "hub"), morning_of(SPRING + timedelta(days=1)), SETTINGS)
    send_sync(hub, {"100": CHAMPION.duns, "101": CHAMPION.duns}, as_of=SPRING + timedelta(days=1))
    send(hub, *known)
    hub.on(minutes=5)
    typo = lse([Cut(account="100", day=SPRING, wh=1)]).replace(b"20130310", b"20133310")
    drop = hub.upload("cnp", interval_name(hub), typo + lse(known))
    assert (drop.outcome, drop.blocks_loaded, drop.blocks_unchanged, drop.blocks_rejected) == (
        "partial",
        0,
        2,
        1,
    )
    hub.sweep()
    assert differences(hub, SPRING) == []
    with sqlite3.connect(hub.home.ledger_file) as ledger:
        assert ledger.execute(
            "update load set loaded_at = '2013-03-12T07:00:00.000000Z' where seq = 2"
        ).rowcount
    assert [one.where for one in differences(hub, SPRING)] == ["load 2: loaded_at"]
    hub.close()


def test_a_day_with_nothing_is_refused_and_the_days_there_are_are_named(
    night: Hub, hub: Hub, desk: Callable[[Hub], Desk]
) -> None:
    for how in ((), ("--usage-day",), ("--edc", "ppl")):
        for day in ("2013-03-01", "2031-01-01"):
            said = desk(night).ask("replay", day, *how)
            assert (said.code, "there is something of 2013-03-10" in said.err) == (3, True), (day, how)
            assert "identical" not in said.out
    before_ppl = desk(night).ask("replay", "2013-03-10", "--as-known-at", "2013-03-11T09:05Z")
    assert (before_ppl.code, before_ppl.out.count("nothing came")) == (0, 1)
    early = ("replay", "2013-03-10", "--as-known-at", "2013-03-11T01:00Z")
    assert desk(night).ask(*early).code == 3
    said = desk(hub).ask("replay", "2013-09-02")
    assert (said.code, "no day of which there is anything" in said.err) == (3, True)


def test_what_was_before_a_rebuild_cannot_be_replayed_and_what_came_after_can(
    copied: Hub, desk: Callable[[Hub], Desk]
) -> None:
    copied.close()
    for path in copied.home.state.glob("ledger.sqlite*"):
        path.unlink()
    (held,) = (one for one in desk(copied).ask("rebuild", "--json").json["syncs_to_approve"] if "cnp" in one)
    copied.open()
    assert desk(copied).ask("sync", "approve", held, "--yes").code == 0
    a_night(copied, SPRING + timedelta(days=1), 5)
    a_night(copied, SPRING + timedelta(days=2), 6)
    for words in (("2013-03-10",), ("2013-03-11",), ("2013-03-10", "--usage-day")):
        said = desk(copied).ask("replay", *words)
        assert said.code == 3, words
        assert "the history before that is not in it" in said.err
        assert "replay 2013-03-12 or a later day" in said.err
    assert desk(copied).ask("replay", "2013-03-12").code == 0
    assert desk(copied).ask("replay", "2013-03-12", "--usage-day").code == 0
    assert "there is something of 2013-03-12" in desk(copied).ask("replay", "2013-04-01").err


def copied_drops(hub: Hub) -> int:
    """The drops of cnp that came before the deadline."""
    with sqlite3.connect(hub.home.ledger_file) as ledger:
        query = "select count(*) from \"drop\" where partner = 'cnp' and arrived_at <= '2013-03-12T04:00:00'"
        (count,) = ledger.execute(query).fetchone()
    return int(count)
