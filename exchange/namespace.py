"""What a partner sees behind the door: a few flat folders by its role, and files in them.

A path that a client sends is taken apart as text and looked up here. None is ever walked on disk, so
no link, `..` or odd spelling leads anywhere: there is nothing but these folders to be found.
"""

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from config.partners import Role
from exchange.sftp_v3 import Attributes, Code, Refusal
from schemas import file_name

_UPLOAD_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,199}")
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,254}")  # receipts add to the name they are for
NAME_RULE = "a name has 1 to 200 of A-Z a-z 0-9 . _ - and does not begin with . or -"


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """One of the folders. `closed` says in words why nothing can be uploaded into it for now."""

    name: str
    uploads: bool = False  # its partner writes into it; otherwise its partner reads from it
    closed: str = ""

    @property
    def mode(self) -> int:
        return stat.S_IFDIR | (0o755 if self.uploads else 0o555)

    @property
    def file_mode(self) -> int:
        return stat.S_IFREG | (0o644 if self.uploads else 0o444)


_REQUESTS = Folder(name="requests", uploads=True, closed="history requests are not served yet")

FOLDERS: Mapping[Role, tuple[Folder, ...]] = {
    Role.EDC: (Folder(name="inbound", uploads=True), Folder(name="receipts"), Folder(name="reports")),
    Role.EGS: (Folder(name="outbound"), Folder(name="reports"), Folder(name="history"), _REQUESTS),
    Role.THIRD_PARTY: (Folder(name="history"), _REQUESTS),
    Role.AUDITOR: (),  # what it sees is in nobody's folder: exchange/looking.py
}
ROOT_MODE = stat.S_IFDIR | 0o555


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What a path means: the top (no folder), a folder (no name), or a name in a folder."""

    folder: Folder | None = None
    name: str = ""

    def file(self) -> tuple[Folder, str]:
        """The folder and the name, where only a file will do."""
        if self.folder is None or not self.name:
            raise Refusal(Code.FAILURE, "that is a folder, not a file")
        return self.folder, self.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A file that is there, whole or not."""

    path: Path
    whole: bool
    attributes: Attributes


class NameRefusal(Refusal):
    """A name that no upload may have."""


def canonical(path: bytes) -> bytes:
    """The path as a client is told it: absolute, without `.`, `..` and doubled slashes."""
    parts: list[bytes] = []
    for part in path.split(b"/"):
        if part == b"..":
            del parts[-1:]
        elif part not in {b"", b"."}:
            parts.append(part)
    return b"/" + b"/".join(parts)


def place(role: Role, path: bytes) -> Place:
    """What `path` means for a partner of that role.

    Raises Refusal (no such file) for anything that is not the top, a folder, or directly in a folder.
    """
    parts = [part for part in canonical(path).split(b"/") if part]
    folders = {folder.name.encode(): folder for folder in FOLDERS[role]}
    if not parts:
        return Place()
    if len(parts) > 2 or parts[0] not in folders:
        raise Refusal(Code.NO_SUCH_FILE, "there is no such file or folder")
    folder = folders[parts[0]]
    # What is no ASCII is no name either: it is never found, and refused where one is to be made.
    return Place(folder=folder, name=parts[1].decode("ascii", "replace") if len(parts) == 2 else "")


def leads_into_a_folder(role: Role, path: bytes) -> bool:
    """Whether `path` is one of the role's folders, or something in one."""
    first = canonical(path).split(b"/")[1]
    return not first or first in {folder.name.encode() for folder in FOLDERS[role]}


def nowhere(role: Role) -> Refusal:
    """What is said to a partner that would put a file where there is no folder for it."""
    into = [folder.name for folder in FOLDERS[role] if folder.uploads and not folder.closed]
    if not into:
        return Refusal(Code.PERMISSION_DENIED, "there is nothing here that this login can upload into")
    return Refusal(Code.PERMISSION_DENIED, f"files go into {into[0]}/, as in: put FILE {into[0]}/")


def is_agreed(name: str) -> bool:
    """Whether a finished upload of that name is a drop, not a file that waits for its rename."""
    return isinstance(file_name.parse(name), file_name.FileName)


def require_uploads(folder: Folder) -> None:
    """Refuse, in words, to change anything in a folder that its partner does not write."""
    if not folder.uploads:
        raise Refusal(Code.PERMISSION_DENIED, f"{folder.name}/ is for reading; the hub writes it")
    if folder.closed:
        raise Refusal(Code.PERMISSION_DENIED, folder.closed)


def require_upload_name(name: str) -> None:
    """Refuse, in words, a name that no upload may have."""
    if not _UPLOAD_NAME.fullmatch(name):
        raise NameRefusal(Code.FAILURE, f"this name is not allowed: {NAME_RULE}")


def part_name(name: str) -> str:
    """What an upload is called on disk until it is whole."""
    return f".{name}.part"


def shown(folder: Folder, disk_name: str) -> tuple[str, bool] | None:
    """The name under which a client sees a file, and whether the file is whole; None: it sees nothing."""
    if _NAME.fullmatch(disk_name):
        return disk_name, True
    if folder.uploads and disk_name.startswith(".") and disk_name.endswith(".part"):
        name = disk_name[1 : -len(".part")]
        return (name, False) if _UPLOAD_NAME.fullmatch(name) else None
    return None


def find(path: Path, folder: Folder, name: str) -> Found | None:
    """The file that a client sees as `name` in the folder that is `path` on disk."""
    if not _NAME.fullmatch(name):
        return None
    unfinished = folder.uploads and _UPLOAD_NAME.fullmatch(
        name
    )  # no other name is one, and is too long for a disk
    choices = [(name, True), (part_name(name), False)] if unfinished else [(name, True)]
    for disk_name, whole in choices:
        try:
            found = (path / disk_name).lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISREG(found.st_mode):
            return Found(path=path / disk_name, whole=whole, attributes=file_attributes(folder, found))
    return None


def file_attributes(folder: Folder, found: os.stat_result) -> Attributes:
    return Attributes(size=found.st_size, mode=folder.file_mode, mtime=_seconds(found.st_mtime))


def folder_attributes(folder: Folder, path: Path) -> Attributes:
    return Attributes(size=0, mode=folder.mode, mtime=_seconds(path.stat().st_mtime))


def _seconds(mtime: float) -> int:
    return min(max(int(mtime), 0), 0xFFFFFFFF)  # the protocol's field is 32 bits wide
