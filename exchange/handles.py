"""The files and listings that one session has open, from their opening to their end.

A client's CLOSE comes in through `close`, and only there does an upload become whole. When the session
ends otherwise, `abandon` ends what is still open as broken off.
"""

from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from time import monotonic
from typing import ParamSpec, TypeVar

import structlog

from config.partners import Partner
from exchange import keys, listing, namespace, readings
from exchange.desk import Read, SessionInfo
from exchange.inbound import Inbound
from exchange.listing import Listing
from exchange.namespace import FOLDERS, Folder, Place
from exchange.readings import Reading
from exchange.sftp_v3 import Attributes, Code, Flag, Refusal
from exchange.shared import Shared
from exchange.uploads import Upload

P = ParamSpec("P")
T = TypeVar("T")

_REMEMBERED = 256  # files of which it is remembered what of them a partner was sent


class Handles:
    """What one session has open. A handle is a number that means nothing outside the session."""

    def __init__(self, shared: Shared, partner: Partner, session: SessionInfo) -> None:
        self.shared = shared
        self.partner = partner
        self.session = session
        self.log = structlog.get_logger().bind(session=session.id, partner=partner.id)
        self.paths: Mapping[str, Path] = {}
        self.inbound = Inbound(shared, session, self.log)
        self._open: dict[bytes, Upload | Reading | Listing] = {}
        self._next = 0
        self._sent = shared.sent[partner.id]

    async def begin(self) -> None:
        """Find the partner's folders on disk; before anything else."""
        self.paths = self.inbound.paths = await self.shared.threads.moment(self._mailboxes)

    def _mailboxes(self) -> dict[str, Path]:
        folders = FOLDERS[self.partner.role]
        return {folder.name: self.shared.desk.mailbox(self.partner, folder.name) for folder in folders}

    async def standing(self, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do `work` in a thread, if the partner could still log in now as it did then."""

        def stand_and_work() -> T:
            self._require_standing(self.shared.desk.partner(self.partner.id))
            return work(*args, **kwargs)

        return await self.shared.threads.moment(stand_and_work)

    def _require_standing(self, partner: Partner | None) -> None:
        refusal = keys.refusal(
            partner,
            proof=self.session.proof,
            address=self.session.address,
            now=self.shared.desk.now(),
        )
        if refusal is not None:
            raise Refusal(Code.PERMISSION_DENIED, refusal[1])

    # ── Opening ──────────────────────────────────────────────────────────────────────────────────

    async def open_upload(self, folder: Folder, name: str, flags: Flag) -> bytes:
        """A handle for writing, or Refusal in words."""
        namespace.require_uploads(folder)
        namespace.require_upload_name(name)
        self.require_room()
        self.inbound.claim(folder, name)
        try:
            upload = self._begin_at_once(folder, name, flags)
            if upload is None:
                upload = await self.standing(self.inbound.begin, folder, name, flags)
        except BaseException:
            self.inbound.release(folder, name)
            raise
        self.log.info("upload.opened", folder=folder.name, file=name, resumed_at=upload.resumed_at)
        return self.add(upload)

    def _begin_at_once(self, folder: Folder, name: str, flags: Flag) -> Upload | None:
        partner = self.shared.desk.partner_at_once(self.partner.id)
        if partner is None:
            return None
        self._require_standing(partner)
        return self.inbound.begin_at_once(folder, name, flags)

    async def open_reading(self, folder: Folder, name: str) -> bytes:
        """A handle for reading, or Refusal in words."""
        if folder.uploads:
            words = f"{folder.name}/ is for uploads: its files can be renamed and removed, not read"
            raise Refusal(Code.PERMISSION_DENIED, words)
        self.require_room()
        reading = await self.standing(self._open_reading, folder, name)
        # What the partner had of the file before counts, in this session or another, as what it is having now does.
        reading.ranges = self._sent.setdefault((folder.name, name, reading.inode), reading.ranges)
        while len(self._sent) > _REMEMBERED:
            del self._sent[next(iter(self._sent))]
        return self.add(reading)

    def _open_reading(self, folder: Folder, name: str) -> Reading:
        began = self.shared.desk.now()
        return readings.open_reading(self.paths[folder.name], folder, name, began=began)

    async def open_listing(self, place: Place) -> bytes:
        """A handle for reading the names in a folder, or the folders at the top."""
        if place.name:
            raise Refusal(Code.NO_SUCH_FILE, "there is no such folder")
        self.require_room()
        now = (await self.standing(self.shared.desk.now)).timestamp()
        if place.folder is None:
            folders = [(folder, self.paths[folder.name]) for folder in FOLDERS[self.partner.role]]
            return self.add(Listing(listing.of_top(folders, now=now)))
        path = self.paths[place.folder.name]
        return self.add(Listing(listing.of_folder(place.folder, path, now=now)))

    def require_room(self) -> None:
        """Raises Refusal when as many files are open as may be."""
        most = self.shared.limits.max_handles
        if len(self._open) >= most:
            raise Refusal(Code.FAILURE, f"{most} files are open in this session; close some of them")

    def add(self, item: Upload | Reading | Listing) -> bytes:
        """The handle of what was opened."""
        handle = self._next.to_bytes(4)
        self._next = (self._next + 1) & 0xFFFFFFFF
        if handle in self._open:  # a session of four thousand million opens, and one of the first still open
            raise Refusal(Code.FAILURE, "this session has opened too many files; connect again")
        self._open[handle] = item
        return handle

    # ── Using ────────────────────────────────────────────────────────────────────────────────────

    def upload(self, handle: bytes) -> Upload:
        return self._typed(handle, Upload, "is not open for writing")

    def reading(self, handle: bytes) -> Reading:
        return self._typed(handle, Reading, "is not open for reading")

    def listing(self, handle: bytes) -> Listing:
        return self._typed(handle, Listing, "is not a folder's")

    def file(self, handle: bytes) -> Upload | Reading:
        found = self._open.get(handle)
        if isinstance(found, Listing) or found is None:
            raise Refusal(Code.FAILURE, "this handle is not an open file's")
        return found

    def _typed(self, handle: bytes, kind: type[T], words: str) -> T:
        found = self._open.get(handle)
        if not isinstance(found, kind):
            raise Refusal(Code.FAILURE, f"this handle {words if found is not None else 'is not open'}")
        return found

    def attributes(self, folder: Folder, name: str) -> Attributes | None:
        """Of a file that is there, or was uploaded a moment ago and is taken in by now."""
        found = namespace.find(self.paths[folder.name], folder, name)
        if found is not None:
            return found.attributes
        return self.shared.recent.find(self.partner.id, folder.name, name)

    # ── Ending ───────────────────────────────────────────────────────────────────────────────────

    async def close(self, handle: bytes) -> None:
        """The client's own CLOSE. Raises Refusal if an upload is not whole, or is not taken."""
        match self._open.pop(handle, None):
            case Upload() as upload:
                await self.inbound.end(upload)
            case Reading() as reading:
                self._end_reading(reading, closed=True)
            case Listing() as found:
                await self.shared.threads.run(found.close)
            case None:
                raise Refusal(Code.FAILURE, "this handle is not open")

    async def abandon(self, reason: str) -> None:
        """End what is still open: the session is over, and the client has not closed it."""
        while self._open:
            _, item = self._open.popitem()
            try:
                match item:
                    case Upload():
                        await self.inbound.break_off(item, reason)
                    case Reading():
                        self._end_reading(item, closed=False)
                    case Listing():
                        item.close()
            except Exception:
                self.log.exception("request.failed", request="teardown")
        await self.shared.endings.settle()  # what it has read is part of the session's story

    def _end_reading(self, reading: Reading, *, closed: bool) -> None:
        whole = closed and reading.is_complete
        seconds = monotonic() - reading.opened
        read = Read(
            folder=reading.folder.name,
            name=reading.name,
            size=reading.size,
            sent=reading.sent,
            whole=whole,
            began=reading.began,
            ended=reading.began + timedelta(seconds=seconds),
            session=self.session,
        )
        self.shared.endings.add(reading, read)
        if whole:
            self._sent.pop((reading.folder.name, reading.name, reading.inode), None)
        self.log.info(
            "file.read",
            folder=reading.folder.name,
            file=reading.name,
            bytes=reading.sent,
            of=reading.size,
            whole=whole,
            withdrawn=reading.withdrawn,
            seconds=round(seconds, 3),
        )
