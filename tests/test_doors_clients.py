"""The programs that partners use, as they come: each uploads, resumes, renames, lists and fetches."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest

from doors_fixtures import AGREED, SECONDS, Door, names, open_door, until

SIZES = [0, 1, 32_768, 32_769, 100_000, 3_000_000]


def needs(*programs: str) -> pytest.MarkDecorator:
    """Skip where a program is not installed, but in CI, which has to install it."""
    missing = [program for program in programs if shutil.which(program) is None and "CI" not in os.environ]
    return pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}")


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


def make(door: Door, name: str, size: int) -> bytes:
    content = os.urandom(size)
    (door.home / name).write_bytes(content)
    return content


def run(door: Door, *command: str | Path, more: str | None = None) -> str:
    done = subprocess.run(
        command, cwd=door.home, input=more, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def collected(door: Door, *names: str) -> bool:
    """Whether each of these files was read, whole."""
    return all(door.desk.wait_for("read_ended", name).more["whole"] for name in names)


# ── OpenSSH ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("put", ["put", "put -f", "put -p"])
def test_openssh_puts_and_renames_into_place(door: Door, inbound: Path, put: str) -> None:
    contents = {f"{size}.bin": make(door, f"{size}.bin", size) for size in SIZES}
    door.sftp("cnp", "cd inbound", *(f"{put} {name}" for name in contents))
    assert {path.name: path.read_bytes() for path in inbound.iterdir()} == contents
    door.sftp("cnp", f"rename inbound/1.bin inbound/{AGREED}", "rm inbound/0.bin")
    assert sorted(path.name for path in inbound.iterdir()) == sorted({*contents, AGREED} - {"0.bin", "1.bin"})


def test_openssh_goes_on_with_an_upload_that_broke_off(door: Door, inbound: Path) -> None:
    content = make(door, "a.bin", 3_000_000)
    with door.raw("cnp") as raw:
        handle = raw.open(f"inbound/{AGREED}", 2 | 8)
        assert raw.write(handle, 0, content[:200_000])[0] == 0
    door.desk.wait_for("upload_broken")
    door.sftp("cnp", f"reput a.bin inbound/{AGREED}")
    assert (inbound / AGREED).read_bytes() == content


def test_openssh_gets_and_lists_20_000_entries(door: Door, outbound: Path) -> None:
    for n in range(20_000):
        (outbound / f"{n:05}.lse.gz").touch()
    (outbound / "00000.lse.gz").write_bytes(content := os.urandom(3_000_000))
    listed = door.sftp("acme", "ls -l outbound", "get outbound/00000.lse.gz got").stdout.splitlines()
    lines = [line for line in listed if line.endswith(".lse.gz") and not line.startswith("sftp>")]
    assert len(lines) == 20_000
    assert lines[0].startswith("-r--r--r--    1 0        0             3000000 ")
    assert (door.home / "got").read_bytes() == content
    assert collected(door, "00000.lse.gz")


def test_openssh_goes_on_with_a_download(door: Door, outbound: Path) -> None:
    (outbound / "a.gz").write_bytes(content := os.urandom(300_000))
    (door.home / "a.gz").write_bytes(content[:100_000])
    door.sftp("acme", "reget outbound/a.gz")
    assert (door.home / "a.gz").read_bytes() == content


def test_openssh_shows_the_words_of_a_refusal(door: Door) -> None:
    make(door, "a.bin", 10)
    done = door.sftp("cnp", "put a.bin receipts/a.bin", check=False)
    assert done.returncode != 0
    assert "meterhub: receipts/ is for reading; the hub writes it" in done.stderr


def test_openssh_killed_in_the_middle_leaves_what_it_sent(door: Door, inbound: Path) -> None:
    make(door, "big.bin", 64 << 20)
    options = door.openssh_options("cnp", "Compression=no")
    command = ["sftp", "-l", "8000", *options, "-P", str(door.port), "cnp@127.0.0.1"]
    with subprocess.Popen(
        command, cwd=door.home, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        text=True, start_new_session=True,
    ) as client:  # fmt: skip
        assert client.stdin is not None
        client.stdin.write(f"put big.bin inbound/{AGREED}\n")
        client.stdin.flush()
        part = inbound / f".{AGREED}.part"
        until(lambda: part.exists() and part.stat().st_size >= 100_000)
        os.killpg(client.pid, signal.SIGKILL)
    told = door.desk.wait_for("upload_broken")
    assert part.read_bytes() == (door.home / "big.bin").read_bytes()[: told.more["received"]]
    assert not (inbound / AGREED).exists()


def test_scp_in_sftp_mode_copies_both_ways(door: Door, inbound: Path, outbound: Path) -> None:
    content = make(door, "a.bin", 1_000_000)
    run(door, "scp", "-s", *door.openssh_options("cnp"), "-P", str(door.port), "a.bin",
        f"cnp@127.0.0.1:inbound/{AGREED}")  # fmt: skip
    assert (inbound / AGREED).read_bytes() == content
    (outbound / "a.gz").write_bytes(content)
    run(door, "scp", "-s", *door.openssh_options("acme"), "-P", str(door.port),
        "acme@127.0.0.1:outbound/a.gz", "got")  # fmt: skip
    assert (door.home / "got").read_bytes() == content


# ── Libraries ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
def test_paramiko_puts_checks_renames_and_gets(
    door: Door, inbound: Path, outbound: Path, takes: bool
) -> None:
    door.desk.takes = takes
    content = make(door, "a.bin", 3_000_000)
    with door.paramiko("cnp") as client:
        assert client.put(str(door.home / "a.bin"), f"inbound/{AGREED}").st_size == len(content)
        other = AGREED.replace("001.", "002.")
        client.put(str(door.home / "a.bin"), "inbound/a.tmp")
        client.posix_rename("inbound/a.tmp", f"inbound/{other}")
        assert client.stat(f"inbound/{other}").st_size == len(content)
        assert names(client.listdir("inbound")) == ([] if takes else [AGREED, other])
    folder = door.home / "taken" if takes else inbound
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {AGREED: content, other: content}
    (outbound / "a.gz").write_bytes(content)
    with door.paramiko("acme") as client:
        client.get("outbound/a.gz", str(door.home / "got"))
        assert (door.home / "got").read_bytes() == content
    assert collected(door, "a.gz")


@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
def test_asyncssh_puts_renames_and_gets(door: Door, inbound: Path, outbound: Path, takes: bool) -> None:
    door.desk.takes = takes
    contents = {f"{size}.bin": make(door, f"{size}.bin", size) for size in SIZES}
    (outbound / "a.gz").write_bytes(contents["3000000.bin"])

    async def transfer() -> None:
        options = door.asyncssh_options("cnp")
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            await client.put([str(door.home / name) for name in contents], "/inbound", preserve=True)
            await client.put(str(door.home / "100000.bin"), f"/inbound/{AGREED}")
            assert await client.getsize(f"/inbound/{AGREED}") == 100_000
            file = await client.open("/inbound/a.tmp", "ab")
            await file.write(b"first ")
            await file.write(b"second")
            await file.fsync()
            await file.close()
        options = door.asyncssh_options("acme")
        async with asyncssh.connect(**options) as made, made.start_sftp_client() as client:
            await client.mget("/outbound/*", str(door.home / "got"))

    (door.home / "got").mkdir()
    asyncio.run(asyncio.wait_for(transfer(), SECONDS))
    assert {path.name: path.read_bytes() for path in inbound.iterdir() if path.name in contents} == contents
    assert (inbound / "a.tmp").read_bytes() == b"first second"
    assert (door.home / "got" / "a.gz").read_bytes() == contents["3000000.bin"]
    assert collected(door, "a.gz")


# ── Other programs ───────────────────────────────────────────────────────────────────────────────


def lftp(door: Door, login: str, commands: str) -> str:
    ssh = " ".join(["ssh -a -x", *door.openssh_options(login)])
    script = f'set sftp:connect-program "{ssh}"; set cmd:fail-exit true; set net:max-retries 1;'
    return run(door, "lftp", "-c", f"{script} open -u {login}, sftp://127.0.0.1:{door.port}; {commands}")


@needs("lftp")
@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
def test_lftp_puts_goes_on_mirrors_and_gets(door: Door, inbound: Path, outbound: Path, takes: bool) -> None:
    door.desk.takes = takes
    content = make(door, "a.bin", 3_000_000)
    (inbound / ".b.tmp.part").write_bytes(content[:1_000_000])
    lftp(
        door,
        "cnp",
        f"put a.bin -o inbound/{AGREED}; put -c a.bin -o inbound/b.tmp; mv inbound/b.tmp inbound/c",
    )
    assert (inbound / "c").read_bytes() == content
    assert ((door.home / "taken" if takes else inbound) / AGREED).read_bytes() == content
    night = door.home / "night"
    night.mkdir()
    for n in range(5):
        (night / f"{n}.bin").write_bytes(content[: n * 1000])
    lftp(door, "cnp", "mirror -R night inbound")
    assert all((inbound / f"{n}.bin").stat().st_size == n * 1000 for n in range(5))
    for n in range(5):
        (outbound / f"{n}.gz").write_bytes(content[: n * 100_000])
    lftp(door, "acme", "mirror outbound got")
    assert all((door.home / "got" / f"{n}.gz").stat().st_size == n * 100_000 for n in range(5))
    # It ends its `ssh` before the CLOSE of its last file is sent; nothing is said of that one.
    assert collected(door, *(f"{n}.gz" for n in range(4)))


BIN = Path(sys.executable).parent
ELSEWHERE = os.pathsep.join(one for one in os.get_exec_path() if Path(one) != BIN)


@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
@pytest.mark.parametrize(
    "rclone",
    [
        pytest.param(
            shutil.which("rclone", path=ELSEWHERE) or "rclone", id="the system's", marks=needs("rclone")
        ),
        pytest.param(str(BIN / "rclone"), id="the current one"),
    ],
)
def test_rclone_copies_both_ways(door: Door, inbound: Path, outbound: Path, takes: bool, rclone: str) -> None:
    door.desk.takes = takes
    config = door.home / "rclone.conf"
    config.write_text(
        "".join(
            f"[{login}]\ntype = sftp\nhost = 127.0.0.1\nport = {door.port}\nuser = {login}\n"
            f"key_file = {door.key_files[login]}\n"
            for login in ("cnp", "acme")
        )
    )
    night = door.home / "night"
    night.mkdir()
    contents = {f"{size}.bin": os.urandom(size) for size in SIZES}
    contents[AGREED] = os.urandom(300_000)
    for name, content in contents.items():
        (night / name).write_bytes(content)
    run(door, rclone, "--config", config, "--retries", "1", "copy", night, "cnp:inbound")
    found = {path.name: path.read_bytes() for path in inbound.iterdir()}
    if takes:
        found[AGREED] = (door.home / "taken" / AGREED).read_bytes()
    assert found == contents
    (outbound / "a.gz").write_bytes(content := os.urandom(3_000_000))
    run(door, rclone, "--config", config, "--retries", "1", "copy", "acme:outbound", door.home / "got")
    assert (door.home / "got" / "a.gz").read_bytes() == content
    assert collected(door, "a.gz")


@needs("curl")
@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
def test_curl_puts_and_gets(door: Door, inbound: Path, outbound: Path, takes: bool) -> None:
    assert "sftp" in run(door, "curl", "--version").split(), "this curl was built without sftp"
    door.desk.takes = takes
    content = make(door, "a.bin", 3_000_000)
    (outbound / "a.gz").write_bytes(content)
    url = f"sftp://127.0.0.1:{door.port}"

    def options(login: str) -> list[str]:
        key = asyncssh.read_private_key(door.key_files[login])
        public = door.home / f"{login}.pub"
        public.write_bytes(key.export_public_key())
        return [
            "-sS",
            "--insecure",
            "-u",
            f"{login}:",
            "--key",
            f"{door.key_files[login]}",
            "--pubkey",
            f"{public}",
        ]

    run(door, "curl", *options("cnp"), "-T", "a.bin", f"{url}/inbound/{AGREED}")
    run(
        door,
        "curl",
        *options("cnp"),
        "-T",
        "a.bin",
        f"{url}/inbound/a.tmp",
        "-Q",
        "-rename /inbound/a.tmp /inbound/b",
    )
    assert ((door.home / "taken" if takes else inbound) / AGREED).read_bytes() == content
    assert (inbound / "b").read_bytes() == content
    run(door, "curl", *options("acme"), "-o", "got", f"{url}/outbound/a.gz")
    assert (door.home / "got").read_bytes() == content
    assert "a.gz" in run(door, "curl", *options("acme"), f"{url}/outbound/")
    assert collected(door, "a.gz")


@needs("psftp", "puttygen")
@pytest.mark.parametrize("takes", [False, True], ids=["file stays", "file is taken in at once"])
def test_psftp_puts_goes_on_renames_and_gets(door: Door, inbound: Path, outbound: Path, takes: bool) -> None:
    door.desk.takes = takes
    content = make(door, "a.bin", 3_000_000)
    (outbound / "a.gz").write_bytes(content)
    fingerprint = asyncssh.import_public_key(door.host_key).get_fingerprint()

    def psftp(login: str, *commands: str) -> str:
        ppk = door.home / f"{login}.ppk"
        if not ppk.exists():
            run(door, "puttygen", door.key_files[login], "-O", "private", "-o", ppk)
        options = ("-batch", "-P", str(door.port), "-hostkey", fingerprint, "-i", ppk, "-b", "/dev/stdin")
        return run(door, "psftp", *options, f"{login}@127.0.0.1", more="\n".join(commands) + "\n")

    psftp("cnp", f"put a.bin inbound/{AGREED}", "put a.bin inbound/a.tmp", "mv inbound/a.tmp inbound/b")
    assert ((door.home / "taken" if takes else inbound) / AGREED).read_bytes() == content
    assert (inbound / "b").read_bytes() == content
    (inbound / ".c.tmp.part").write_bytes(content[:1_000_000])
    psftp("cnp", "reput a.bin inbound/c.tmp")
    assert (inbound / "c.tmp").read_bytes() == content
    assert "a.gz" in psftp("acme", "ls outbound", "get outbound/a.gz got")
    assert (door.home / "got").read_bytes() == content
    assert collected(door, "a.gz")
