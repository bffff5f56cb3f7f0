"""expiry: keys of partners that end soon are warned of, 30, 14 and 3 days ahead, once each."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime

from config.authorized_key import AuthorizedKey
from config.partners import Partner
from jobs.rules import expiry
from jobs.stores.ledger import events, runs
from jobs.stores.opened import Stores

_JOB = "key-expiry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A key that ends so soon that it is to be told: `ahead` is one of jobs.rules.expiry.AHEAD."""

    partner: Partner
    key: AuthorizedKey
    expires: date
    ahead: int

    @property
    def run(self) -> str:
        """What is told once: with another date it is another end."""
        return f"{self.partner.id}/{self.key.fingerprint}/{self.expires}/{self.ahead}"


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
        for key in () if partner.disabled else partner.keys:
            ahead = expiry.warning_due(key.expires, today=today)
            if key.expires is not None and ahead is not None:
                yield Ending(partner=partner, key=key, expires=key.expires, ahead=ahead)


def _tell(ending: Ending, *, stores: Stores, now: datetime) -> bool:
    """Whether it was told now, and not by another process a moment ago."""
    others = [key for key in ending.partner.keys if key.expires is None or key.expires > ending.expires]
    with stores.ledger.write() as tx:
        if runs.is_done(tx, _JOB, ending.run):
            return False
        runs.began(tx, _JOB, ending.run, at=now)
        runs.ended(tx, _JOB, ending.run, at=now)
        events.record(
            tx,
            "key.expiring",
            at=now,
            about=ending.key.fingerprint,
            partner=ending.partner.id,
            expires=ending.expires.isoformat(),
            days=expiry.days_left(ending.expires, today=now.date()),
            others=len(others),
        )
    return True
