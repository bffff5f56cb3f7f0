"""Publications, in the ledger: the runs that lay files out, by which sync, and which loads they looked at."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, insert, select, update

from jobs.stores.ledger import events
from schemas import ids, tables

_pub, _file, _sync = tables.publication, tables.outbound_file, tables.sync


def cursor(tx: Connection, edc: str) -> int:
    """The last load of an EDC that a publication has looked at."""
    where = _pub.c.edc == edc
    return int(tx.execute(select(func.max(_pub.c.through_seq)).where(where)).scalar_one() or 0)


def last_sync(tx: Connection, edc: str) -> str:
    """The sync that the latest publication of an EDC went by; empty before the first. Those that only wrote
    withdrawn files again looked at nothing new.
    """
    query = select(_pub.c.sync_id).where((_pub.c.edc == edc) & (_pub.c.replaces == ""))
    query = query.order_by(_pub.c.through_seq.desc(), _pub.c.id.desc()).limit(1)
    return tx.execute(query).scalar_one_or_none() or ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A publication that looked at the loads behind `after_seq`, up to `through_seq`, by a sync."""

    after_seq: int
    through_seq: int
    sync_id: str
    at: datetime


def looked_since(tx: Connection, *, edc: str, since: datetime) -> list[Looked]:
    """The publications of an EDC from an instant on that looked at new loads, in the order of these. What a ledger that
    was made again puts in the place of all before it is none: its sync came into force later.
    """
    c = _pub.c
    where = (
        (c.edc == edc)
        & (c.id >= ids.publication_day(since))
        & (c.at >= since)
        & (c.through_seq > c.after_seq)
    )
    query = select(c.after_seq, c.through_seq, c.sync_id, c.at).join(_sync, _sync.c.id == c.sync_id)
    query = query.where(where & (_sync.c.in_force_at <= c.at)).order_by(c.through_seq)
    return [Looked(**row._asdict()) for row in tx.execute(query)]


def begin(
    tx: Connection,
    *,
    edc: str,
    sync_id: str,
    at: datetime,
    after_seq: int,
    through_seq: int,
    files: int,
    blocks: int,
    looked_through: int,
    under: str,
    replaces: str = "",
    unfetched: int | None = None,
    nobodys: int | None = None,
) -> str:
    """A new publication; its id. `looked_through`: the last load that was there; one that only writes
    withdrawn files again leaves it to the next. `under`: the circumstances (jobs.stores.circumstances).
    `unfetched`: of the withdrawn files, the blocks that their EGSs have lost. `nobodys`: the blocks that came while
    nobody was of record, and are somebody's now.
    """
    day = ids.publication_day(at)
    latest = select(func.max(_pub.c.id)).where(_pub.c.id.between(day, day + "~"))
    last = tx.execute(latest).scalar_one_or_none()
    publication_id = ids.publication(at, 1 if last is None else int(last.removeprefix(day)) + 1)
    tx.execute(
        insert(_pub).values(
            id=publication_id,
            edc=edc,
            sync_id=sync_id,
            at=at,
            after_seq=after_seq,
            through_seq=through_seq,
            files=files,
            blocks=blocks,
            laid_out=files == 0,
            replaces=replaces,
        )
    )
    events.record(
        tx,
        "publication.recorded",
        at=at,
        about=publication_id,
        partner=edc,
        files=files,
        blocks=blocks,
        after_seq=after_seq,
        through_seq=through_seq,
        looked_through=looked_through,
        sync=sync_id,
        under=under,
        **({"replaces": replaces} if replaces else {}),
        **({} if unfetched is None else {"unfetched": unfetched}),
        **({} if nobodys is None else {"nobodys": nobodys}),
    )
    return publication_id


def laid_out(tx: Connection, publication_id: str, *, at: datetime) -> None:
    """Every file of the publication has appeared."""
    where = (_file.c.publication_id == publication_id) & (_file.c.state == "recorded")
    tx.execute(update(_file).where(where).values(state="laid-out", laid_out_at=at))
    tx.execute(update(_pub).where(_pub.c.id == publication_id).values(laid_out=True))
    events.record(tx, "publication.laid_out", at=at, about=publication_id)


def unfinished(tx: Connection, edc: str) -> list[str]:
    """Publications that are recorded and whose files have not all appeared."""
    where = (_pub.c.edc == edc) & ~_pub.c.laid_out
    return list(tx.execute(select(_pub.c.id).where(where).order_by(_pub.c.id)).scalars())
