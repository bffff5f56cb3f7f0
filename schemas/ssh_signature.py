"""Signatures as `ssh-keygen -Y verify` checks them. Source: OpenSSH's PROTOCOL.sshsig."""

import base64
import hashlib
import struct
import textwrap

ENDING = ".sig"
_MAGIC = b"SSHSIG"
_ALGORITHM, _HASH = b"ssh-ed25519", b"sha512"


def to_sign(message: bytes, *, namespace: str) -> bytes:
    """The bytes that are signed: not the message itself, but its hash, and what the signature is for."""
    digest = hashlib.sha512(message).digest()
    return _MAGIC + b"".join(map(_string, (namespace.encode(), b"", _HASH, digest)))


def armored(signature: bytes, *, public_key: bytes, namespace: str) -> str:
    """The signature's file, of an Ed25519 signature (64 bytes) and the public key (32 bytes) it is checked with."""
    key = _string(_ALGORITHM) + _string(public_key)
    signed = _string(_ALGORITHM) + _string(signature)
    blob = _MAGIC + struct.pack(">I", 1)
    blob += b"".join(map(_string, (key, namespace.encode(), b"", _HASH, signed)))
    lines = textwrap.wrap(base64.b64encode(blob).decode(), 70)
    return "\n".join(("-----BEGIN SSH SIGNATURE-----", *lines, "-----END SSH SIGNATURE-----", ""))


def _string(content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + content
