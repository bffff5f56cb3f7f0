"""Acts done again in a scratch home, but for loads: by the steps that did them first."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import singledispatch

from sqlalchemy import delete, insert, select, update

from config.partners import Partner
from jobs.replay import held_then
from jobs.replay.acts import (
    Act,
    Collect,
    Complete,
    Decide,
    Elsewhere,
    Enforced,
    Expire,
    Finish,
    Judge,
    Publish,
    Recorded,
    Settle,
)
from jobs.replay.scratch import CutOffError, Place, ScratchLedger
from jobs.steps import collect, deadline, publish, sync
from jobs.stores import layout
from jobs.stores.ledger import outbox, publications, syncs
from jobs.stores.ledger.history import Wanted
from jobs.stores.opened import Stores
from schemas import tables
from schemas.receipt import manifest_name


class World:
    """The scratch home of an EDC, and the hub whose day is done again in it. `under`: the last circumstances
    that were noted, for what does not say its own. `wanted`: what was copied of the ledger. `twins`: drops
    whose bytes came more than once. `left_out`: drops that could not be done again.
    """

    def __init__(
        self, place: Place, real: Stores, *, edc: str, under: str, wanted: Wanted, twins: frozenset[str]
    ) -> None:
        self.place = place
        self.real = real
        self.edc = edc
        self.under = under
        self.wanted = wanted
        self.twins = twins
        self.left_out: set[str] = set()

    @contextmanager
    def opened(self, under: str = "", ledger: ScratchLedger | None = None) -> Iterator[Stores]:
        with self.place.opened(under or self.under, ledger) as stores:
            yield stores

    def partner(self, stores: Stores) -> Partner:
        found = stores.partners.current().get(self.edc)
        assert found is not None  # or nothing was done for it
        return found


@singledispatch
def do(act: Act, _: World) -> None:
    """Do an act again."""
    raise TypeError(f"no such act: {type(act).__name__}")


@do.register
def _(act: Complete, world: World) -> None:
    with world.opened() as stores:
        sync.complete(stores=stores, now=act.at)


@do.register
def _(act: Settle, world: World) -> None:
    ledger = ScratchLedger(world.place.ledger_url, allowed=act.allowed)
    with world.opened(act.under, ledger) as stores, suppress(CutOffError):
        with stores.ledger.read() as tx:
            found = syncs.get(tx, act.sync_id)
        sync.settle(found, edc=world.partner(stores), stores=stores, now=act.at)


@do.register
def _(act: Decide, world: World) -> None:
    with world.opened() as stores:
        with stores.ledger.read() as tx:
            found = syncs.get(tx, act.sync_id)
        if act.approved:
            sync.approve(found, by=act.by, stores=stores, now=act.at)
        else:
            sync.refuse(found, by=act.by, why=act.why, stores=stores, now=act.at)


@do.register
def _(act: Publish, world: World) -> None:
    ledger = ScratchLedger(world.place.ledger_url, allowed=act.allowed)
    with world.opened(act.under, ledger) as stores, suppress(CutOffError):
        publish.publish(
            world.partner(stores),
            stores=stores,
            now=act.at,
            release=act.release,
            holds_unfetched=act.unfetched,
            holds_nobodys=act.nobodys,
        )


@do.register
def _(act: Finish, world: World) -> None:
    with world.opened() as stores:
        _hide_what_had_not_appeared(world, stores)
        layout.finish(world.edc, stores=stores, now=act.at)


def _hide_what_had_not_appeared(world: World, stores: Stores) -> None:
    """A publication that was cut off had let none, some or all of its files appear, each behind its manifest; when it
    was done again, all. Which it was is told by the manifests as they were recorded: they say when they were laid.
    """
    event = tables.event
    with stores.ledger.read() as tx:
        unfinished = publications.unfinished(tx, world.edc)
        waiting = [file for one in unfinished for file in outbox.of_publication(tx, one)]
    for file in waiting:
        mine = (
            (event.c.name == "manifest.laid") & (event.c.partner == file.egs) & (event.c.about == file.name)
        )
        with world.real.ledger.read() as tx:
            said = tx.execute(select(event.c.details).where(mine).order_by(event.c.id).limit(1)).scalar()
        lies = stores.mailboxes.lies(file.egs, "outbound", manifest_name(file.name))
        if said is not None and lies is not None and lies.sha256 != said["sha256"]:
            layout.hide(file, stores=stores)


@do.register
def _(act: Collect, world: World) -> None:
    row = act.row
    reading = collect.Reading(
        partner=row["partner"],
        name=act.name,
        sent=row["bytes"],
        whole=row["whole"],
        began=row["began_at"],
        ended=row["ended_at"],
        session=row["session"],
        address=row["address"],
        key_fingerprint=row["key_fingerprint"],
    )
    with world.opened() as stores:
        collect.collect(reading, stores=stores)


@do.register
def _(act: Expire, world: World) -> None:
    file = tables.outbound_file
    mine = (file.c.egs == act.egs) & (file.c.name == act.name)
    with world.real.ledger.read() as source, world.place.hand() as target:
        state = source.execute(select(file.c.state).where(mine)).scalar_one()
        target.execute(update(file).where(mine).values(state=state, expired_at=act.at))


@do.register
def _(act: Elsewhere, world: World) -> None:
    publication, file = tables.publication, tables.outbound_file
    with world.real.ledger.read() as source, world.place.hand() as target:
        mine = publication.c.id == act.publication_id
        for row in source.execute(select(publication).where(mine)).mappings():
            target.execute(insert(publication).values(dict(row)))
        of_it = file.c.publication_id == act.publication_id
        for row in source.execute(select(file).where(of_it)).mappings():
            values = {name: value for name, value in row.items() if name != "id"}
            target.execute(insert(file).values(values))


@do.register
def _(act: Recorded, world: World) -> None:
    held_then.put_recorded(world.place, world.real, drop_id=act.drop_id)


@do.register
def _(act: Enforced, world: World) -> None:
    sync_, edcs = tables.sync, tables.sync.c.edc == world.edc
    with world.real.ledger.read() as source, world.place.hand() as target:
        row = dict(source.execute(select(sync_).where(sync_.c.id == act.sync_id)).mappings().one())
        target.execute(
            update(sync_)
            .where(edcs & (sync_.c.state == "in-force"))
            .values(state="superseded", superseded_at=act.at)
        )
        target.execute(delete(sync_).where(sync_.c.id == act.sync_id))
        target.execute(insert(sync_).values(row | {"state": "in-force", "superseded_at": None}))
    held_then.link(world.place.home.lake / row["path"], world.real.lake.root / row["path"])


@do.register
def _(act: Judge, world: World) -> None:
    with world.opened(act.under) as stores:
        deadline.judge(world.partner(stores), act.day, stores=stores, now=act.at)
