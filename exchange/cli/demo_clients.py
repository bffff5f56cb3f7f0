"""The partners of the demo: each a process of its own that speaks SFTP by paramiko, and knows only its key."""

import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko
from isal import igzip

_FINAL = re.compile(r"\.(accepted|partial|rejected|duplicate)\.json$")
_PATIENCE = 300.0  # seconds that a receipt may take
_SLOW = 60.0  # seconds that a busy hub may take to answer at the door
_LOOK_AGAIN = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Client:
    """How one partner reaches the hub. `keys`: the folder with its private key and the known hosts."""

    login: str
    host: str
    port: int
    keys: Path

    @contextlib.contextmanager
    def connect(self) -> Iterator[paramiko.SFTPClient]:
        with paramiko.SSHClient() as ssh:
            ssh.load_host_keys(str(self.keys / "known_hosts"))
            ssh.connect(
                self.host,
                self.port,
                self.login,
                key_filename=str(self.keys / self.login),
                banner_timeout=_SLOW,
                auth_timeout=_SLOW,
                allow_agent=False,
                look_for_keys=False,
            )
            with ssh.open_sftp() as sftp:
                yield sftp


@dataclass(frozen=True, slots=True, kw_only=True)
class Uploaded:
    """What an EDC learned of its uploads: how long they took, and each one's final receipt, by name."""

    seconds: float
    receipts: dict[str, dict[str, Any]]


def upload(client: Client, files: list[Path]) -> Uploaded:
    """Upload files as a careful sender does, under a temporary name, and wait for their final receipts."""
    with client.connect() as sftp:
        began = time.monotonic()
        for file in files:
            sftp.put(str(file), f"inbound/{file.name}.tmp")
            sftp.rename(f"inbound/{file.name}.tmp", f"inbound/{file.name}")
        seconds = time.monotonic() - began
        receipts: dict[str, dict[str, Any]] = {}
        while len(receipts) < len(files):
            if time.monotonic() - began > seconds + _PATIENCE:
                missing = [file.name for file in files if file.name not in receipts]
                raise TimeoutError(f"no final receipt within {_PATIENCE:.0f} s for {', '.join(missing)}")
            for name in sftp.listdir("receipts"):
                wanted = next((f.name for f in files if name.startswith(f"{f.name}.")), None)
                if wanted is not None and wanted not in receipts and _FINAL.search(name):
                    with sftp.open(f"receipts/{name}") as file_:
                        receipts[wanted] = json.loads(file_.read())
            time.sleep(_LOOK_AGAIN)
    return Uploaded(seconds=seconds, receipts=receipts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Downloaded:
    """What an EGS took home: the names of new files, and every account in them."""

    files: list[str]
    size: int  # bytes
    blocks: int
    accounts: set[str]


def download(client: Client, into: Path) -> Downloaded:
    """Fetch every outbound file that is not there yet, and look what is in it."""
    into.mkdir(parents=True, exist_ok=True)
    accounts: list[str] = []
    files: list[str] = []
    size = 0
    with client.connect() as sftp:
        for name in sorted(sftp.listdir("outbound")):
            here = into / name
            if not here.exists():
                sftp.get(f"outbound/{name}", str(here))
                if name.endswith(".lse.gz"):
                    files.append(name)
                    size += here.stat().st_size
                    accounts += accounts_in(here)
    return Downloaded(files=files, size=size, blocks=len(accounts), accounts=set(accounts))


def look(client: Client) -> list[str]:
    """The names of the outbound files that lie there now."""
    with client.connect() as sftp:
        return sorted(name for name in sftp.listdir("outbound") if name.endswith(".lse.gz"))


def accounts_in(file: Path) -> list[str]:
    """The account of each block of an LSE file, found without any of the hub's own code."""
    found = re.findall(rb"^00000001,([^,]*),", igzip.decompress(file.read_bytes()), re.MULTILINE)
    return [account.decode() for account in found]
