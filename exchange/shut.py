"""Partners that are disabled: by which file, and what waits because of it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from config.partners import Partner, Role
from jobs.stores.ledger import drops, events, standing, syncs
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.drop import UNDER_WAY, Stage


@dataclass(frozen=True, slots=True, kw_only=True)
class Shut:
    """A partner whose file says `disabled`. Of an EGS: files that wait for it; of an EDC: what does not come."""

    partner: str
    role: Role
    since: datetime | None  # the last change of its file that was noted; None: no sweep has seen it yet
    files: int = 0  # laid out, and not fetched
    oldest: datetime | None = None  # since when the oldest of them lies there
    due: int | None = None  # blocks a night, by the roster in force
    last_came_at: datetime | None = None
    open_drops: int = 0  # that had come by then and are not at their end

    def as_json(self) -> dict[str, Any]:
        """The same as JSON holds it."""
        instants = {name: getattr(self, name) for name in ("since", "oldest", "last_came_at")}
        return asdict(self) | {name: at and receipt.instant(at) for name, at in instants.items()}

    @property
    def words(self) -> str:
        """A sentence on it, for an operator."""
        since = "" if self.since is None else f" since {self.since:%Y-%m-%d %H:%M} UTC"
        return f"{self.partner} is disabled{since}: {'; '.join(self._waits())} (meterhub partner enable {self.partner})"

    def _waits(self) -> Iterator[str]:
        if self.role is Role.EDC:
            yield "it can send nothing, and is left out here"
            if self.due is not None:
                blocks = "1 block is" if self.due == 1 else f"{self.due:,} blocks are"
                yield f"{blocks} due of it each night"
            if self.last_came_at is not None:
                yield f"its last file came {self.last_came_at:%Y-%m-%d %H:%M} UTC"
            if self.open_drops:
                yield f"{self.open_drops:,} of its files are not at their end"
        elif self.role is Role.EGS and self.oldest is not None:
            lie = "1 file lies" if self.files == 1 else f"{self.files:,} files lie"
            yield f"{lie} before it, the oldest since {self.oldest:%Y-%m-%d %H:%M} UTC"
        else:
            yield "nothing waits for it"


def look(*, stores: Stores) -> tuple[Shut, ...]:
    """All that are disabled, by id."""
    partners = stores.partners.current()
    shut = [one for one in partners.by_id.values() if one.disabled]
    if not shut:
        return ()
    with stores.ledger.read() as tx:
        lie = [standing.uncollected(tx, edc=edc.id) for edc in partners.edcs]
        return tuple(_told(one, lie, tx, stores) for one in shut)


def _told(one: Partner, lie: list[dict[str, tuple[int, datetime]]], tx: Connection, stores: Stores) -> Shut:
    file = (stores.home.partners / f"{one.id}.toml").relative_to(stores.home.root)
    noted = events.about(tx, str(file))
    since = noted[-1]["at"] if noted else None
    if one.role is not Role.EDC:
        mine = [found[one.id] for found in lie if one.id in found]
        files, oldest = sum(count for count, _ in mine), min((at for _, at in mine), default=None)
        return Shut(partner=one.id, role=one.role, since=since, files=files, oldest=oldest)
    sync = syncs.in_force(tx, one.id)
    last = next(iter(drops.listed(tx, partner=one.id, limit=1)), None)
    open_drops = drops.at_stage(tx, [*UNDER_WAY, Stage.INCOMPLETE])
    return Shut(
        partner=one.id,
        role=one.role,
        since=since,
        due=None if sync is None else sync.due,
        last_came_at=None if last is None else last.arrived_at,
        open_drops=sum(drop.partner == one.id for drop in open_drops),
    )
