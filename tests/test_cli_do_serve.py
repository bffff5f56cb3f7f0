"""`meterhub serve` as a real process: how it opens, how it drains, and what it takes up after a crash."""

import contextlib
import hashlib
import json
import os
import re
import signal
import socket
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import paramiko
import pytest

from cli_do_fixtures import BIN, SECONDS, Server, copy_home, ledger, poll
from config.home import Home
from exchange import lock
from exchange.cli.main import main
from schemas.sample import EDCS, Night, SampleFile

NOW = "2013-09-03T10:00:00Z"
NIGHT = Night(day=date(2013, 9, 2), edcs=EDCS[:1], accounts=30_000, bucket=15_000)
SMALL = Night(day=date(2013, 9, 2), edcs=EDCS[:1], accounts=500)
CNP = EDCS[0]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("template") / "hub"
    assert main(["--home", str(home), "init", "--sample"]) == 0
    return home


@pytest.fixture
def home(template: Path, tmp_path: Path) -> Path:
    return copy_home(template, tmp_path / "hub")


@pytest.fixture
def serve(home: Path) -> Iterator[Callable[..., Server]]:
    started: list[Server] = []

    def start(*words: str, mishaps: str = "") -> Server:
        server = Server(home, NOW, mishaps)
        started.append(server)
        return server.start(*words)

    yield start
    for server in started:
        server.end()


@pytest.fixture(scope="module")
def bucket() -> SampleFile:
    return NIGHT.bucket_of(CNP, 0)


def stages(home: Path, name: str) -> list[str]:
    return [row[0] for row in ledger(home, 'select stage from "drop" where name = ?', name)]


def put(server: Server, file: SampleFile) -> None:
    with server.sftp("cnp") as sftp, sftp.open(f"inbound/{file.name}", "wb") as remote:
        remote.set_pipelined(True)
        remote.write(file.content)


STANDS_STILL = "rename:lake=stop@1"  # each worker, in the middle of its first load


def under_way(server: Server, name: str) -> None:
    """Return when a load has begun, and stands still in the middle."""
    poll(f"{name} is accepted", lambda: stages(server.home, name) == ["accepted"])
    poll("it is being loaded", lambda: server.workers(standing=True))


def test_it_says_where_it_listens_its_fingerprints_and_who_may_log_in_and_how(
    serve: Callable[..., Server], home: Path
) -> None:
    server = serve("--quiet")
    assert server.process.stdout is not None
    said = ""
    while "stops it" not in said:
        said += server.process.stdout.readline()
    code, rest, errors = server.stop()
    assert (code, rest, errors) == (0, "Closed.\n", "")
    port = re.search(r"on 127\.0\.0\.1, port (\d+)", said)
    assert port is not None
    for public in (home / "config" / "host_keys").glob("ssh_host_*.pub"):
        shown = subprocess.run(["ssh-keygen", "-lf", public], capture_output=True, text=True, check=True)
        assert f"host key   {shown.stdout.split()[1]}" in said
    assert f"6 of 6 may log in, by key: sftp -P {port[1]} LOGIN@127.0.0.1" in said
    assert "cnp          edc    CenterPoint Energy" in said
    assert "2013-09-03 10:" in said
    assert "a rehearsal" in said


def test_after_a_change_of_port_the_sample_login_leads_to_the_new_one(
    serve: Callable[..., Server], home: Path
) -> None:
    config = home / "config" / "sample_keys" / "ssh_config"
    config.write_text(config.read_text().replace("    Port ", "    Port 9"))
    server = serve()
    asked = ["sftp", "-b", "-", "-F", config, "cnp"]
    listed = subprocess.run(asked, input="ls\n", capture_output=True, text=True, timeout=SECONDS, check=False)
    assert listed.returncode == 0, listed.stderr
    assert "inbound" in listed.stdout
    assert server.stop()[0] == 0


def test_a_mistake_in_one_partners_file_shuts_out_that_one_and_lets_the_hub_open(
    serve: Callable[..., Server], home: Path
) -> None:
    file = home / "config" / "partners" / "champion.toml"
    good = file.read_text()
    file.write_text("id ==")
    server = serve()
    ready = {one["id"] for one in server.opening["partners"]}
    assert "cnp" in ready
    assert "champion" not in ready
    with server.sftp("cnp") as sftp:
        assert "inbound" in sftp.listdir(".")
    with pytest.raises(paramiko.AuthenticationException), server.sftp("champion"):
        pass
    file.write_text(good)
    with server.sftp("champion") as sftp:
        assert "outbound" in sftp.listdir(".")
    code, _, errors = server.stop()
    assert code == 0
    assert f"{file}: Invalid value" in errors
    assert "left out: champion" in errors

    file.write_text("id ==")  # by now it is known what was good
    server = serve()
    assert ready | {"champion"} == {one["id"] for one in server.opening["partners"]}
    with server.sftp("champion") as sftp:
        assert "outbound" in sftp.listdir(".")
    assert f"{file}: Invalid value" in server.stop()[2]


def test_a_second_one_on_the_same_home_is_refused_in_words_and_the_place_is_free_after_a_crash(
    serve: Callable[..., Server], home: Path
) -> None:
    first = serve()
    asked = [BIN, "--home", home, "serve", "--json"]
    second = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert second.returncode == 3
    told = json.loads(second.stdout)["error"]
    assert told["code"] == "already-serving"
    assert f"process {first.process.pid}" in told["message"]
    first.stop(signal.SIGKILL)
    lock.take(Home(home)).close()


def test_without_host_keys_it_says_init_and_on_a_taken_port_which(home: Path) -> None:
    def refused() -> dict[str, str]:
        asked = [BIN, "--home", home, "serve", "--json"]
        done = subprocess.run(asked, capture_output=True, text=True, timeout=SECONDS, check=False)
        assert done.returncode == 3, done.stderr
        error: dict[str, str] = json.loads(done.stdout)["error"]
        return error

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        (home / "config" / "meterhub.toml").write_text(f"[sftp]\nport = {port}\n")
        error = refused()
        assert error["code"] == "cannot-listen"
        assert f"port {port}" in error["message"]
    for key in (home / "config" / "host_keys").iterdir():
        key.unlink()
    error = refused()
    assert error["code"] == "host-keys-missing"
    assert "meterhub init" in error["hint"]


def test_an_upload_that_sigterm_cuts_off_is_resumed_after_the_restart_and_arrives_whole(
    serve: Callable[..., Server], home: Path
) -> None:
    bucket = SMALL.bucket_of(CNP, 0)
    server = serve()
    (sync,) = SMALL.sync(CNP)
    put(server, sync)
    receipt = server.receipt("cnp", sync.name)
    assert receipt["outcome"] == "accepted"
    assert receipt["received_at"].startswith("2013-09-03T10:0")  # by the clock that was set

    half = len(bucket.content) // 2
    with server.sftp("cnp") as sftp:
        remote = sftp.open(f"inbound/{bucket.name}", "wb")
        remote.write(bucket.content[:half])
        assert remote.stat().st_size == half  # it is there before the signal is sent
        code, _, errors = server.stop()
        assert (code, errors) == (0, "")
    assert stages(home, bucket.name) == ["incomplete"]
    part = home / "sftp_root" / "cnp" / "inbound" / f".{bucket.name}.part"
    assert part.read_bytes() == bucket.content[:half]

    server = serve()
    with server.sftp("cnp") as sftp:
        there = sftp.stat(f"inbound/{bucket.name}").st_size
        assert there == half
        with sftp.open(f"inbound/{bucket.name}", "ab") as remote:
            remote.set_pipelined(True)
            remote.write(bucket.content[there:])
    receipt = server.receipt("cnp", bucket.name)
    assert receipt["outcome"] == "accepted"
    assert receipt["sha256"] == hashlib.sha256(bucket.content).hexdigest()
    assert receipt["blocks_loaded"] == bucket.blocks
    assert server.stop()[0] == 0


def test_a_load_under_way_at_ctrl_c_ends_before_the_hub_does(
    serve: Callable[..., Server], home: Path, bucket: SampleFile
) -> None:
    server = serve(mishaps=STANDS_STILL)
    put(server, bucket)
    under_way(server, bucket.name)
    os.killpg(server.process.pid, signal.SIGINT)  # as a terminal sends it: to the workers, too
    poll("its doors are closed", lambda: "doors.closed" in log_of(home))
    assert stages(home, bucket.name) == ["accepted"]
    server.go_on()
    code, _, errors = server.ended()
    assert (code, errors) == (0, "")
    assert stages(home, bucket.name) == ["loaded"]
    assert server.receipt("cnp", bucket.name)["blocks_loaded"] == bucket.blocks


def test_a_hub_killed_in_the_middle_of_a_load_loads_it_exactly_once_when_it_is_back(
    serve: Callable[..., Server], home: Path, bucket: SampleFile
) -> None:
    server = serve(mishaps=STANDS_STILL)
    put(server, bucket)
    under_way(server, bucket.name)
    with contextlib.closing(sqlite3.connect(home / "state" / "ledger.sqlite", timeout=SECONDS)) as writer:
        writer.execute("begin immediate")  # so that no worker is quick enough to end it
        os.kill(server.process.pid, signal.SIGKILL)
        server.process.wait(SECONDS)
        server.go_on()
        poll("its workers have left with it", lambda: not server.workers())
    assert stages(home, bucket.name) == ["accepted"]

    server = serve()
    assert server.receipt("cnp", bucket.name)["blocks_loaded"] == bucket.blocks
    assert ledger(home, "select count(*) from load") == [(1,)]
    assert ledger(home, "select count(*), sum(rows) from lake_file") == [(1, bucket.blocks)]
    assert ledger(home, "select count(*) from event where name = 'drop.loaded'") == [(1,)]
    assert server.stop()[0] == 0


def test_a_worker_that_is_killed_costs_nothing_but_a_moment(
    serve: Callable[..., Server], home: Path, bucket: SampleFile
) -> None:
    server = serve(mishaps=STANDS_STILL)
    put(server, bucket)
    under_way(server, bucket.name)
    for pid in server.workers():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # the hub has ended it already
            if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes():
                os.kill(pid, signal.SIGKILL)
    assert server.receipt("cnp", bucket.name)["blocks_loaded"] == bucket.blocks
    other = NIGHT.bucket_of(CNP, 1)
    poll("the pool is rebuilt", lambda: "pool.rebuilt" in log_of(home))
    put(server, other)
    assert server.receipt("cnp", other.name)["blocks_loaded"] == other.blocks
    assert server.stop()[0] == 0


def test_on_a_terminal_one_sees_what_becomes_of_an_upload(serve: Callable[..., Server], home: Path) -> None:
    server = serve("--home", str(home))
    said = ""
    assert server.process.stdout is not None
    while "stops it" not in said:
        said += server.process.stdout.readline()
    port = re.search(r"on 127\.0\.0\.1, port (\d+)", said)
    assert port is not None
    server.opening = {"port": int(port[1])}
    file = SMALL.bucket_of(CNP, 0)
    put(server, file)
    server.receipt("cnp", file.name)
    code, _, log = server.stop()
    assert code == 0
    for event in ("drop.arrived", "drop.received", "drop.accepted", "drop.loaded"):
        assert event in log


def log_of(home: Path) -> str:
    return "".join(file.read_text() for file in (home / "state" / "logs").glob("*.jsonl"))


def test_commands_work_beside_it_and_each_drop_is_taken_once(
    serve: Callable[..., Server], home: Path, tmp_path: Path
) -> None:
    server = serve()
    files = [*SMALL.sync(CNP), SMALL.bucket_of(CNP, 0)]
    for file in files:
        (tmp_path / file.name).write_bytes(file.content)
    environment = {**os.environ, "METERHUB_NOW": NOW}

    def ask(*words: object) -> list[dict[str, object]]:
        asked = [BIN, "--home", home, *map(str, words), "--json"]
        done = subprocess.run(
            asked, capture_output=True, text=True, timeout=SECONDS, check=True, env=environment
        )
        answer: list[dict[str, object]] = json.loads(done.stdout)
        return answer

    receipts = ask("submit", "--edc", "cnp", *(tmp_path / file.name for file in files))
    assert [receipt["outcome"] for receipt in receipts] == ["accepted"] * 2
    assert ledger(home, "select count(*) from load") == [(1,)]
    published = ask("publish")
    laid = {file["egs"] for one in published for file in one["files"]}  # type: ignore[attr-defined]
    with server.sftp("champion") as sftp:
        names = sftp.listdir("outbound")
    assert len([name for name in names if name.endswith(".lse.gz")]) == 1
    assert laid <= {"champion", "bluebonnet", "keystone", "lonestar"}
    ask("sweep")
    assert ledger(home, "select count(*) from load") == [(1,)]
    assert server.stop()[0] == 0
