"""Find the outbound files that hold what their EGS loses by a sync."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from config.errors import PartnerError
from config.partners import Partner
from jobs.rules import ownership
from jobs.stores import layout, side_by_side
from jobs.stores.ledger import outbox
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.outbound import read_contents
from jobs.stores.rosters import Roster

_AT_ONCE = 500_000  # blocks whose accounts a thread looks up in one go: 12 MB


def files(sync: Sync, edc: Partner, *, today: date, stores: Stores) -> list[OutboundFile]:
    """The outbound files that hold an account of which, by this sync, their EGS is not of record."""
    partners = stores.partners.current()
    with stores.ledger.read() as tx:
        live = outbox.live(tx, edc=edc.id)
    if unknown := sorted({file.egs for file in live} & partners.left_out):
        # By a mistake in its file an EGS loses nothing, and it is shown nothing that it should lose.
        raise PartnerError(
            "partner-left-out",
            f"{sync.id} cannot come into force: {', '.join(unknown)} has files of {edc.id}'s accounts, and "
            "its partner's file cannot be taken",
            "mend its file, then: meterhub sweep",
        )
    return [file for file, loses in _losses(sync, live, today=today, stores=stores) if loses]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfetched:
    """What an EGS has not fetched yet and loses by a sync: blocks, in so many files."""

    egs: str
    files: int
    blocks: int


def unfetched(sync: Sync, edc: Partner, *, today: date, stores: Stores) -> list[Unfetched]:
    """By EGS, what would be taken back from it before it was fetched, if this sync came into force."""
    with stores.ledger.read() as tx:
        waiting = [file for file in outbox.live(tx, edc=edc.id) if file.collected_at is None]
    files, blocks = Counter[str](), Counter[str]()
    for file, loses in _losses(sync, waiting, today=today, stores=stores):
        files[file.egs] += loses > 0
        blocks[file.egs] += loses
    return [Unfetched(egs=egs, files=files[egs], blocks=count) for egs, count in blocks.items() if count]


def _losses(
    sync: Sync, live: list[OutboundFile], *, today: date, stores: Stores
) -> Iterator[tuple[OutboundFile, int]]:
    """Each of these files, and how many of its blocks are of accounts of which its EGS is not of record by the sync."""
    partners = stores.partners.current()
    holders = sorted({file.egs for file in live if partners.get(file.egs) is not None})
    accounts_of: dict[str, pa.ChunkedArray] = {}
    if holders:
        duns = [partners.by_id[egs].duns for egs in holders]
        standing = Roster(stores.lake, sync.path).stretches()
        shares = ownership.shared_out(standing, egs_duns=duns, today=today)
        accounts_of = dict(zip(holders, shares, strict=True))
    none = pa.chunked_array([], pa.string())

    def lose(some: list[OutboundFile]) -> list[int]:
        return _lose(some, accounts_of.get(some[0].egs, none), stores)

    portions = list(_some(live))
    with side_by_side.threads() as threads:
        for some, loses in zip(portions, threads.map(lose, portions), strict=True):
            yield from zip(some, loses, strict=True)


def _some(live: list[OutboundFile]) -> Iterator[list[OutboundFile]]:
    """Files, sorted by EGS, some of one EGS at a time."""
    some: list[OutboundFile] = []
    for file in live:
        if some and (file.egs != some[0].egs or sum(one.blocks for one in some) + file.blocks > _AT_ONCE):
            yield some
            some = []
        some.append(file)
    if some:
        yield some


def _lose(some: list[OutboundFile], theirs: pa.ChunkedArray, stores: Stores) -> list[int]:
    """How many blocks of each of an EGS's files are of accounts that are not among `theirs`."""
    held = [read_contents(layout.contents_path(file, stores=stores), ["account"])["account"] for file in some]
    accounts = pa.chunked_array([chunk for column in held for chunk in column.chunks], pa.string())
    strange = ~pc.is_in(accounts, value_set=theirs).to_numpy()
    before = np.append(0, np.cumsum(strange))
    ends = np.cumsum([len(column) for column in held])
    lost: list[int] = np.diff(before[np.append(0, ends)]).tolist()
    return lost
