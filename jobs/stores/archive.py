"""The archive: every drop's bytes as they came, by content hash, read-only, for good.

Bytes that came gzipped are kept as they are; others are compressed on the way in. `read` gives back
what came, bit for bit.
"""

import hashlib
import os
from pathlib import Path

from isal import igzip, isal_zlib

from jobs.stores import files


class DamagedError(OSError):
    """What is archived under a hash cannot be unpacked."""


class Archive:
    """A folder of immutable files named by the SHA-256 of what arrived."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, sha256: str) -> Path | None:
        """Where the bytes of that hash lie, or None when they do not."""
        for ending in ("", ".gz"):
            path = self.root / sha256[:2] / (sha256 + ending)
            if path.exists():
                return path
        return None

    def keep(self, content: bytes, *, sha256: str, packed: bytes | None) -> str:
        """Keep bytes under their hash, durably; `packed` is their gzip form where it is to be kept. The
        hash of the file as it is kept.
        """
        held = self.path(sha256)
        if held is not None:
            return hashlib.sha256(held.read_bytes()).hexdigest()
        path = self.root / sha256[:2] / (sha256 + ("" if packed is None else ".gz"))
        files.write(path, content if packed is None else packed, mode=0o444)
        return sha256 if packed is None else hashlib.sha256(packed).hexdigest()

    def read(self, sha256: str) -> bytes:
        """The bytes as they came. Raises FileNotFoundError when the archive has lost them, DamagedError when they cannot
        be unpacked any more.
        """
        path = self.path(sha256)
        if path is None:
            raise FileNotFoundError(os.fspath(self.root / sha256[:2] / sha256))
        content = path.read_bytes()
        if path.suffix != ".gz":
            return content
        try:
            return bytes(igzip.decompress(content))
        except (OSError, EOFError, isal_zlib.error) as error:  # type: ignore[misc] # its stub says too little
            raise DamagedError(f"{path} cannot be unpacked: {error}") from error
