"""What an auditor's requests do: it looks at everything, and changes nothing. Each look is recorded before it is answered.

Its folders are on no disk as it sees them: the desk says what a path leads to.
"""

import stat
from collections.abc import Awaitable, Callable, Mapping

from exchange import listing, namespace, sftp_v3
from exchange.handles import Handles
from exchange.listing import Listing
from exchange.namespace import Folder
from exchange.readings import Reading
from exchange.sftp_v3 import Attributes, Code, Fields, Flag, Kind, Refusal
from jobs.stores.books import Entry

Look = Callable[[Handles, int, Fields], Awaitable[bytes]]

_WRITES = Flag.WRITE | Flag.APPEND | Flag.CREAT | Flag.TRUNC
_ONLY_READING = "everything here is for reading; nothing can be put, renamed or removed"


async def stat_path(handles: Handles, request: int, fields: Fields) -> bytes:
    """STAT and LSTAT: there are no links."""
    found = await handles.standing(handles.shared.desk.seen, _parts(fields))
    return sftp_v3.attributes(request, _attributes(found))


async def open_folder(handles: Handles, request: int, fields: Fields) -> bytes:
    """OPENDIR"""
    parts = _parts(fields)
    desk = handles.shared.desk
    handles.require_room()
    found = await handles.standing(desk.listed, parts, session=handles.session)
    entries = ((one.name, _attributes(one)) for one in found)
    now = desk.now().timestamp()
    return sftp_v3.handle(request, handles.add(Listing(listing.of_entries(entries, now=now))))


async def open_file(handles: Handles, request: int, fields: Fields) -> bytes:
    """OPEN, for reading alone."""
    parts = _parts(fields)
    if Flag(fields.u32()) & _WRITES:
        raise Refusal(Code.PERMISSION_DENIED, _ONLY_READING)
    desk = handles.shared.desk
    handles.require_room()
    fd = await handles.standing(desk.opened, parts, session=handles.session)
    folder = Folder(name="/".join(parts[:-1]))
    reading = Reading(folder=folder, name=parts[-1], fd=fd, began=desk.now(), unnamed=True)
    return sftp_v3.handle(request, handles.add(reading))


async def refuse(_handles: Handles, _request: int, _fields: Fields) -> bytes:
    """All that would change something."""
    raise Refusal(Code.PERMISSION_DENIED, _ONLY_READING)


async def unserved(_handles: Handles, _request: int, _fields: Fields) -> bytes:
    """What cannot be told of folders that are on no disk."""
    raise Refusal(Code.OP_UNSUPPORTED, "this request is not served here")


def _parts(fields: Fields) -> tuple[str, ...]:
    """A path's parts. What is no ASCII is no name of ours, and is not found."""
    path = fields.string()
    if len(path) > sftp_v3.LONGEST_PATH:
        raise Refusal(Code.NO_SUCH_FILE, "there is no such file or folder")
    parts = namespace.canonical(path).split(b"/")
    return tuple(part.decode("ascii", "replace") for part in parts if part)


def _attributes(one: Entry) -> Attributes:
    mode = stat.S_IFDIR | 0o555 if one.is_folder else stat.S_IFREG | 0o444
    return Attributes(size=one.size, mode=mode, mtime=int(one.at.timestamp()))


REQUESTS: Mapping[int | bytes, Look] = {
    Kind.OPEN: open_file,
    Kind.OPENDIR: open_folder,
    Kind.STAT: stat_path,
    Kind.LSTAT: stat_path,
    Kind.SETSTAT: refuse,
    Kind.REMOVE: refuse,
    Kind.RENAME: refuse,
    b"posix-rename@openssh.com": refuse,
    b"statvfs@openssh.com": unserved,
}
