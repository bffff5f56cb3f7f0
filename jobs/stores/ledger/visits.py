"""How partners come: one row for each way in which one's client comes (which client, speaking what, with which
key), and one for each reason for which it was turned away. Counted, not kept one by one, so that neither grows
with the nights.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, delete, insert, select, update

from schemas import tables
from schemas.tables import ISO
from schemas.visit import TurnedAway, Visit

KEPT = timedelta(days=400)  # since it was last seen
_WAYS = 200  # of one partner; beyond, those that were not seen for longest are forgotten
_ADDRESSES = 12  # of one way, the latest

_visit, _turned = tables.visit, tables.turned_away


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """A way in which a partner's client comes; a row of schemas.tables.visit."""

    client: str
    spoken: Mapping[str, str]
    offers: Mapping[str, list[str]]
    credential: str
    certificate: Mapping[str, Any]
    first_at: datetime
    last_at: datetime
    sessions: int
    most_at_once: int
    habits: Mapping[str, int]
    hours: list[int]  # sessions that began in each hour of the day, in UTC
    addresses: Mapping[str, str]  # with the instant at which it was last seen


def note(tx: Connection, visit: Visit, *, at: datetime) -> None:
    """Count sessions that have ended."""
    mine = (_visit.c.partner == visit.partner) & (_visit.c.way == _way(visit))
    row = tx.execute(select(_visit).where(mine)).mappings().one_or_none()
    known = dict(row) if row is not None else _new(tx, visit)
    hours = list(known["hours"])
    for began in visit.began:
        hours[began.hour] += 1
    addresses = {name: seen for name, seen in known["addresses"].items() if name not in visit.addresses}
    addresses |= dict.fromkeys(visit.addresses, at.strftime(ISO))
    values = {
        "certificate": dict(visit.certificate),
        "last_at": at,
        "sessions": known["sessions"] + len(visit.began),
        "most_at_once": max(known["most_at_once"], visit.most_at_once),
        "habits": dict(Counter(known["habits"]) + Counter(visit.habits)),
        "hours": hours,
        "addresses": dict(list(addresses.items())[-_ADDRESSES:]),
    }
    if row is not None:
        tx.execute(update(_visit).where(mine).values(values))
    else:
        tx.execute(insert(_visit).values({**known, **values, "first_at": visit.began[0]}))


def note_turned_away(tx: Connection, turned: TurnedAway, *, at: datetime) -> None:
    """Count a try to log in that failed."""
    mine = (_turned.c.partner == turned.partner) & (_turned.c.reason == turned.reason)
    times = tx.execute(select(_turned.c.times).where(mine)).scalar_one_or_none()
    said = {"address": turned.address, "client": turned.client, "key": turned.key, "words": turned.words}
    if times is not None:
        tx.execute(update(_turned).where(mine).values(times=times + 1, last_at=at, **said))
    else:
        named = {"partner": turned.partner, "reason": turned.reason}
        tx.execute(insert(_turned).values(times=1, first_at=at, last_at=at, **named, **said))


def ways(tx: Connection, partner: str) -> list[Way]:
    """The ways in which a partner's client comes, the latest first."""
    query = select(_visit).where(_visit.c.partner == partner).order_by(_visit.c.last_at.desc())
    names = Way.__dataclass_fields__
    return [Way(**{name: row[name] for name in names}) for row in tx.execute(query).mappings()]


def seen_from(tx: Connection, addresses: Collection[str]) -> dict[str, set[str]]:
    """Of each of these addresses, the partners that were seen there lately."""
    found: dict[str, set[str]] = {}
    for partner, seen in tx.execute(select(_visit.c.partner, _visit.c.addresses)):
        for address in seen.keys() & set(addresses):
            found.setdefault(address, set()).add(partner)
    return found


def turned_away(tx: Connection, partner: str) -> list[dict[str, Any]]:
    """Why a partner was turned away, the latest first: rows of schemas.tables.turned_away."""
    query = select(_turned).where(_turned.c.partner == partner).order_by(_turned.c.last_at.desc())
    return [dict(row) for row in tx.execute(query).mappings()]


def any_before(tx: Connection, before: datetime) -> bool:
    """Whether there is anything that was not seen since."""
    olds = (
        select(_visit.c.way).where(_visit.c.last_at < before),
        select(_turned.c.reason).where(_turned.c.last_at < before),
    )
    return any(tx.execute(query.limit(1)).first() is not None for query in olds)


def forget(tx: Connection, *, now: datetime) -> int:
    """Take away what has not been seen for KEPT. How much that is."""
    before = now - KEPT
    gone = tx.execute(delete(_visit).where(_visit.c.last_at < before)).rowcount
    return gone + tx.execute(delete(_turned).where(_turned.c.last_at < before)).rowcount


def _way(visit: Visit) -> str:
    facts = (visit.client, visit.spoken, visit.offers, visit.credential, bool(visit.certificate))
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _new(tx: Connection, visit: Visit) -> dict[str, Any]:
    """A row for a way that was not seen before; of very many ways of a partner, the oldest makes room."""
    mine = _visit.c.partner == visit.partner
    query = select(_visit.c.way).where(mine).order_by(_visit.c.last_at.desc()).offset(_WAYS - 1)
    for old in list(tx.execute(query).scalars()):
        tx.execute(delete(_visit).where(mine & (_visit.c.way == old)))
    return {
        "partner": visit.partner,
        "way": _way(visit),
        "client": visit.client,
        "spoken": dict(visit.spoken),
        "offers": {kind: list(names) for kind, names in visit.offers.items()},
        "credential": visit.credential,
        "sessions": 0,
        "most_at_once": 0,
        "habits": {},
        "hours": [0] * 24,
        "addresses": {},
    }
