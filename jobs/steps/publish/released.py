"""What becomes of blocks that were held, when the reason may be gone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime

from sqlalchemy import Connection

from jobs.rules import ownership, versions
from jobs.rules.ownership import Nobody, Owners
from jobs.steps.publish import awaiting
from jobs.steps.publish.nobodys import Claimed
from jobs.stores.ledger import events, holds
from jobs.stores.ledger.holds import Held
from jobs.stores.ledger.tallies import Tally

# What is not held for ever, and why it was given up then (24 characters at most).
_GIVEN_UP = {
    "unclaimed": "unclaimed for too long",
    "unfetched": "nobody's for too long",
    "nobody": "nobody's for too long",
}


@dataclass(slots=True, kw_only=True)
class Release:
    """By id, which blocks are published, which never will be and why, and for which other reason the rest is
    held still.
    """

    published: list[int] = field(default_factory=list)
    never: dict[str, list[int]] = field(default_factory=dict)
    still: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    holds_nobodys: bool  # older publications gave up what nobody was of record for
    given_free: Tally = field(default_factory=Tally)
    given_up: Tally = field(default_factory=Tally)
    reheld: Tally = field(default_factory=Tally)

    def look_at(
        self, waiting: Sequence[Held], owners: Owners, *, day: date, oldest: datetime
    ) -> dict[str, int]:
        """Decide on blocks of one lake file, of usage day `day`, by who is of record now: `owners`, a place each.
        What has been unclaimed, unfetched or nobody's since before `oldest` is given up. The answer: of those to be
        published, by key (versions.key), the place of its EGS.
        """
        out: dict[str, int] = {}
        mays, waits_for = owners.supplied_on(day).tolist(), awaiting.waits_for(owners, day=day).to_pylist()
        for held, place, duns, may, awaited in zip(
            waiting, owners.place.tolist(), owners.duns.to_pylist(), mays, waits_for, strict=True
        ):
            reason, of = "suspense" if place == Nobody.SUSPENSE else "unclaimed", duns or ""
            if held.reason in awaiting.EVENTS:
                reason, of = held.reason, awaited
            elif place in ownership.NOBODYS:
                reason, of = "nobody", ""
            if held.reason in _GIVEN_UP and held.since < oldest:
                self._give_up(held, _GIVEN_UP[held.reason])
            elif place >= 0 and (may or held.reason not in awaiting.EVENTS):
                out[f"{held.account}{versions.BETWEEN}{held.channel}"] = place
                self.published.append(held.id)
                self.given_free.add(held.lake_file_id, held.account, held.channel)
            elif reason == "nobody" and not self.holds_nobodys:
                self._give_up(held, "nobody is of record")
            elif (reason, of) != (held.reason, held.egs_duns):
                self.still.setdefault((reason, of), []).append(held.id)
                was = (held.reason, held.egs_duns)
                self.reheld.add(held.lake_file_id, held.account, held.channel, *was, reason, of)
        return out

    def take_in(self, claims: Sequence[Claimed]) -> None:
        """Blocks that came while nobody was of record, and are published by the roster in force."""
        for one in claims:
            for row in one.given.to_pylist():
                self.given_free.add(row["lake_file_id"], row["account"], row["channel"])

    def _give_up(self, held: Held, why: str) -> None:
        self.never.setdefault(why, []).append(held.id)
        self.given_up.add(held.lake_file_id, held.account, held.channel, why)

    def record(self, tx: Connection, held: Tally, *, publication_id: str, edc: str, at: datetime) -> None:
        """Write it into the ledger. `held`: what the publication holds back besides."""
        if self.given_up.count:  # rows do not say by which publication: a tally has all of its instant
            for block in holds.given_up(tx, edc=edc, at=at, besides=publication_id):
                self.given_up.add(*block)
        say = {"held": held, "given_free": self.given_free, "given_up": self.given_up, "reheld": self.reheld}
        if any(one.count for one in say.values()):
            said = {name: str(one) for name, one in say.items()}
            events.record(tx, "blocks.held", at=at, about=publication_id, partner=edc, **said)
        holds.release(tx, self.published, at=at, to=publication_id)
        for why, ids in self.never.items():
            holds.release(tx, ids, at=at, to=why)
        for (reason, duns), ids in self.still.items():
            holds.rehold(tx, ids, reason=reason, egs_duns=duns, found_by=publication_id)
