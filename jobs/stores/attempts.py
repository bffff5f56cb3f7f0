"""Attempts: work under a claim, and what becomes of it when it fails again and again.

Drops and syncs that have failed three times in a row, or that processes have died of, are parked: left alone
until an operator has them tried again. What the clock makes due is tried again by the clock. What fails
because of its place (a full disk, no ledger) is no failure of its own: it waits, and that is kept for status.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from enum import Enum, auto

from sqlalchemy import Connection

from jobs.stores import place
from jobs.stores.ledger import LedgerUnreachable, claims, drops, failures, syncs
from jobs.stores.ledger.claims import Taken
from jobs.stores.opened import Stores

DIED = "the process that did it was killed, or died"
_PARKS = {"drop", "sync"}


class Turn(Enum):
    """Whether work may begin."""

    MINE = auto()
    ELSEWHERE = auto()  # another process does it at this moment
    PARKED = auto()  # it has failed too often


@contextmanager
def attempt(key: str, *, stores: Stores, now: datetime) -> Iterator[Turn]:
    """Hold the claim `key` (`drop:D130902-00042`, `publish:cnp@…`) while the block runs, and keep count of
    how it ends.
    """
    task = _task(key)
    with stores.ledger.write() as tx:
        taken = claims.take(tx, key, owner=stores.owner, now=now)
        turn = Turn.MINE if taken else Turn.ELSEWHERE
        if taken is Taken.OVER:
            _count(tx, task, DIED, at=now)
        if taken and failures.is_parked(tx, task):
            claims.give_back(tx, key)
            turn = Turn.PARKED
    if turn is not Turn.MINE:
        yield turn
        return
    try:
        yield turn
    except Exception as error:
        _give_back(key, error, stores=stores, now=now)
        raise
    except BaseException:
        claims.hand_back(stores.ledger, key, owner=stores.owner)
        raise
    _give_back(key, None, stores=stores, now=now)


def take_back(*, stores: Stores, now: datetime) -> list[str]:
    """At a start: free what processes had in hand that are gone. What they died of is counted; its keys."""
    with stores.ledger.write() as tx:
        cut_off = claims.take_back(tx, owner=stores.owner)
        for key in cut_off:
            _count(tx, _task(key), DIED, at=now)
        failures.clear_kind(tx, "sweep")  # a hub that starts begins anew
    stores.owner.clear_up()
    return cut_off


def note(task: str, error: BaseException, *, stores: Stores, now: datetime) -> None:
    """Count a failure of work that has no claim: a stage of a sweep. Raises LedgerUnreachable."""
    by_its_place = place.is_at_fault(error, stores)
    with stores.ledger.write() as tx:
        _failed(tx, task, error, by_its_place=by_its_place, stores=stores, at=now)


def went_well(task: str, *, stores: Stores) -> None:
    """Work without a claim that had failed has gone well."""
    with stores.ledger.write() as tx:
        failures.clear(tx, task)


def _give_back(key: str, error: Exception | None, *, stores: Stores, now: datetime) -> None:
    by_its_place = error is not None and place.is_at_fault(error, stores)
    try:
        with stores.ledger.write() as tx:
            if error is None:
                failures.clear(tx, _task(key))
            else:
                _failed(tx, _task(key), error, by_its_place=by_its_place, stores=stores, at=now)
            claims.give_back(tx, key)
    except LedgerUnreachable:
        stores.owner.leave()
        raise


def _failed(
    tx: Connection, task: str, error: BaseException, *, by_its_place: bool, stores: Stores, at: datetime
) -> None:
    """Keep why work stopped: as one more failure of its own, or as waiting for its place."""
    if not by_its_place:
        _count(tx, task, f"{type(error).__name__}: {error}", at=at)
        return
    kind, _, about = task.partition(":")
    failures.wait(
        tx, task, about=about, partner=_partner(tx, kind, about), why=place.told(error, stores), at=at
    )


def _count(tx: Connection, task: str, why: str, *, at: datetime) -> None:
    kind, _, about = task.partition(":")
    failures.count(
        tx, task, about=about, partner=_partner(tx, kind, about), why=why, at=at, parks=kind in _PARKS
    )


def _partner(tx: Connection, kind: str, about: str) -> str:
    """Whose work it is: of a drop, a sync, or an EDC."""
    try:
        if kind == "drop":
            return drops.get(tx, about).partner
        if kind == "sync":
            return syncs.get(tx, about).edc
    except KeyError:
        return ""
    return about.partition("/")[0]


def _task(key: str) -> str:
    """What is counted: a publication of any slot is the same work."""
    return key.partition("@")[0]
