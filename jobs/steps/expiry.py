"""expiry: what opens a partner's door and ends soon is warned of, 30, 14 and 3 days ahead, once each: its keys,
the authorities that sign its certificates, the certificates themselves, and its exception for old algorithms.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

from config.partners import Partner
from jobs.rules import expiry
from jobs.stores.ledger import events, runs, visits
from jobs.stores.opened import Stores

_JOB = "key-expiry"
_LONG = 60 * 86_400  # seconds of validity, from which on an end is warned of
_LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())  # what is said to end later never does


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Something that ends so soon that it is to be told: `ahead` is one of jobs.rules.expiry.AHEAD."""

    partner: Partner
    event: str
    about: str  # a fingerprint; of an exception, the partner
    expires: date
    ahead: int
    also: Sequence[tuple[str, Any]]  # what else the event says

    @property
    def run(self) -> str:
        """What is told once: with another date it is another end."""
        return f"{self.partner.id}/{self.about}/{self.expires}/{self.ahead}"


def warn(*, stores: Stores, now: datetime) -> tuple[Ending, ...]:
    """Tell each warning that is due and was not told, and give those. `now` is in UTC, as ends are."""
    due = list(_due(stores, now.date()))
    if not due:
        return ()
    with stores.ledger.read() as tx:
        due = [one for one in due if not runs.is_done(tx, _JOB, one.run)]
    return tuple(one for one in due if _tell(one, stores=stores, now=now))


def _due(stores: Stores, today: date) -> Iterator[Ending]:
    for partner in stores.partners.current().by_id.values():
        if partner.disabled:
            continue
        for event, about, expires, also in (*_ends(partner), *_certificates(partner, stores)):
            ahead = expiry.warning_due(expires, today=today)
            if ahead is not None:
                yield Ending(
                    partner=partner, event=event, about=about, expires=expires, ahead=ahead, also=also
                )


def _ends(partner: Partner) -> Iterator[tuple[str, str, date, list[tuple[str, Any]]]]:
    """What of a partner's has an end: its event, what that is about, the last day, and what else is said."""
    for event, held in (("key.expiring", partner.keys), ("authority.expiring", partner.authorities)):
        for one in held:
            if (last := one.expires) is not None:
                others = sum(key.expires is None or key.expires > last for key in held)
                yield event, one.fingerprint, last, [("others", others)]
    if partner.legacy is not None:
        said = [("algorithms", sorted(partner.legacy.allows))]
        yield "legacy.expiring", f"legacy of {partner.id}", partner.legacy.until, said


def _certificates(partner: Partner, stores: Stores) -> Iterator[tuple[str, str, date, list[tuple[str, Any]]]]:
    """The certificates that the partner came with last, of each authority and key id, unless they are short-lived:
    those are renewed without being warned of.
    """
    if not partner.authorities:
        return
    with stores.ledger.read() as tx:
        shown = [way.certificate for way in visits.ways(tx, partner.id) if way.certificate]
    newest: dict[tuple[str, str], Mapping[str, Any]] = {}
    for one in shown:
        name = one["authority"], one["key_id"]
        if name not in newest or newest[name]["until"] < one["until"]:
            newest[name] = one
    for one in newest.values():
        if one["until"] - one["since"] >= _LONG and one["until"] < _LATEST:
            # Until then, and not then: what ends at midnight ends with the day before.
            last = datetime.fromtimestamp(one["until"] - 1, UTC).date()
            yield (
                "certificate.expiring",
                one["key"],
                last,
                [("key_id", one["key_id"]), ("serial", one["serial"])],
            )


def _tell(ending: Ending, *, stores: Stores, now: datetime) -> bool:
    """Whether it was told now, and not by another process a moment ago."""
    with stores.ledger.write() as tx:
        if runs.is_done(tx, _JOB, ending.run):
            return False
        runs.began(tx, _JOB, ending.run, at=now)
        runs.ended(tx, _JOB, ending.run, at=now)
        events.record(
            tx,
            ending.event,
            at=now,
            about=ending.about,
            partner=ending.partner.id,
            expires=ending.expires.isoformat(),
            days=expiry.days_left(ending.expires, today=now.date()),
            **dict(ending.also),
        )
    return True
