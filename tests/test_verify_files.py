"""`meterhub verify` finds any one file of a home that was deleted, cut or edited by hand, and names it."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from config.home import Home
from hub_fixtures import CNP, LONG, Hub
from jobs_fixtures import Cut, interval_name, lse, send
from look_fixtures import DAY, Desk, a_night

LOGS = ("meterhub.2013-09-01.jsonl", "meterhub.2013-09-02.jsonl", "meterhub.2013-09-03.jsonl")

# Every kind of file of a home. What is not received yet, and what ends with a process, is under no proof.
KINDS = {
    "settings": r"config/meterhub\.toml",
    "partner": r"config/partners/champion\.toml",
    "host key": r"config/host_keys/ssh_host_.*",
    "kept partner": r"state/partners/.*\.toml",
    "first receipt": r"sftp_root/cnp/receipts/.*\.received\.json",
    "final receipt": r"sftp_root/cnp/receipts/.*\.(accepted|partial|rejected|duplicate)\.json",
    "list of faults": r"sftp_root/cnp/receipts/.*\.faults\.csv",
    "report of a sync": r"sftp_root/cnp/reports/.*\.sync\.json",
    "report of a day": r"sftp_root/cnp/reports/.*\.deadline\.json",
    "list of what is missing": r"sftp_root/cnp/reports/.*\.missing\.csv",
    "outbound file": r"sftp_root/[a-z]+/outbound/.*\.lse\.gz",
    "manifest": r"sftp_root/[a-z]+/outbound/.*\.manifest\.json",
    "upload that waits": r"sftp_root/cnp/inbound/.*\.lse",
    "archived bytes": r"state/archive/../[0-9a-f]{64}\.gz",
    "archived as it came": r"state/archive/../[0-9a-f]{64}",
    "lake file": r"state/lake/usage/usage_date=[0-9-]+/cnp\.D[0-9-]+\.parquet",
    "affirmations": r"state/lake/usage/usage_date=[0-9-]+/cnp\.D[0-9-]+\.affirmed\.parquet",
    "roster": r"state/lake/syncs/S.*\.parquet",
    "part of a sync": r"state/lake/syncs/parts/.*\.parquet",
    "list of blocks": r"state/contents/.*\.arrow",
    "log of a day that is over": r"state/logs/meterhub\.2013-09-0[12]\.jsonl",
    "ledger": r"state/ledger\.sqlite",
}
FREE = r"state/(locks/.*|ledger\.sqlite-(wal|shm)|logs/meterhub\.(2013-09-03|20[^1]\d-\d\d-\d\d)\.jsonl)"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """A home with a file of every kind, at rest."""
    hub = a_night(Home(tmp_path_factory.mktemp("verify") / "hub")).hub
    stamp = "20130903093000"
    send(hub, Cut(account="1001", day=DAY, wh=150, stamp=stamp))  # what stands, said again later
    hub.upload(
        CNP.id,
        interval_name(hub, ending="lse.gz"),
        gzip.compress(lse([Cut(account="1002", day=DAY, wh=9, stamp=stamp)])),
    )
    for name in LOGS:
        (hub.home.logs / name).write_text('{"event": "hub.started"}\n' * 3)
    (hub.home.host_keys / "ssh_host_ed25519_key").write_text("a key\n" * 9)
    hub.on(days=1)
    hub.sweep()
    hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="1003", day=DAY)]))
    hub.close()
    return hub


@pytest.fixture
def desk(home: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(home, capsys, monkeypatch)


def _files(home: Hub) -> dict[str, Path]:
    root = home.home.root
    return {str(path.relative_to(root)): path for path in sorted(root.rglob("*")) if path.is_file()}


def _files_of(home: Hub, kind: str) -> list[tuple[str, Path]]:
    found = [(name, path) for name, path in _files(home).items() if re.fullmatch(KINDS[kind], name)]
    assert found
    return found


def test_every_file_of_a_home_is_of_a_kind_that_is_tried(home: Hub) -> None:
    strange = [
        name
        for name in _files(home)
        if not any(re.fullmatch(pattern, name) for pattern in (*KINDS.values(), FREE))
        and "config/partners/" not in name
    ]
    assert strange == []


def test_a_home_that_is_as_it_was_recorded_is_found_so(desk: Desk) -> None:
    said = desk.ask("verify", "--json")
    assert said.json["findings"] == []
    assert said.json["unfinished"] == []
    assert said.code == 0
    assert desk.ask("verify").out.count("All is as it was recorded.") == 1


def _delete(path: Path) -> None:
    path.unlink()


def _cut(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _edit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    # Of a database not just any byte: most of its pages are empty.
    at = content.find(b'"kept_sha256"') if path.suffix == ".sqlite" else len(content) // 2
    content[at] ^= 1
    path.write_bytes(content)


ALONE = {"settings", "ledger", "partner", "roster"}  # without these, other things cannot be looked at

# What an operator may have changed, and what is not received yet: an operator should look, and nothing is wrong.
LOOKED_AT = {"partner", "host key", "kept partner", "upload that waits"}


@pytest.mark.parametrize("damage", [_delete, _cut, _edit])
@pytest.mark.parametrize(
    "kinds",
    [[kind] for kind in KINDS if LONG or kind in ALONE] + [sorted(KINDS.keys() - ALONE)],
    ids=lambda kinds: kinds[0] if len(kinds) == 1 else "all the others",
)
def test_files_that_were_deleted_cut_or_edited_are_named(
    desk: Desk, kinds: list[str], damage: Callable[[Path], None]
) -> None:
    # Of one kind its first file, of all the others every file.
    # What is not received yet has no hash: it is taken when it is received, and not before.
    kinds = [kind for kind in kinds if (kind, damage) != ("upload that waits", _edit)]
    chosen = [one for kind in kinds for one in _files_of(desk.hub, kind)]
    if len(kinds) == 1:
        chosen = chosen[:1]
    before = {path: (path.read_bytes(), path.stat().st_mode) for _, path in chosen}
    for path in before:
        path.chmod(0o600)
        damage(path)
    try:
        said = desk.ask("verify", "--json")
    finally:
        for path, (content, mode) in before.items():
            path.write_bytes(content)
            path.chmod(mode)
    if "error" in said.json:  # the settings: nothing can be looked at without them
        assert (said.code, kinds) == (3, ["settings"])
        assert "meterhub.toml" in said.json["error"]["message"]
        return
    assert said.code == (3 if set(kinds) <= LOOKED_AT else 1) or not kinds
    found = {one["where"] for one in said.json["findings"] + said.json["unfinished"]}
    if kinds == ["ledger"] and damage is not _delete:
        assert any(where == "the ledger" or where.startswith("event ") for where in found)
    else:
        assert {name for name, _ in chosen} - found == set()
