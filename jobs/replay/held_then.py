"""What the hub held when a day began, put into a scratch home: rows of its ledger, and links to its files."""

import os
from collections.abc import Collection
from datetime import date
from pathlib import Path

from sqlalchemy import Connection, delete, func, insert, select

from jobs.replay.acts import Row
from jobs.replay.scratch import Place
from jobs.stores.ledger import as_of
from jobs.stores.ledger.history import Until, Wanted
from jobs.stores.opened import Stores
from schemas import tables
from schemas.drop import ENDED


def put(place: Place, real: Stores, *, edc: str, until: int, wanted: Wanted) -> None:
    """Copy the ledger as of event `until`, and link the files it names."""
    with real.ledger.read() as source, place.hand() as target:
        as_of.copy(source, target, until=Until(event_id=until), wanted=wanted)
        # What was on its way is begun anew when its turn comes.
        target.execute(delete(tables.drop).where(tables.drop.c.stage.not_in([str(one) for one in ENDED])))
        _arrivals(source, target, wanted.drops)
        _numbers_of_others(source, target, edc=edc, until=until)
        _link(target, place, real)


def _arrivals(source: Connection, target: Connection, drops: Collection[str]) -> None:
    """In which order uploads ended: syncs are put in order by that."""
    event = tables.event
    of_syncs = target.execute(select(tables.sync_part.c.drop_id)).scalars()
    wanted = sorted({*drops, *of_syncs})
    for start in range(0, len(wanted), 500):
        some = event.c.about.in_(wanted[start : start + 500]) & (event.c.name == "drop.arrived")
        for row in source.execute(select(event).where(some)).mappings():
            target.execute(insert(event).values(dict(row)))


def _numbers_of_others(source: Connection, target: Connection, *, edc: str, until: int) -> None:
    """The latest publications and files of other EDCs, since they are counted for all EDCs together."""
    event, publication, file = tables.event, tables.publication, tables.outbound_file
    query = (
        select(event.c.about)
        .where((event.c.name == "publication.recorded") & (event.c.id <= until) & (event.c.partner != edc))
        .order_by(event.c.id.desc())
    )
    latest = list(source.execute(query.limit(1_000)).scalars())
    top = dict(
        source.execute(
            select(file.c.egs, func.max(file.c.sequence))
            .where((file.c.edc != edc) & file.c.publication_id.in_(query.order_by(None)))
            .group_by(file.c.egs)
        ).all()
    )
    for egs, sequence in top.items():
        where = (file.c.egs == egs) & (file.c.sequence == sequence)
        for row in source.execute(select(file).where(where)).mappings():
            target.execute(insert(file).values(dict(row)))
            latest.append(row["publication_id"])
    for name in sorted(set(latest)):
        for row in source.execute(select(publication).where(publication.c.id == name)).mappings():
            target.execute(insert(publication).values(dict(row)))


def _link(tx: Connection, place: Place, real: Stores) -> None:
    """Links to the lake's files, rosters and lists of blocks that the copied rows name."""
    file, sync, part = tables.lake_file, tables.sync, tables.sync_part
    for column in (file.c.path, sync.c.path, part.c.path):
        for path in tx.execute(select(column).where(column != "")).scalars():
            link(place.home.lake / path, real.lake.root / path)
    outbound = tables.outbound_file
    for path in tx.execute(select(outbound.c.contents).where(outbound.c.expired_at.is_(None))).scalars():
        link(place.home.state / path, real.home.state / path)


def link(there: Path, real: Path) -> None:
    """Let a file be found in the scratch home, if it is not there yet."""
    if not os.path.lexists(there) and real.exists():
        there.parent.mkdir(parents=True, exist_ok=True)
        there.symlink_to(real.absolute())


def put_recorded(place: Place, real: Stores, *, drop_id: str) -> None:
    """Let a drop be in the scratch home what the hub says it is, without doing its load again."""
    with real.ledger.read() as source, place.hand() as target:
        for table, key in (
            (tables.drop, tables.drop.c.id),
            (tables.load, tables.load.c.drop_id),
            (tables.lake_file, tables.lake_file.c.drop_id),
            (tables.sync_part, tables.sync_part.c.drop_id),
        ):
            target.execute(delete(table).where(key == drop_id))
            for row in source.execute(select(table).where(key == drop_id)).mappings():
                target.execute(insert(table).values(dict(row)))
                if "path" in row:
                    there = place.home.lake / row["path"]
                    there.unlink(missing_ok=True)
                    link(there, real.lake.root / row["path"])


def days_of(tx: Connection, *, edc: str, seqs: Collection[int], files: Collection[Row]) -> frozenset[date]:
    """The usage days whose lake files may be looked at: of these loads, of outbound files that may be written
    again, and of what is held.
    """
    lake, held = tables.lake_file, tables.held
    days: set[date] = {date.fromisoformat(day) for file in files for day in file["usage_days"]}
    wanted = sorted(seqs)
    for start in range(0, len(wanted), 500):
        some = lake.c.load_seq.in_(wanted[start : start + 500])
        days.update(tx.execute(select(lake.c.usage_date).where(some).distinct()).scalars())
    of_held = select(lake.c.usage_date).join(held, held.c.lake_file_id == lake.c.id)
    days.update(tx.execute(of_held.where(held.c.edc == edc).distinct()).scalars())
    return frozenset(days)
