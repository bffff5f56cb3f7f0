"""What becomes of blocks that were held, when the reason may be gone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from jobs.rules import versions
from jobs.rules.ownership import Nobody, Owners
from jobs.stores.ledger import events, holds
from jobs.stores.ledger.holds import Held
from jobs.stores.ledger.tallies import Tally


@dataclass(slots=True, kw_only=True)
class Release:
    """By id, which blocks are published, which never will be and why, and for which other reason the rest is
    held still.
    """

    published: list[int] = field(default_factory=list)
    never: dict[str, list[int]] = field(default_factory=dict)
    still: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    given_free: Tally = field(default_factory=Tally)
    given_up: Tally = field(default_factory=Tally)
    reheld: Tally = field(default_factory=Tally)

    def look_at(self, waiting: Sequence[Held], owners: Owners, *, oldest: datetime) -> dict[str, int]:
        """Decide on blocks of one lake file, by who is of record now: `owners`, a place each. What has been
        unclaimed since before `oldest` is given up. The answer: of those to be published, by key
        (versions.key), the place of its EGS.
        """
        out: dict[str, int] = {}
        for held, place, duns in zip(waiting, owners.place.tolist(), owners.duns.to_pylist(), strict=True):
            block = (held.lake_file_id, held.account, held.channel)
            if held.reason == "unclaimed" and held.since < oldest:
                self._give_up(held, "unclaimed for too long")
            elif place >= 0:
                out[f"{held.account}{versions.BETWEEN}{held.channel}"] = place
                self.published.append(held.id)
                self.given_free.add(*block)
            elif place in (Nobody.DEFAULT_SERVICE, Nobody.NOT_YET):
                self._give_up(held, "nobody is of record")
            else:
                reason = "suspense" if place == Nobody.SUSPENSE else "unclaimed"
                if (reason, duns or "") != (held.reason, held.egs_duns):
                    self.still.setdefault((reason, duns or ""), []).append(held.id)
                    self.reheld.add(*block, held.reason, held.egs_duns, reason, duns or "")
        return out

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
