"""The key that signs proof sheets: one of its own, so that a change of host keys leaves old sheets as they are."""

from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key

from config.errors import OperatorError
from schemas import ssh_signature


@dataclass(frozen=True, slots=True)
class Signer:
    """Signs in the hub's name. The same message has the same signature each time."""

    _key: Ed25519PrivateKey

    def sign(self, message: bytes, *, namespace: str) -> str:
        """The file of a signature that `ssh-keygen -Y verify` checks."""
        return ssh_signature.armored(
            self._key.sign(ssh_signature.to_sign(message, namespace=namespace)),
            public_key=self._key.public_key().public_bytes_raw(),
            namespace=namespace,
        )


def load(file: Path) -> Signer | None:
    """The signer whose key that file has; None where there is none. Raises OperatorError for another kind."""
    if not file.exists():
        return None
    try:
        key = load_ssh_private_key(file.read_bytes(), password=None)
    except ValueError as error:
        raise OperatorError("signing-key", f"{file} cannot be read: {error}", _HINT) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise OperatorError("signing-key", f"{file} holds another key than Ed25519", _HINT)
    return Signer(key)


_HINT = "put the right key back, or take it away and have `meterhub init` make a new one"
