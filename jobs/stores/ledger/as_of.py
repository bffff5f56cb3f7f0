"""The ledger as it was: its rows after a given event of the history, and nothing that came later.

Rows are only ever added, or moved on by something of which there is an event; so each can be taken back to
where it stood. What is copied is written into a ledger of its own, which the same code reads as any other.
"""

from collections.abc import Iterable
from datetime import datetime
from itertools import islice

from sqlalchemy import Connection, Table, func, insert, select

from jobs.stores.ledger import given_out, taken_in
from jobs.stores.ledger.history import CHUNK, Later, Row, Until, Wanted, rows_of
from schemas import tables


def last_event(tx: Connection, instant: datetime) -> int:
    """The last event that had happened at an instant; 0 before the first."""
    event = tables.event
    return int(tx.execute(select(func.max(event.c.id)).where(event.c.at <= instant)).scalar_one() or 0)


def copy(source: Connection, target: Connection, *, until: Until, wanted: Wanted | None = None) -> None:
    """Write into an empty ledger what another one held when its history had come so far.

    Claims, runs of jobs and failures are not copied: they say what goes on, not what is known.
    """
    wanted = wanted or Wanted()
    later = Later.read(source, until)
    publications = list(given_out.publications(source, later, wanted))
    kept = {row["id"] for row in publications}
    syncs = list(taken_in.syncs(source, later, wanted))
    lake = list(taken_in.lake_files(source, later, wanted))
    seqs = {row["load_seq"] for row in lake}
    known = {row["id"] for row in lake}
    drops = list(taken_in.drops(source, later, wanted, {row["drop_id"] for row in lake}))
    begun = {row["id"] for row in drops}
    _put(target, tables.drop, drops)
    # A load that brought no new blocks has no file in the lake; it is there if its drop is wanted.
    _put(
        target,
        tables.load,
        (
            row
            for row in taken_in.loads(source, later, wanted)
            if not wanted.edc or row["seq"] in seqs or row["drop_id"] in wanted.drops
        ),
    )
    _put(target, tables.lake_file, lake)
    _put(target, tables.sync, syncs)
    _put(target, tables.sync_part, taken_in.parts(source, later, {row["id"] for row in syncs}, begun))
    _put(target, tables.publication, publications)
    _put(target, tables.outbound_file, given_out.outbound_files(source, later, wanted, kept))
    _put(target, tables.collection, given_out.collections(source, later, wanted))
    for table, rows in given_out.held(source, later, publications, known, wanted):
        _put(target, table, rows)
    _put(target, tables.verdict, given_out.verdicts(source, later, wanted))
    if not wanted.edc:
        _put(target, tables.event, rows_of(source, tables.event, until.earlier))


def _put(tx: Connection, table: Table, rows: Iterable[Row]) -> None:
    left = iter(rows)
    while some := list(islice(left, CHUNK)):
        tx.execute(insert(table), some)
