"""Clients that are no program of a distribution's or of Python's, or that mount the hub as a disk."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from doors_fixtures import AGREED, SECONDS, Door, open_door
from test_doors_clients import collected, make

CLIENTS = Path(__file__).with_name("clients")


@pytest.fixture
def door(tmp_path: Path) -> Iterator[Door]:
    with open_door(tmp_path) as door:
        yield door


@pytest.fixture
def inbound(door: Door) -> Path:
    return door.folder("cnp", "inbound")


@pytest.fixture
def outbound(door: Door) -> Path:
    return door.folder("acme", "outbound")


# ── npm's ssh2-sftp-client ───────────────────────────────────────────────────────────────────────

node = pytest.mark.skipif(
    shutil.which("node") is None or not (CLIENTS / "node_modules").is_dir(),
    reason="no node, or no ssh2-sftp-client: npm ci --prefix tests/clients",
)


def ssh2(door: Door, login: str, *steps: list[Any], fails: bool = False) -> Any:
    asked = {
        "connect": {
            "host": "127.0.0.1",
            "port": door.port,
            "username": login,
            "readyTimeout": SECONDS * 1000,
        },
        "key": str(door.key_files[login]),
        "steps": steps,
    }
    done = subprocess.run(
        ["node", CLIENTS / "transfer.js"],
        input=json.dumps(asked),
        cwd=door.home,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else json.loads(done.stdout)


@node
@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
def test_ssh2_sftp_client_puts_renames_and_gets(
    door: Door, inbound: Path, outbound: Path, takes: bool
) -> None:
    door.desk.takes = takes
    content = make(door, "a.bin", 1_000_000)
    (outbound / "a.gz").write_bytes(content)
    told = ssh2(
        door,
        "cnp",
        ["put", "a.bin", f"inbound/{AGREED}"],
        ["fastPut", "a.bin", "inbound/fast.tmp"],
        ["put", "a.bin", "inbound/a.tmp"],
        ["rename", "inbound/a.tmp", "inbound/b"],
        ["posixRename", "inbound/fast.tmp", "inbound/c"],
        ["exists", "inbound/a.tmp"],
        ["exists", "receipts"],
    )
    assert told[-2:] == [False, "d"]
    assert ((door.home / "taken" if takes else inbound) / AGREED).read_bytes() == content
    assert (inbound / "b").read_bytes() == (inbound / "c").read_bytes() == content
    ssh2(door, "acme", ["get", "outbound/a.gz", "got"], ["fastGet", "outbound/a.gz", "fast"])
    assert (door.home / "got").read_bytes() == (door.home / "fast").read_bytes() == content
    assert collected(door, "a.gz")


@node
def test_ssh2_sftp_client_goes_on_with_an_upload_and_mirrors_a_folder(door: Door, inbound: Path) -> None:
    content = make(door, "a.bin", 300_000)
    (inbound / ".a.tmp.part").write_bytes(content[:100_000])
    (door.home / "rest").write_bytes(content[100_000:])
    night = door.home / "night"
    night.mkdir()
    for n in range(5):
        (night / f"{n}.bin").write_bytes(content[: n * 1000])
    ssh2(door, "cnp", ["append", {"file": "rest"}, "inbound/a.tmp"], ["uploadDir", "night", "inbound"])
    assert (inbound / "a.tmp").read_bytes() == content
    assert all((inbound / f"{n}.bin").stat().st_size == n * 1000 for n in range(5))


@node
def test_ssh2_sftp_client_lists_20_000_entries_and_is_told_why_not(door: Door, outbound: Path) -> None:
    for n in range(20_000):
        (outbound / f"{n:05}.lse.gz").touch()
    (listed,) = ssh2(door, "acme", ["list", "outbound"])
    assert len({one["name"] for one in listed}) == 20_000
    make(door, "a.bin", 10)
    assert "is for reading" in ssh2(door, "acme", ["put", "a.bin", "outbound/a.bin"], fails=True)


# ── sshfs ────────────────────────────────────────────────────────────────────────────────────────


def can_mount() -> bool:
    """Whether there is sshfs, and this machine lets us mount."""
    return shutil.which("sshfs") is not None and os.access("/dev/fuse", os.R_OK | os.W_OK)


@contextmanager
def mounted(door: Door, login: str) -> Iterator[Path]:
    """The hub as a disk. Skips the test where mounting is not allowed, as in most containers."""
    place = door.home / f"{login}-disk"
    place.mkdir()
    ssh = " ".join(["ssh", *door.openssh_options(login)])
    command = ["sshfs", f"{login}@127.0.0.1:/", place, "-p", str(door.port), "-o", f"ssh_command={ssh}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode and "fuse" in done.stderr:
        pytest.skip(f"this machine does not mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    try:
        yield place
    finally:
        subprocess.run(["fusermount3", "-u", "-z", place], check=True, timeout=SECONDS)


@pytest.mark.skipif(not can_mount(), reason="no sshfs, or no /dev/fuse")
@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
def test_sshfs_copies_renames_appends_and_reads(
    door: Door, inbound: Path, outbound: Path, takes: bool
) -> None:
    door.desk.takes = takes
    content = make(door, "a.bin", 1_000_000)
    (outbound / "a.gz").write_bytes(content)
    (inbound / ".half.tmp.part").write_bytes(content[:400_000])
    with mounted(door, "cnp") as disk:
        shutil.copyfile(door.home / "a.bin", disk / "inbound" / AGREED)
        shutil.copy(door.home / "a.bin", disk / "inbound" / "a.tmp")  # with its mode
        (disk / "inbound" / "a.tmp").rename(disk / "inbound" / "b")
        with (disk / "inbound" / "half.tmp").open("ab") as half:
            half.write(content[400_000:])
        with pytest.raises(PermissionError):
            (disk / "receipts" / "a").write_bytes(b"x")
        with pytest.raises(OSError, match="inbound/folder"):
            (disk / "inbound" / "folder").mkdir()
    door.desk.wait_for("upload_ended", AGREED)
    door.desk.wait_for("upload_ended", "half.tmp")
    assert ((door.home / "taken" if takes else inbound) / AGREED).read_bytes() == content
    assert (inbound / "b").read_bytes() == (inbound / "half.tmp").read_bytes() == content
    with mounted(door, "acme") as disk:
        assert (disk / "outbound" / "a.gz").read_bytes() == content
        assert sorted(path.name for path in disk.iterdir()) == ["history", "outbound", "reports", "requests"]
    assert collected(door, "a.gz")


@pytest.mark.skipif(not can_mount(), reason="no sshfs, or no /dev/fuse")
def test_sshfs_lists_20_000_entries(door: Door, outbound: Path) -> None:
    for n in range(20_000):
        (outbound / f"{n:05}.lse.gz").touch()
    with mounted(door, "acme") as disk:
        assert len(list((disk / "outbound").iterdir())) == 20_000
