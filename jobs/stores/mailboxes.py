"""The mailboxes: the folders below sftp_root/ that partners see, and the files the hub lays in them.

While an upload is under way or broken off, its file is hidden as `inbound/.<name>.part`; only an
upload that its client closed lies there under its name. So what is whole survives a crash.
"""

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.stores import files


@dataclass(frozen=True, slots=True)
class Laid:
    """A receipt, report or manifest that lies in a partner's folder, and its hash."""

    partner: str
    folder: str
    name: str
    sha256: str


class Mailboxes:
    """All partners' folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def folder(self, partner: str, folder: str) -> Path:
        """A folder of a partner, made when it is not there yet."""
        path = self.root / partner / folder
        files.make_folder(path)
        return path

    def whole(self, partner: str, name: str, folder: str = "inbound") -> Path:
        """Where a finished upload of that name lies."""
        return self.folder(partner, folder) / name

    def part(self, partner: str, name: str, folder: str = "inbound") -> Path:
        """Where an upload of that name lies until it is whole."""
        return self.folder(partner, folder) / f".{name}.part"

    def bring(self, source: Path, partner: str) -> None:
        """Copy a file in as an upload that is not whole yet. Raises FileExistsError if there is one."""
        part = self.part(partner, source.name)
        with source.open("rb") as content, files.written_aside(part) as file:
            aside = Path(file.name)
            shutil.copyfileobj(content, file, 1 << 20)
            file.flush()
            aside.chmod(0o640)
            files.sync_file(aside)
            files.link(aside, part)  # which a rename would replace
            aside.unlink()

    def uploads(self, partner: str) -> Iterator[tuple[str, bool]]:
        """The names in a partner's inbound/, each with whether it is whole."""
        for path in sorted(self.folder(partner, "inbound").iterdir()):
            if path.name.startswith(".") and path.name.endswith(".part"):
                yield path.name[1 : -len(".part")], False
            elif not path.name.startswith("."):
                yield path.name, True

    def lay(self, partner: str, folder: str, name: str, content: Mapping[str, Any] | str) -> Laid:
        """Put a receipt, report or note into a partner's folder, whole and durable."""
        text = content if isinstance(content, str) else json.dumps(content, indent=2) + "\n"
        written = text.encode()
        files.write(self.folder(partner, folder) / name, written)
        return Laid(partner, folder, name, hashlib.sha256(written).hexdigest())

    def lies(self, partner: str, folder: str, name: str) -> Laid | None:
        """What was laid there before, as it lies there now; None when there is no such file."""
        path = self.folder(partner, folder) / name
        if not path.exists():
            return None
        return Laid(partner, folder, name, hashlib.sha256(path.read_bytes()).hexdigest())
