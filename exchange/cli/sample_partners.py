"""The partners of a sample night, with keys of their own: enough to log in as each at once."""

import shlex
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import asyncssh

from config import partner_file, partners
from config.home import Home
from config.partners import Role
from config.settings import Sftp
from exchange.keys import HostKey
from jobs.stores import files
from schemas import sample

_FOLLOWING = ("known_hosts", "ssh_config")


@dataclass(frozen=True, slots=True, kw_only=True)
class Brought:
    """The files of the sample partners, each with whether it was made now, and how to log in."""

    files: dict[Path, bool]
    renewed: tuple[Path, ...]  # were there, and say something else now
    logins: list[dict[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Party:
    id: str
    role: Role
    name: str
    duns: str
    zone: str = ""


def keys_folder(home: Home) -> Path:
    """Where the sample partners' private keys lie, a file each, beside an `ssh_config` for them all."""
    return home.root / "config" / "sample_keys"


def bring(home: Home, host_keys: Iterable[HostKey], door: Sftp) -> Brought:
    """Make the sample partners that are missing, with a key each.

    Raises PartnerError, and makes none, if one of them would contradict a partner that is there.
    """
    folder = keys_folder(home)
    known = partners.known(home)
    missing = [one for one in _parties() if not (home.partners / f"{one.id}.toml").exists()]
    own = {one.id: _key(folder / one.id) for one in missing}
    texts = {f"{one.id}.toml": _text(one, own[one.id]) for one in missing}
    for name, text in texts.items():
        known.admit(partners.parse(text, file=name))
    folder.mkdir(mode=0o700, exist_ok=True)
    brought: dict[Path, bool] = {}
    for one in _parties():
        file = home.partners / f"{one.id}.toml"
        brought[file] = one in missing
        if one in missing:  # the key first: with it alone the next run can go on
            files.write(folder / one.id, own[one.id].export_private_key("openssh"), mode=0o600)
            files.write(file, texts[file.name].encode())
        if (folder / one.id).exists():
            brought[folder / one.id] = one in missing
    before = {name: (folder / name).exists() for name in _FOLLOWING}
    written = renew(home, host_keys, door)
    brought |= {folder / name: not there for name, there in before.items()}
    return Brought(
        files=brought,
        renewed=tuple(file for file in written if before[file.name]),
        logins=[_login(folder, one) for one in _with_keys(folder)],
    )


def renew(home: Home, host_keys: Iterable[HostKey], door: Sftp) -> list[Path]:
    """Bring up to date what follows from the home's place, its port and its host keys.

    Returns the files that were not so before.
    """
    folder = keys_folder(home)
    wanted = {
        folder / "known_hosts": _known_hosts(host_keys, door).encode(),
        folder / "ssh_config": _ssh_config(folder, _with_keys(folder), door).encode(),
    }
    stale = [file for file, text in wanted.items() if not file.exists() or file.read_bytes() != text]
    for file in stale:
        files.write(file, wanted[file])
    return stale


def _with_keys(folder: Path) -> list[_Party]:
    """The sample partners whose private key lies there."""
    return [one for one in _parties() if (folder / one.id).exists()]


def _login(folder: Path, one: _Party) -> dict[str, str]:
    return {
        "id": one.id,
        "role": one.role,
        "name": one.name,
        "key": str(folder / one.id),
        "login": f"sftp -F {shlex.quote(str(folder / 'ssh_config'))} {one.id}",
    }


def _parties() -> Iterable[_Party]:
    for edc in sample.EDCS:
        yield _Party(id=edc.id, role=Role.EDC, name=edc.name, duns=edc.duns, zone=edc.zone.key)
    for egs in sample.EGSS:
        yield _Party(id=egs.id, role=Role.EGS, name=egs.name, duns=egs.duns)


def _text(one: _Party, key: asyncssh.SSHKey) -> str:
    public = key.export_public_key("openssh").decode().strip()
    return partner_file.new(
        id=one.id, role=one.role, name=one.name, duns=one.duns, zone=one.zone, keys=[public]
    )


def _key(file: Path) -> asyncssh.SSHKey:
    """The private key in `file`, or a new one for it."""
    if file.exists():
        return asyncssh.read_private_key(file)
    return asyncssh.generate_private_key("ssh-ed25519", comment=f"{file.name}-sample")


def _address(door: Sftp) -> str:
    """Where a client on this machine finds the door."""
    return {"0.0.0.0": "127.0.0.1", "": "127.0.0.1", "::": "::1"}.get(door.host, door.host)  # noqa: S104


def _known_hosts(host_keys: Iterable[HostKey], door: Sftp) -> str:
    place = _address(door) if door.port == 22 else f"[{_address(door)}]:{door.port}"
    return "".join(f"{place} {key.public}\n" for key in host_keys)


def _ssh_config(folder: Path, parties: Iterable[_Party], door: Sftp) -> str:
    place = str(folder).replace("%", "%%")  # a % begins a token of OpenSSH's
    lines = ["# Made by `meterhub init --sample`, brought up to date by `meterhub serve`."]
    for one in parties:
        lines += [
            f"Host {one.id}",
            f"    HostName {_address(door)}",
            f"    Port {door.port}",
            f"    User {one.id}",
            f'    IdentityFile "{place}/{one.id}"',
            "    IdentitiesOnly yes",
            f'    UserKnownHostsFile "{place}/known_hosts"',
        ]
    return "\n".join(lines) + "\n"
