"""Where blocks went: from a load to its publications, from a hold to its release, from a file to its heirs."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, func, select

from jobs.stores.ledger import outbox
from jobs.stores.ledger.outbox import OutboundFile
from schemas import tables

_pub, _held = tables.publication, tables.held


def of_load(tx: Connection, *, edc: str, seq: int) -> list[str]:
    """The publications that looked at a load as new: one, or none yet."""
    where = (_pub.c.edc == edc) & (_pub.c.through_seq >= seq) & (_pub.c.after_seq < seq)
    query = select(_pub.c.id).where(where).order_by(_pub.c.through_seq, _pub.c.id)
    return list(tx.execute(query.limit(1)).scalars())


def publication(tx: Connection, publication_id: str) -> dict[str, Any] | None:
    """A row of schemas.tables.publication."""
    row = tx.execute(select(_pub).where(_pub.c.id == publication_id)).mappings().one_or_none()
    return None if row is None else dict(row)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold:
    """Blocks of one lake file that were held for one reason; `release` is the publication that gave them
    free, or says why none ever will; empty while they are held.
    """

    lake_file_id: int
    reason: str
    egs_duns: str
    since: datetime
    released_at: datetime | None
    release: str
    blocks: int


def holds(tx: Connection, lake_file_ids: Collection[int], *, account: str = "") -> list[Hold]:
    """What of these lake files was held, or of one account in them."""
    columns = (
        _held.c.lake_file_id,
        _held.c.reason,
        _held.c.egs_duns,
        _held.c.since,
        _held.c.released_at,
        _held.c.release,
    )
    found = []
    wanted = sorted(lake_file_ids)
    for start in range(0, len(wanted), 500):
        where: ColumnElement[bool] = _held.c.lake_file_id.in_(wanted[start : start + 500])
        if account:
            where &= _held.c.account == account
        query = select(*columns, func.count().label("blocks")).where(where).group_by(*columns)
        found += [Hold(**row._asdict()) for row in tx.execute(query.order_by(*columns[:4]))]
    return found


def files_of(tx: Connection, publication_ids: Collection[str]) -> list[OutboundFile]:
    """The outbound files of some publications, and those that were written in place of withdrawn ones."""
    found: dict[int, OutboundFile] = {}
    for publication_id in sorted(publication_ids):
        for file in outbox.of_publication(tx, publication_id):
            heir: OutboundFile | None = file
            while heir is not None and heir.id not in found:
                found[heir.id] = heir
                heirs = outbox.named(tx, heir.replaced_by, egs=heir.egs) if heir.replaced_by else []
                heir = heirs[0] if heirs else None
    return list(found.values())


def latest_names(tx: Connection, *, limit: int) -> list[str]:
    """What the latest drops, syncs, publications and outbound files are called: ids and file names."""
    drop, sync, file = tables.drop, tables.sync, tables.outbound_file
    names: list[str] = []
    for columns, order in (
        ((drop.c.id, drop.c.name), drop.c.arrived_at),
        ((sync.c.id,), sync.c.began_at),
        ((_pub.c.id,), _pub.c.id),
        ((file.c.name,), file.c.id),
    ):
        for row in tx.execute(select(*columns).order_by(order.desc()).limit(limit)):
            names += row
    return list(dict.fromkeys(names))
