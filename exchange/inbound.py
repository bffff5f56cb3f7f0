"""What becomes of one session's uploads, from their OPEN on: whole, refused, or broken off; and the desk is told."""

from collections.abc import Mapping
from datetime import datetime
from functools import partial
from pathlib import Path
from time import monotonic
from typing import Any

from exchange import namespace, uploads
from exchange.desk import Refused, SessionInfo
from exchange.namespace import Folder, Found
from exchange.sftp_v3 import Code, Flag, Refusal
from exchange.shared import Shared
from exchange.uploads import Upload
from schemas.visit import Habit


class Inbound:
    """The way of an upload. What blocks is done in threads; `begin` is called in one, `begin_at_once` is not."""

    def __init__(self, shared: Shared, session: SessionInfo, log: Any) -> None:
        self._shared = shared
        self._session = session
        self._partner_id = session.partner_id
        self._log = log
        self.paths: Mapping[str, Path] = {}  # of the folders, on disk

    # ── Its beginning ────────────────────────────────────────────────────────────────────────────

    def claim(self, folder: Folder, name: str) -> None:
        """Nobody else may change the file until `release`. Raises Refusal if somebody does."""
        self._shared.claims.take(self._partner_id, folder.name, name)

    def release(self, folder: Folder, name: str) -> None:
        self._shared.claims.release(self._partner_id, folder.name, name)

    def begin(self, folder: Folder, name: str, flags: Flag) -> Upload:
        """Open the file on disk, or Refusal in words. It is claimed already."""
        return self._begin(namespace.find(self.paths[folder.name], folder, name), folder, name, flags)

    def begin_at_once(self, folder: Folder, name: str, flags: Flag) -> Upload | None:
        """The same for a file that is new, while nobody has to be asked; None: it is to be begun in a thread.

        A way to another thread and back takes longer than this does.
        """
        if not self._shared.quota.is_open(self._partner_id):
            return None
        found = namespace.find(self.paths[folder.name], folder, name)
        return self._begin(None, folder, name, flags) if found is None else None

    def _begin(self, found: Found | None, folder: Folder, name: str, flags: Flag) -> Upload:
        if closed := self._shared.quota.closed():
            raise Refusal(Code.FAILURE, f"{name}: {closed}")
        path = self.paths[folder.name]
        uploads.require_openable(found, name, flags)
        # An upload that is sent again makes room for itself.
        freed = found.attributes.size if found and flags & Flag.TRUNC else 0
        room = self._shared.quota.room(self._partner_id, path, name, freed=freed)
        if found is not None:
            desk = self._shared.desk
            desk.upload_resumed(self._partner_id, folder.name, name, whole=found.whole, session=self._session)
        limit = self._shared.limits.max_upload_bytes
        return uploads.open_part(path, folder, name, flags, limit=limit, room=room)

    # ── Its end ──────────────────────────────────────────────────────────────────────────────────

    async def end(self, upload: Upload) -> None:
        """The client's own CLOSE. Raises Refusal if the upload is not whole, or is not taken."""
        gap = upload.gap()
        if gap is not None:
            await self.break_off(upload, "bytes-missing")
            words = (
                f"{upload.name}: bytes {gap[0]} to {gap[1]} never came; resume the upload or send it again"
            )
            raise Refusal(Code.FAILURE, words)
        attributes = upload.attributes
        try:
            finish, hand_over = partial(self._finish, upload), partial(self._hand_over, upload)
            await self._shared.threads.settled(finish, hand_over)
        except Refused as refused:
            self._session.habits[Habit.REFUSED] += 1
            self._log.warning(
                "upload.refused", folder=upload.folder.name, file=upload.name, words=str(refused)
            )
            raise Refusal(Code.FAILURE, str(refused)) from refused
        finally:
            self.release(upload.folder, upload.name)
        self._shared.recent.add(self._partner_id, upload.folder.name, upload.name, attributes)
        self._log.info(
            "upload.ended",
            folder=upload.folder.name,
            file=upload.name,
            bytes=attributes.size,
            resumed_at=upload.resumed_at,
            seconds=round(monotonic() - upload.began, 3),
        )

    def _finish(self, upload: Upload) -> datetime:
        upload.finish()
        return self._shared.desk.upload_whole(self._partner_id, upload.folder.name, upload.name)

    def _hand_over(self, upload: Upload, at: datetime) -> None:
        desk = self._shared.desk
        desk.upload_ended(self._partner_id, upload.folder.name, upload.name, at=at, session=self._session)

    async def break_off(self, upload: Upload, reason: str) -> None:
        """It stops without being whole: what came of it is kept, to be resumed."""
        try:
            received = await self._shared.threads.run(self._keep, upload)
        finally:
            self.release(upload.folder, upload.name)
        self._log.warning(
            "upload.broken",
            folder=upload.folder.name,
            file=upload.name,
            bytes=received,
            reason=reason,
            seconds=round(monotonic() - upload.began, 3),
        )

    def _keep(self, upload: Upload) -> int:
        received = upload.give_up()
        desk = self._shared.desk
        desk.upload_broken(
            self._partner_id, upload.folder.name, upload.name, received=received, session=self._session
        )
        return received
