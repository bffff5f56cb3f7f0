"""What each SFTP request does: one method a request, each giving the answer's packet.

READ, WRITE, questions about files and the OPEN of a new one are answered on the event loop; whatever asks
the hub, syncs, renames or lists goes through a thread. No request is answered twice, and none is left unanswered.
"""

import errno
import os
import struct
from collections.abc import Awaitable, Callable, Mapping

from config.partners import Role
from exchange import changes, looking, namespace, sftp_v3
from exchange.desk import DISK_FULL, Refused
from exchange.handles import Handles
from exchange.namespace import NameRefusal, Place
from exchange.quota import NoRoom
from exchange.sftp_v3 import Attributes, Code, Fields, Flag, Kind, Malformed, Refusal
from exchange.uploads import Upload
from schemas.visit import Habit

EXTENSIONS = (
    (b"posix-rename@openssh.com", b"1"),
    (b"statvfs@openssh.com", b"2"),
    (b"fstatvfs@openssh.com", b"2"),
    (b"fsync@openssh.com", b"1"),
    (b"limits@openssh.com", b"1"),
)
_FIXED = "the folders here are fixed: none can be made, removed or linked"
_WRITES = Flag.WRITE | Flag.APPEND | Flag.CREAT | Flag.TRUNC
_BY_ERRNO: Mapping[int, tuple[Code, str]] = {
    errno.ENOENT: (Code.NO_SUCH_FILE, "there is no such file"),
    errno.ENOSPC: (Code.FAILURE, DISK_FULL),
    errno.EDQUOT: (Code.FAILURE, DISK_FULL),
    errno.EROFS: (Code.FAILURE, "the hub's disk can only be read; try again later, and tell its operator"),
}


class Operations:
    """Answers one session's requests."""

    def __init__(self, handles: Handles) -> None:
        self._handles = handles
        self._role = handles.partner.role
        self.said: str = ""  # the words of the last refusal, until `take_words`

    def answer(self, packet: bytes) -> bytes | Awaitable[bytes]:
        """The answer to a request, or what to await for it. `packet` has at least 5 bytes."""
        request = int.from_bytes(packet[1:5])
        fields = Fields(packet, 5)
        kind: int | bytes = packet[0]
        try:
            if kind == Kind.EXTENDED:
                kind = fields.string()
            if self._role is Role.AUDITOR and (look := looking.REQUESTS.get(kind)) is not None:
                return self._look(look, request, kind, fields)
            if (quick := _QUICK.get(kind)) is not None:
                return quick(self, request, fields)
        except Exception as error:  # noqa: BLE001 - told and logged by `_explained`
            return self._explained(request, kind, error)
        return self._slow(request, kind, fields)

    async def _slow(self, request: int, kind: int | bytes, fields: Fields) -> bytes:
        try:
            return await _SLOW.get(kind, Operations.unserved)(self, request, fields)
        except Exception as error:  # noqa: BLE001 - told and logged by `_explained`
            return self._explained(request, kind, error)

    async def _look(self, look: looking.Look, request: int, kind: int | bytes, fields: Fields) -> bytes:
        try:
            return await look(self._handles, request, fields)
        except Exception as error:  # noqa: BLE001 - told and logged by `_explained`
            return self._explained(request, kind, error)

    def _explained(self, request: int, kind: int | bytes, error: Exception) -> bytes:
        """The answer to a request that failed. Nothing of the hub's inside is told."""
        match error:
            case Refusal():
                code, words = error.code, error.words
            case Refused():
                code, words = Code.FAILURE, str(error)
            case Malformed():
                code, words = Code.BAD_MESSAGE, str(error)
            case OSError() if (known := _BY_ERRNO.get(error.errno or 0)) is not None:
                code, words = known
            case _:
                code, words = Code.FAILURE, "the hub failed to do this; try again, and tell its operator"
                named = kind.decode("ascii", "replace") if isinstance(kind, bytes) else str(kind)
                self._handles.log.error("request.failed", request=named, exc_info=error)
        if code in {Code.PERMISSION_DENIED, Code.FAILURE}:
            self.said = words
        if isinstance(error, NameRefusal):
            self._handles.session.habits[Habit.NAMES] += 1
        return sftp_v3.status(request, code, words)

    def take_words(self) -> str:
        """The words of a refusal that were not taken yet."""
        words, self.said = self.said, ""
        return words

    # ── Bytes ────────────────────────────────────────────────────────────────────────────────────

    def read(self, request: int, fields: Fields) -> bytes:
        reading = self._handles.reading(fields.string())
        found = reading.read(fields.u64(), fields.u32())
        if not found:
            return sftp_v3.status(request, Code.EOF, "end of file")
        return sftp_v3.data(request, found)

    def write(self, request: int, fields: Fields) -> bytes | Awaitable[bytes]:
        upload = self._handles.upload(fields.string())
        offset, data = fields.u64(), fields.view()
        try:
            upload.write(offset, data)
        except NoRoom:
            return self._write_when_counted(request, upload, offset, data)
        return _ok(request)

    async def _write_when_counted(self, request: int, upload: Upload, offset: int, data: memoryview) -> bytes:
        try:
            handles, quota = self._handles, self._handles.shared.quota
            if not quota.is_fresh(handles.partner.id):
                path = handles.paths[upload.folder.name]
                await handles.shared.threads.run(quota.look, handles.partner.id, path)
            upload.write(offset, data, counted=True)
        except Exception as error:  # noqa: BLE001 - told and logged by `_explained`
            return self._explained(request, Kind.WRITE, error)
        return _ok(request)

    async def sync(self, request: int, fields: Fields) -> bytes:
        upload = self._handles.upload(fields.string())
        await self._handles.shared.threads.run(upload.sync)
        return _ok(request)

    # ── Handles ──────────────────────────────────────────────────────────────────────────────────

    async def open(self, request: int, fields: Fields) -> bytes:
        path = _path(fields)
        flags = Flag(fields.u32())
        if flags & _WRITES and not namespace.leads_into_a_folder(self._role, path):
            raise namespace.nowhere(self._role)
        folder, name = namespace.place(self._role, path).file()
        if flags & _WRITES:
            handle = await self._handles.open_upload(folder, name, flags)
        else:
            handle = await self._handles.open_reading(folder, name)
        return sftp_v3.handle(request, handle)

    async def close(self, request: int, fields: Fields) -> bytes:
        await self._handles.close(fields.string())
        return _ok(request)

    async def open_folder(self, request: int, fields: Fields) -> bytes:
        return sftp_v3.handle(request, await self._handles.open_listing(self._place(fields)))

    async def read_folder(self, request: int, fields: Fields) -> bytes:
        found = self._handles.listing(fields.string())
        entries = await self._handles.shared.threads.run(found.batch)
        if not entries:
            return sftp_v3.status(request, Code.EOF, "end of the folder")
        return sftp_v3.names(request, entries)

    # ── Questions ────────────────────────────────────────────────────────────────────────────────

    def stat(self, request: int, fields: Fields) -> bytes:
        place = self._place(fields)
        if place.folder is None:
            top = Attributes(
                size=0, mode=namespace.ROOT_MODE, mtime=int(self._handles.session.began.timestamp())
            )
            return sftp_v3.attributes(request, top)
        if not place.name:
            path = self._handles.paths[place.folder.name]
            return sftp_v3.attributes(request, namespace.folder_attributes(place.folder, path))
        found = self._handles.attributes(place.folder, place.name)
        if found is None:
            raise Refusal(Code.NO_SUCH_FILE, "there is no such file")
        return sftp_v3.attributes(request, found)

    def stat_handle(self, request: int, fields: Fields) -> bytes:
        return sftp_v3.attributes(request, self._handles.file(fields.string()).attributes)

    def real_path(self, request: int, fields: Fields) -> bytes:
        path = namespace.canonical(_path(fields))
        return sftp_v3.names(request, [sftp_v3.name(path, path, sftp_v3.no_attributes())])

    def file_system(self, request: int, fields: Fields) -> bytes:
        place = self._place(fields)
        paths = self._handles.paths
        path = paths[place.folder.name] if place.folder is not None else next(iter(paths.values()))
        return sftp_v3.extended(request, _encoded(os.statvfs(path)))

    def file_system_of_handle(self, request: int, fields: Fields) -> bytes:
        return sftp_v3.extended(request, _encoded(self._handles.file(fields.string()).statvfs))

    def limits(self, request: int, _: Fields) -> bytes:
        most = self._handles.shared.limits.max_handles
        values = (sftp_v3.MAX_PACKET, sftp_v3.MAX_DATA, sftp_v3.MAX_DATA, most)
        return sftp_v3.extended(request, struct.pack(">4Q", *values))

    # ── Changes ──────────────────────────────────────────────────────────────────────────────────

    def set_attributes(self, request: int, fields: Fields) -> bytes:
        """Answered OK and ignored: a file's times and mode here are the hub's."""
        self._place(fields)
        return _ok(request)

    def set_attributes_of_handle(self, request: int, fields: Fields) -> bytes:
        self._handles.file(fields.string())
        return _ok(request)

    async def rename(self, request: int, fields: Fields) -> bytes:
        await changes.rename(self._handles, self._place(fields), self._place(fields), over=False)
        return _ok(request)

    async def rename_over(self, request: int, fields: Fields) -> bytes:
        await changes.rename(self._handles, self._place(fields), self._place(fields), over=True)
        return _ok(request)

    async def remove(self, request: int, fields: Fields) -> bytes:
        await changes.remove(self._handles, self._place(fields))
        return _ok(request)

    def fixed(self, _request: int, _fields: Fields) -> bytes:
        raise Refusal(Code.PERMISSION_DENIED, _FIXED)

    async def unserved(self, _request: int, _fields: Fields) -> bytes:
        raise Refusal(Code.OP_UNSUPPORTED, "this request is not served here")

    def _place(self, fields: Fields) -> Place:
        return namespace.place(self._role, _path(fields))


def _path(fields: Fields) -> bytes:
    found = fields.string()
    if len(found) > sftp_v3.LONGEST_PATH:
        raise Refusal(Code.NO_SUCH_FILE, "there is no such file or folder")
    return found


def _ok(request: int) -> bytes:
    return sftp_v3.status(request, Code.OK, "")


def _encoded(found: os.statvfs_result) -> bytes:
    """As statvfs@openssh.com has it; the file system's own id is nobody's business."""
    numbers = (found.f_bsize, found.f_frsize, found.f_blocks, found.f_bfree, found.f_bavail)
    files = (found.f_files, found.f_ffree, found.f_favail)
    return struct.pack(">11Q", *numbers, *files, 0, os.ST_NOSUID, 200)


_QUICK: Mapping[int | bytes, Callable[[Operations, int, Fields], bytes | Awaitable[bytes]]] = {
    Kind.READ: Operations.read,
    Kind.WRITE: Operations.write,
    Kind.STAT: Operations.stat,
    Kind.LSTAT: Operations.stat,  # there are no links
    Kind.FSTAT: Operations.stat_handle,
    Kind.SETSTAT: Operations.set_attributes,
    Kind.FSETSTAT: Operations.set_attributes_of_handle,
    Kind.REALPATH: Operations.real_path,
    Kind.MKDIR: Operations.fixed,
    Kind.RMDIR: Operations.fixed,
    Kind.SYMLINK: Operations.fixed,
    Kind.READLINK: Operations.fixed,
    b"hardlink@openssh.com": Operations.fixed,
    b"statvfs@openssh.com": Operations.file_system,
    b"fstatvfs@openssh.com": Operations.file_system_of_handle,
    b"limits@openssh.com": Operations.limits,
}
_SLOW: Mapping[int | bytes, Callable[[Operations, int, Fields], Awaitable[bytes]]] = {
    Kind.OPEN: Operations.open,
    Kind.CLOSE: Operations.close,
    Kind.OPENDIR: Operations.open_folder,
    Kind.READDIR: Operations.read_folder,
    Kind.REMOVE: Operations.remove,
    Kind.RENAME: Operations.rename,
    b"posix-rename@openssh.com": Operations.rename_over,
    b"fsync@openssh.com": Operations.sync,
}
