"""What the doors ask of the hub: one protocol, so that the SFTP side knows no ledger, lake or pipeline.

Every method may block (disk, ledger) and is called in a worker thread, never on the event loop; but for
`now` and `partner_at_once`, which do not block.
For one name of one partner's folder the doors make one call at a time; for different names and
partners calls come in parallel.

On disk an upload under way or broken off is the file `.<name>.part` of its folder; a whole one is
`<name>`. The doors open, write and read files; whatever gives a file another name, or takes it
away, is done by the desk, so that disk and ledger tell the same story.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from config.partners import Partner
from exchange.addresses import Source
from exchange.keys import Proof
from jobs.stores.books import Entry
from schemas.visit import TurnedAway, Visit

DISK_FULL = "the hub's disk is full; try again later, and tell its operator"


class Refused(Exception):  # noqa: N818 - an answer, not an error of the hub's
    """The hub says no, in plain words that are sent to the partner as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionInfo:
    """One SFTP session, as the ledger and the log name it."""

    id: str
    partner_id: str
    address: str  # the client's, without its port
    client_version: str  # as the client gave it: `SSH-2.0-OpenSSH_9.2p1`
    proof: Proof  # of the key, or the certificate, that logged in
    began: datetime
    habits: Counter[str] = field(default_factory=Counter, compare=False)  # schemas.visit.Habit: how often


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """A file that was opened for reading and is closed again."""

    folder: str
    name: str
    size: int
    sent: int  # the distinct bytes that this session has had of it, over all its handles
    whole: bool  # that is every byte, and the client itself closed the file
    began: datetime
    ended: datetime
    session: SessionInfo


class Desk(Protocol):
    """The hub's side of the counter."""

    def now(self) -> datetime:
        """The hub's instant, in UTC."""
        ...

    def partner(self, login: str) -> Partner | None:
        """Who logs in under that name by the partner files as they are now; None: nobody, or disabled."""
        ...

    def partner_at_once(self, login: str) -> Partner | None:
        """The same, where no file has to be read for it; None: ask `partner`."""
        ...

    def excepted(self) -> Sequence[Partner]:
        """Those that may use old algorithms today, from the addresses that their `allow_from` names."""
        ...

    def visited(self, visits: Sequence[Visit], turned: Sequence[TurnedAway]) -> None:
        """Sessions have ended, and tries to log in have failed."""
        ...

    def is_listed(self, source: Source) -> bool:
        """Whether some partner's `allow_from` names addresses of it."""
        ...

    def unloaded(self, partner_id: str) -> int:
        """Bytes of the partner's drops that were taken out of `inbound/` and are not loaded yet."""
        ...

    def closed_because(self) -> str:
        """Why no file can be taken just now (a full disk, no ledger), in words for a partner; empty: it can."""
        ...

    def room_left(self) -> int:
        """The bytes that may still be written before the hub's disks count as full; below 0, they do."""
        ...

    def mailbox(self, partner: Partner, folder: str) -> Path:
        """The folder on disk, which exists when this returns."""
        ...

    def upload_resumed(
        self, partner_id: str, folder: str, name: str, *, whole: bool, session: SessionInfo
    ) -> None:
        """A client opens a file for writing that is there: to go on with it, or to send it again.

        It is unfinished from now on: if it was whole, which one under a temporary name may be, the desk
        renames `<name>` to `.<name>.part`. `Refused`: nothing is changed, the client is told why.
        """
        ...

    def upload_whole(self, partner_id: str, folder: str, name: str) -> datetime:
        """The client closed its upload, and no byte of it is missing: the desk makes the file durable, which may
        take long. Returns the instant at which the upload ended.
        """
        ...

    def upload_ended(
        self, partner_id: str, folder: str, name: str, *, at: datetime, session: SessionInfo
    ) -> None:
        """What is durable since `upload_whole`, which told `at`, becomes the hub's.

        The desk renames `.<name>.part` to `<name>`; under a name of the agreed form the drop begins.
        `Refused`: the file stays `.part`, the client is told why.
        """
        ...

    def upload_broken(
        self, partner_id: str, folder: str, name: str, *, received: int, session: SessionInfo
    ) -> None:
        """The upload stopped without being whole: the connection went, or bytes are missing.

        `.<name>.part` stays, `received` bytes long and without a hole, to be resumed.
        """
        ...

    def file_renamed(
        self, partner_id: str, folder: str, old: str, new: str, *, whole: bool, session: SessionInfo
    ) -> None:
        """Rename a file within its folder: `<old>` to `<new>`, or `.<old>.part` to `.<new>.part` if not whole.

        A whole file that gets a name of the agreed form arrives with this. Nothing has the new name:
        what a client may overwrite, and asks to, is removed by `file_removed` before.
        """
        ...

    def file_removed(
        self, partner_id: str, folder: str, name: str, *, whole: bool, session: SessionInfo
    ) -> None:
        """Take away `<name>`, or `.<name>.part` if not whole, because its partner asked for it."""
        ...

    def seen(self, parts: tuple[str, ...]) -> Entry:
        """What an auditor's path leads to. Raises FileNotFoundError."""
        ...

    def listed(self, parts: tuple[str, ...], *, session: SessionInfo) -> Sequence[Entry]:
        """What is in a folder of an auditor's. That it was looked at is recorded before. Raises FileNotFoundError."""
        ...

    def opened(self, parts: tuple[str, ...], *, session: SessionInfo) -> int:
        """A descriptor of a file of an auditor's. That it was looked at is recorded before. Raises FileNotFoundError."""
        ...

    def reads_ended(self, ended: Sequence[Read]) -> None:
        """Files were opened for reading and are closed again; in the order in which they were closed."""
        ...
