"""Keys at the door: the hub's own, by which partners know it, and who of the partners may come in."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import asyncssh

from config.authorized_key import AuthorizedKey
from config.errors import OperatorError
from config.partners import Partner
from exchange import addresses

_HOST_KEYS: Mapping[str, tuple[str, dict[str, int]]] = {
    "ssh_host_ed25519_key": ("ssh-ed25519", {}),
    "ssh_host_rsa_key": ("ssh-rsa", {"key_size": 3072}),
}
# What each kind of host key signs with. `ssh-rsa` is left out: it signs with SHA-1.
_SIGNS_WITH = {
    "ssh-ed25519": (b"ssh-ed25519",),
    "ssh-rsa": (b"rsa-sha2-512", b"rsa-sha2-256"),
}
# What a partner's key may sign with.
SIGNATURES = (
    "ssh-ed25519",
    "sk-ssh-ed25519@openssh.com",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ecdsa-sha2-nistp256@openssh.com",
    "rsa-sha2-512",
    "rsa-sha2-256",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """One of the hub's own keys, as partners check it."""

    file: Path
    fingerprint: str  # `SHA256:…`
    public: str  # a line for `known_hosts`, without the host


def make_host_keys(folder: Path) -> tuple[HostKey, ...]:
    """Make the host keys that are not in `folder` yet (Ed25519, RSA with 3072 bits), and name them all."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, (algorithm, options) in _HOST_KEYS.items():
        file = folder / name
        if not file.exists():
            key = asyncssh.generate_private_key(algorithm, comment="meterhub", **options)
            _write(file, key.export_private_key("openssh"), 0o600)
            _write(file.with_name(f"{name}.pub"), key.export_public_key("openssh"), 0o644)
    return host_keys(folder)


def host_keys(folder: Path) -> tuple[HostKey, ...]:
    """The host keys in `folder`, as partners check them."""
    return tuple(_host_key(file, asyncssh.read_private_key(file)) for file in _files(folder))


def load_host_keys(folder: Path) -> tuple[asyncssh.SSHKeyPair, ...]:
    """The host keys as objects, loaded once: given by file name they would be read at every login.

    One object for each algorithm that a key signs with: the library notes the algorithm that a client
    chose on the object itself, and two clients at once must not choose for each other.
    Raises OperatorError if there are none.
    """
    pairs: list[asyncssh.SSHKeyPair] = []
    for file in _files(folder):
        key = asyncssh.read_private_key(file)
        for algorithm in _SIGNS_WITH.get(key.get_algorithm(), ()):
            (pair,) = asyncssh.load_keypairs([key])
            pair.host_key_algorithms = (algorithm,)
            pair.set_sig_algorithm(algorithm)  # or RSA would prove itself with SHA-1 to who learns of it
            pairs.append(pair)
    if not pairs:
        raise OperatorError(
            "host-keys-missing", f"there is no host key in {folder}", "make them with: meterhub init"
        )
    return tuple(pairs)


def authorized(partner: Partner | None, fingerprint: str) -> AuthorizedKey | None:
    """The partner's key with that fingerprint, expired or not."""
    keys: Sequence[AuthorizedKey] = partner.keys if partner is not None else ()
    return next((key for key in keys if key.fingerprint == fingerprint), None)


def refusal(
    partner: Partner | None, *, fingerprint: str, address: str, today: date
) -> tuple[str, str] | None:
    """Why whoever holds that key may not come in: a code for the log, and words for the partner.

    None: it may. The words are for somebody who has proved to hold the key, and for nobody else: they
    say that the login exists. `today` is the date in UTC.
    """
    if partner is None:
        return "login-closed", "this login was closed; ask the hub's operator"
    key = authorized(partner, fingerprint)
    if key is None:
        return "key-removed", "this key is no longer listed for this login; ask the hub's operator"
    if key.expires is not None and today > key.expires:
        return "key-expired", f"this key expired on {key.expires}; send the hub's operator a new public key"
    if partner.allow_from and not any(addresses.plain(address) in network for network in partner.allow_from):
        return "address", f"this login does not open to {address}; the hub's operator keeps the list"
    return None


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("ssh_host_*_key"))


def _host_key(file: Path, key: asyncssh.SSHKey) -> HostKey:
    public = key.export_public_key("openssh").decode().strip()
    return HostKey(file=file, fingerprint=key.get_fingerprint(), public=public)


def _write(file: Path, content: bytes, mode: int) -> None:
    """Nobody else can read a private key at any moment, and half a key is never found."""
    aside = file.with_name(f".{file.name}.aside")
    aside.unlink(missing_ok=True)
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    with os.fdopen(descriptor, "wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    aside.rename(file)
