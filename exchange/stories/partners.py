"""The story of a partner, in short: what it is, what it sent or fetched last, and what of it waits."""

from datetime import date, datetime
from typing import Any

from sqlalchemy import Connection

from config.partners import Partner, Role
from exchange.stories.story import Story, instant
from jobs.rules import expiry
from jobs.stores.ledger import drops, failures, holds, outbox, publications, standing, syncs
from jobs.stores.opened import Stores
from schemas.drop import UNDER_WAY, Stage


def tell(partner: Partner, *, stores: Stores, now: datetime) -> Story:
    """What there is to say of it."""
    facts: dict[str, Any] = {
        "name": partner.name,
        "role": str(partner.role),
        "duns": partner.duns or None,
        "may_log_in": not partner.disabled and bool(partner.keys or partner.authorities),
        "disabled": partner.disabled or None,
        "its_keys": _keys(partner, now.date()),
    }
    with stores.ledger.read() as tx:
        if partner.role is Role.EDC:
            facts |= _of_edc(partner, tx)
        elif partner.role is Role.EGS:
            facts |= _of_egs(partner, [edc.id for edc in stores.partners.current().edcs], tx)
    return Story(
        kind="partner",
        subject=partner.id,
        summary=f"{partner.id} is {partner.name}, {_WHAT[partner.role]}.",
        facts=facts | {"more": _MORE[partner.role].format(id=partner.id, day=now.date())},
    )


_WHAT = {
    Role.EDC: "an EDC: it sends readings and rosters",
    Role.EGS: "an EGS: readings are laid before it",
    Role.THIRD_PARTY: "a third party",
    Role.AUDITOR: "an auditor",
}
_MORE = {
    Role.EDC: "meterhub drops --edc {id}; meterhub sync list --edc {id}; meterhub doctor {id}",
    Role.EGS: "meterhub explain {id} --day DAY, why each account is in what it was given; meterhub doctor {id}",
    Role.THIRD_PARTY: "meterhub doctor {id}",
    Role.AUDITOR: "meterhub doctor {id}",
}


def _keys(partner: Partner, today: date) -> str:
    """How many keys and authorities there are, and when the last of them ends."""
    held = (*partner.keys, *partner.authorities)
    last = expiry.last_day(key.expires for key in held)
    if not held:
        return "none yet"
    if last is None:
        return f"{len(held)}{'' if len(held) == 1 else ', at least one of them'} without an end"
    ended = expiry.days_left(last, today=today) < 0
    return f"{len(held)}, the last of which {'ended' if ended else 'ends'} on {last}"


def _of_edc(edc: Partner, tx: Connection) -> dict[str, Any]:
    last = next(iter(drops.listed(tx, partner=edc.id, limit=1)), None)
    sync = syncs.in_force(tx, edc.id)
    waits = [one.id for one in drops.at_stage(tx, UNDER_WAY) if one.partner == edc.id]
    broken = [one.name for one in drops.at_stage(tx, [Stage.INCOMPLETE]) if one.partner == edc.id]
    held: dict[str, int] = {}
    for (reason, _), count in holds.counts(tx, edc.id).items():
        held[reason] = held.get(reason, 0) + count
    failing = [failures.of(tx, one) or failures.waits(tx, one) for one in waits]
    loads, _ = standing.unpublished(tx, edc=edc.id, after_seq=publications.cursor(tx, edc.id))
    return {
        "sync": None if sync is None else sync.id,
        "last_sent": None if last is None else last.id,
        "last_file": None if last is None else last.name,
        "last_came_at": None if last is None else instant(last.arrived_at),
        "last_stage": None if last is None else str(last.outcome or last.stage),
        "drops_waiting": waits or None,
        "drops_that_failed": [f"{one.about}: {one.why}" for one in failing if one is not None] or None,
        "uploads_broken_off": broken or None,
        "loads_not_published": loads,
        "blocks_held": ", ".join(f"{count:,} {reason}" for reason, count in sorted(held.items())) or None,
    }


def _of_egs(egs: Partner, edcs: list[str], tx: Connection) -> dict[str, Any]:
    fetched = outbox.last_fetched(tx, egs.id)
    waiting = [standing.uncollected(tx, edc=edc).get(egs.id) for edc in edcs]
    there = [one for one in waiting if one is not None]
    return {
        "last_sequence": outbox.last_sequences(tx, [egs.id])[egs.id],
        "last_fetched": None if fetched is None else fetched.name,
        "last_fetched_at": None if fetched is None else instant(fetched.collected_at),
        "files_to_be_fetched": sum(files for files, _ in there),
        "the_oldest_since": instant(min((oldest for _, oldest in there), default=None)),
    }
