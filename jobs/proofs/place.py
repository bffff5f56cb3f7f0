"""Where the files of a home are, for those who only look."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from config.home import Home
from config.partners import Partners
from config.settings import Settings

_PIECE = 4 << 20  # bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A home that is looked at. Nothing in it is changed."""

    home: Home
    settings: Settings
    partners: Partners
    now: datetime

    @property
    def lake(self) -> Path:
        return self.settings.lake_folder(self.home)

    def mailbox(self, partner: str, folder: str) -> Path:
        return self.home.sftp_root / partner / folder

    def named(self, path: Path) -> str:
        """A file as a finding names it: below the home where it lies there."""
        return str(path.relative_to(self.home.root)) if path.is_relative_to(self.home.root) else str(path)


def pieces(path: Path) -> Iterator[bytes]:
    """A file's bytes, a few at a time. Raises FileNotFoundError."""
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            yield piece


def sha256(path: Path) -> str:
    """Raises FileNotFoundError."""
    digest = hashlib.sha256()
    for piece in pieces(path):
        digest.update(piece)
    return digest.hexdigest()


def files_below(folder: Path) -> Iterator[Path]:
    """Every file below a folder, but for those that are being written aside (jobs.stores.files)."""
    if folder.is_dir():
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not (path.name.startswith(".") and path.suffix == ".aside"):
                yield path
