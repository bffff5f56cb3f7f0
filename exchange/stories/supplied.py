"""The story of an EGS's usage day: why each account of an EDC is among what it was given, or is not."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

from config.partners import Partner
from exchange.stories.story import Section, Story
from jobs.stores import supply
from jobs.stores.opened import Stores
from jobs.stores.supply import REASONS, Supply
from schemas import receipt


@dataclass(frozen=True, slots=True, kw_only=True)
class Supplied:
    """What is known of the day and one EDC: the story, and the accounts one by one."""

    edc: str
    story: Story
    _supply: Supply

    @property
    def unexplained(self) -> bool:
        """Whether any account is without a reason."""
        (why,) = self.story.sections
        return any(row["reason"] == "unexplained" for row in why.rows)

    def listed(self, *, reasons: Sequence[str], after: str, limit: int) -> Iterator[dict[str, Any]]:
        """Account by account, ready for JSON: those behind `after`, `limit` at most (0: all), for some reasons or all;
        a row a channel.
        """
        for batch in self._supply.accounts(reasons=reasons, after=after, limit=limit):
            for row in batch.to_pylist():
                reason, account, channel = row.pop("reason"), row.pop("account"), row.pop("channel")
                first = {"edc": self.edc, "account": account, "channel": channel}
                first |= {"in": REASONS[reason][0], "reason": reason}
                yield first | {name: _plain(value) for name, value in row.items()}


@contextmanager
def told(
    egs: Partner, edc: Partner, day: date, *, stores: Stores, now: datetime
) -> Iterator[Supplied | None]:
    """What there is of the EDC, read while the block runs; None when there is nothing."""
    with supply.worked_out(egs, edc, day, stores=stores, now=now) as it:
        story = _story(egs, edc, day, it)
        yield None if story is None else Supplied(edc=edc.id, story=story, _supply=it)


def proof(row: Mapping[str, Any]) -> str:
    """What proves why an account is in or out, in few words."""
    fetched = f", fetched {row['collected_at'][5:16].replace('T', ' ')}" if row["collected_at"] else ""
    match row["reason"]:
        case "given" | "given-older" | "given-before" | "fetched":
            return f"v{row['given_version']}, file {row['sequence']}{fetched}"
        case "taken-back" | "rewrite-due":
            by = f", {row['withdrawn_by']}" if row["withdrawn_by"] else ""
            return f"file {row['sequence']}{by}{', was fetched' if fetched else ''}"
        case "held":
            return f"{row['held_for']}, since {row['held_since'][:10]}"
        case "given-up":
            return str(row["release"])
        case "before-switch" | "nobodys":
            return f"{row['publication']}, by {row['published_by']}"
        case "waiting":
            return str(row["drop"])
        case "starts-later" | "not-yet":
            return f"from {row['egs_start']}"
    return ""


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return receipt.instant(value)
    return value.isoformat() if isinstance(value, date) else value


def _story(egs: Partner, edc: Partner, day: date, it: Supply) -> Story | None:
    counts = it.counts()
    if not counts or (it.loaded == 0 and all(not REASONS[one.reason][0] for one in counts)):
        return None
    rows = [
        {
            "in": REASONS[one.reason][0],
            "reason": one.reason,
            "accounts": one.accounts,
            "blocks": one.blocks,
            "means": REASONS[one.reason][1],
        }
        for one in counts
    ]
    of, inside = it.totals()
    none = "" if it.sync else f"; no sync of {edc.id} is in force, so nobody is of record"
    facts = {
        "egs": egs.id,
        "edc": edc.id,
        "usage_day": day.isoformat(),
        "sync": it.sync.id if it.sync else None,
        "sync_as_of": it.sync.as_of.isoformat() if it.sync else None,
        "drops_loaded": it.loaded,
    }
    columns = {"in": "in", "accounts": ">accounts", "reason": "reason", "means": "why"}
    return Story(
        kind="egs-day",
        subject=egs.id,
        summary=f"Of {of:,} accounts of {edc.id}, {inside:,} are in what {egs.id} was given of {day}{none}.",
        facts=facts,
        sections=[
            Section(
                key="reasons", title="Why", columns=columns, rows=rows, note="--list tells of each account"
            )
        ],
    )
