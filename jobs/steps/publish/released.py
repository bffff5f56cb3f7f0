"""What becomes of blocks that were held, when the reason may be gone."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from jobs.rules import versions
from jobs.rules.ownership import Nobody, Owners
from jobs.stores.ledger import outbox
from jobs.stores.ledger.outbox import Held


@dataclass(slots=True, kw_only=True)
class Release:
    """By id, which blocks are published, which never will be and why, and for which other reason the rest is
    held still.
    """

    published: list[int] = field(default_factory=list)
    never: dict[str, list[int]] = field(default_factory=dict)
    still: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def look_at(self, waiting: Sequence[Held], owners: Owners, *, oldest: datetime) -> dict[str, int]:
        """Decide on blocks of one lake file, by who is of record now: `owners`, a place each. What has been
        unclaimed since before `oldest` is given up. The answer: of those to be published, by key
        (versions.key), the place of its EGS.
        """
        out: dict[str, int] = {}
        for held, place, duns in zip(waiting, owners.place.tolist(), owners.duns.to_pylist(), strict=True):
            if held.reason == "unclaimed" and held.since < oldest:
                self.never.setdefault("unclaimed for too long", []).append(held.id)
            elif place >= 0:
                out[f"{held.account}{versions.BETWEEN}{held.channel}"] = place
                self.published.append(held.id)
            elif place in (Nobody.DEFAULT_SERVICE, Nobody.NOT_YET):
                self.never.setdefault("nobody is of record", []).append(held.id)
            else:
                reason = "suspense" if place == Nobody.SUSPENSE else "unclaimed"
                if (reason, duns or "") != (held.reason, held.egs_duns):
                    self.still.setdefault((reason, duns or ""), []).append(held.id)
        return out

    def record(self, tx: Connection, *, publication_id: str, at: datetime) -> None:
        """Write it into the ledger."""
        outbox.release(tx, self.published, at=at, to=publication_id)
        for why, ids in self.never.items():
            outbox.release(tx, ids, at=at, to=why)
        for (reason, duns), ids in self.still.items():
            outbox.rehold(tx, ids, reason=reason, egs_duns=duns, found_by=publication_id)
