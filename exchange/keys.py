"""Keys at the door: the hub's own, by which partners know it, and who of the partners may come in."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import asyncssh

from config.authorized_key import AuthorizedKey
from config.errors import OperatorError
from config.partners import Partner
from exchange import addresses, certificates
from exchange.certificates import Certificate

_HOST_KEYS: Mapping[str, tuple[str, dict[str, int]]] = {
    "ssh_host_ed25519_key": ("ssh-ed25519", {}),
    "ssh_host_rsa_key": ("ssh-rsa", {"key_size": 3072}),
}
_SIGNS_SHEETS: Mapping[str, tuple[str, dict[str, int]]] = {"proof_sheets_ed25519_key": ("ssh-ed25519", {})}
# What each kind of host key signs with. `ssh-rsa` signs with SHA-1, and is offered to nobody but by exception.
_SIGNS_WITH = {
    "ssh-ed25519": (b"ssh-ed25519",),
    "ssh-rsa": (b"ssh-rsa", b"rsa-sha2-512", b"rsa-sha2-256"),  # the last one proves it to who learns of it
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostKey:
    """One of the hub's own keys, as partners check it."""

    file: Path
    fingerprint: str  # `SHA256:…`
    public: str  # a line for `known_hosts`, without the host


def make_host_keys(folder: Path) -> tuple[HostKey, ...]:
    """Make the host keys that are not in `folder` yet (Ed25519, RSA with 3072 bits), and name them all; and
    beside them the key that signs proof sheets, which is no host key.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for name, (algorithm, options) in {**_HOST_KEYS, **_SIGNS_SHEETS}.items():
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
    """The host keys as objects, loaded once: given by file name they would be read at every login. Which of
    them is offered to whom is the listener's to say.

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
            pair.set_sig_algorithm(algorithm)
            pairs.append(pair)
    if not pairs:
        raise OperatorError(
            "host-keys-missing", f"there is no host key in {folder}", "make them with: meterhub init"
        )
    return tuple(pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Proof:
    """What somebody has proved to hold, and how: a key that is listed, or one that an authority certified."""

    fingerprint: str  # of the key
    certificate: Certificate | None = None
    old: frozenset[str] = frozenset()  # algorithms of the connection that only an exception allows

    def told(self) -> dict[str, object]:
        """As events have it."""
        if self.certificate is None:
            return {"key": self.fingerprint}
        signed = self.certificate
        return {
            "key": self.fingerprint,
            "key_id": certificates.printable(signed.key_id),
            "serial": signed.serial,
            "authority": signed.authority,
        }


def authorized(partner: Partner | None, fingerprint: str) -> AuthorizedKey | None:
    """The partner's key with that fingerprint, expired or not."""
    return _named(partner.keys if partner is not None else (), fingerprint)


def old_allowed(partner: Partner | None, *, address: str, today: date) -> frozenset[str]:
    """The old algorithms that an exception allows the partner, from there, today. `today` is in UTC."""
    if partner is None or partner.legacy is None or partner.disabled or not is_listed(partner, address):
        return frozenset()
    return partner.legacy.on(today)


def is_listed(partner: Partner, address: str) -> bool:
    """Whether the partner's `allow_from` names the address."""
    return any(addresses.plain(address) in network for network in partner.allow_from)


def refusal(partner: Partner | None, *, proof: Proof, address: str, now: datetime) -> tuple[str, str] | None:
    """Why whoever has proved that may not come in: a code for the log, and words for the partner.

    None: it may. The words are for somebody who has proved to hold the key, and for nobody else: they
    say that the login exists. `now` is in UTC, as the last days of keys are.
    """
    if partner is None:
        return "login-closed", "this login was closed; ask the hub's operator"
    if proof.certificate is None:
        found = _key_refusal(partner, proof.fingerprint, today=now.date())
    else:
        found = _certificate_refusal(partner, proof.certificate, address=address, now=now)
    if found is not None:
        return found
    if partner.allow_from and not is_listed(partner, address):
        return "address", f"this login does not open to {address}; the hub's operator keeps the list"
    if refused := proof.old - old_allowed(partner, address=address, today=now.date()):
        words = f"this hub no longer speaks {', '.join(sorted(refused))} with this login; use a newer client"
        return "old-algorithms", words
    return None


def _key_refusal(partner: Partner, fingerprint: str, *, today: date) -> tuple[str, str] | None:
    key = authorized(partner, fingerprint)
    if key is None:
        return "key-removed", "this key is no longer listed for this login; ask the hub's operator"
    if fingerprint in partner.revoked.keys:
        return "key-revoked", "this key was revoked; send the hub's operator a new public key"
    if key.expires is not None and today > key.expires:
        return "key-expired", f"this key expired on {key.expires}; send the hub's operator a new public key"
    return None


def _certificate_refusal(
    partner: Partner, found: Certificate, *, address: str, now: datetime
) -> tuple[str, str] | None:
    authority = _named(partner.authorities, found.authority)
    if authority is None:
        return (
            "authority-removed",
            "who signed this certificate is no longer listed for this login; ask the hub's operator",
        )
    if authority.expires is not None and now.date() > authority.expires:
        words = f"who signed this certificate was listed until {authority.expires}; ask the hub's operator"
        return "authority-expired", words
    revoked = partner.revoked
    if {found.key, found.authority} & revoked.keys or revoked.certificate(
        serial=found.serial, key_id=found.key_id
    ):
        return "certificate-revoked", "this certificate was revoked; have a new one signed"
    return certificates.refusal(found, login=partner.id, address=address, now=now)


def _named(keys: Iterable[AuthorizedKey], fingerprint: str) -> AuthorizedKey | None:
    return next((key for key in keys if key.fingerprint == fingerprint), None)


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
