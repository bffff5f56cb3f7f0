"""What a sync changes, in words and numbers: for `meterhub sync diff` and `approve`."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime
from functools import partial
from typing import Any

import pyarrow as pa

from config.errors import RefusedError
from exchange.cli import show
from jobs.rules import moves, starts
from jobs.rules.moves import Moves
from jobs.rules.starts import Starts
from jobs.steps.publish.foreseen import Foreseen, foreseen
from jobs.steps.sync import losses
from jobs.steps.sync.losses import Unfetched
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster, beside
from schemas.usage_day import local_date


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Who gains and loses by another sync; and by EGS, whose start moves of the accounts that it keeps.
    `restarted`: each of those (`starts.CHANGES`), where accounts are asked for by name. `egss`: ids by DUNS.
    """

    moves: Moves
    starts: Sequence[Starts]
    restarted: pa.Table | None
    egss: Mapping[str, str]

    def named(self, duns: str) -> str:
        """What an EGS is called, as `Moves` calls it."""
        return self.egss.get(duns, f"unclaimed {duns}")


def between(
    before: Sync | None, after: Sync, *, accounts: bool = False, stores: Stores, now: datetime
) -> Difference:
    """What changes from one sync, or from none, to the other. `accounts`: name each that does."""
    known = stores.partners.current()
    edc = known.get(after.edc)
    if edc is None or edc.zone is None:
        raise RefusedError("no-such-edc", f"{after.edc}, whose sync this is, is no EDC among the partners")
    egss = {egs.duns: egs.id for egs in known.egss}
    today = local_date(now, edc.zone)
    holders_of = partial(moves.holders, egss=egss, today=today)
    had = () if before is None else _roster(before, stores).stretches()
    counted: Counter[tuple[str, str]] = Counter()
    named, restarted = [], []
    for some, others in beside(had, _roster(after, stores).stretches()):
        changes = moves.between(holders_of(some), holders_of(others))
        counted += moves.count(changes)
        if accounts:
            named.append(moves.moved(changes))
        restarted.append(starts.between(some, others, today=today))
    return Difference(
        moves=Moves(counted=counted, accounts=pa.concat_tables(named) if accounts else None),
        starts=starts.count(restarted),
        restarted=pa.concat_tables(restarted) if accounts else None,
        egss=egss,
    )


def _roster(one: Sync, stores: Stores) -> Roster:
    if not one.path:
        raise RefusedError(
            "no-roster",
            f"{one.id} is {one.state}: its parts have not been brought together",
            f"see: meterhub sync show {one.id}",
        )
    return Roster(stores.lake, one.path)


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """What a sync that waits would do to what EGSs have not fetched, and to what is held."""

    unfetched: Sequence[Unfetched] = ()
    held: Sequence[Foreseen] = ()
    claim_days: int = (
        0  # how long what came while nobody was of record waits for somebody; 0: nothing would change
    )


def waiting(before: Sync | None, after: Sync, *, stores: Stores, now: datetime) -> Waiting:
    """What would become of what waits by a sync that has not come into force, upon the one that is."""
    edc = stores.partners.current().get(after.edc)
    waits = after.in_force_at is None and (before is None or before.state == "in-force")
    if edc is None or edc.zone is None or not waits:
        return Waiting()
    return Waiting(
        unfetched=losses.unfetched(after, edc, today=local_date(now, edc.zone), stores=stores),
        held=foreseen(after, edc, stores=stores, now=now),
        claim_days=stores.settings.outbound.claim_days,
    )


def name_of(holder: str, stores: Stores) -> str:
    """What people call a holder that is a partner."""
    partner = stores.partners.current().get(holder)
    return partner.name if partner is not None else ""


def answer(before: Sync | None, after: Sync, difference: Difference, waits: Waiting) -> dict[str, Any]:
    """The difference for programs."""
    found = difference.moves
    said: dict[str, Any] = {
        "from": None if before is None else before.id,
        "to": after.id,
        "accounts_before": found.before,
        "moved": found.number,
        "new": found.new,
        "moves": [{"was": was, "becomes": becomes, "accounts": n} for was, becomes, n in found.pairs],
        "holders": [asdict(balance) for balance in found.balances],
        "starts": [asdict(one) | {"holder": difference.named(one.egs_duns)} for one in difference.starts],
        "unfetched": [asdict(one) for one in waits.unfetched],
        "held": [asdict(one) | {"free": one.free} for one in waits.held],
    }
    if found.accounts is not None and difference.restarted is not None:
        said["accounts"] = found.accounts.to_pylist()
        said["accounts_that_stay"] = difference.restarted.to_pylist()
    return said


def readable(before: Sync | None, after: Sync, difference: Difference, waits: Waiting) -> list[Any]:
    """The difference for people."""
    found = difference.moves
    since = "nothing in force" if before is None else f"{before.id} ({before.state}, as of {before.as_of})"
    shown: list[Any] = [f"From {since} to {after.id} ({after.state}, as of {after.as_of})"]
    if found.number:
        share = found.number / found.before
        shown.append(f"It moves {found.number:,} accounts, {share:.1%}, of {found.before:,} before.")
    else:
        shown.append("It moves no account.")
    if found.new:
        shown.append(f"New accounts: {found.new:,}.")
    if found.pairs:
        pairs = [(was, becomes, f"{count:,}") for was, becomes, count in found.pairs]
        shown.append(show.table(("of record was", "becomes", ">accounts"), pairs))
        rows = [
            (one.holder, *(f"{number:,}" for number in (one.before, one.loses, one.gains, one.after)))
            for one in found.balances
        ]
        shown.append(show.table(("", ">before", ">loses", ">gains", ">after"), rows))
    shown += _starts(difference)
    if lost := waits.unfetched:
        said = ", ".join(
            f"{one.blocks:,} in {one.files:,} file{'s'[: one.files > 1]} of {one.egs}" for one in lost
        )
        shown.append(f"Blocks that would be taken back before they were fetched: {said}.")
        shown.append("Those of usage days from the next supplier's start on go to it; the others are held.")
    shown += _held(waits.held)
    nobodys = sum(
        n for was, becomes, n in found.pairs if _is_nobody(was) and becomes in difference.egss.values()
    )
    if nobodys and waits.claim_days:
        shown.append(
            f"For {nobodys:,} account{'s'[: nobodys > 1]} nobody was of record and an EGS is then: what came of usage days from its start on, in the last {waits.claim_days} days, goes to it."
        )
    if found.accounts is not None and len(found.accounts):
        moved = [(row["account"], row["was"], row["becomes"]) for row in found.accounts.to_pylist()]
        shown.append(show.table(("account", "of record was", "becomes"), moved))
    if difference.restarted is not None and len(difference.restarted):
        stay = [
            (one["account"], difference.named(one["egs_duns"]), _day(one["was"]), _day(one["becomes"]))
            for one in difference.restarted.to_pylist()
        ]
        shown.append(show.table(("account", "stays with", "its start was", "becomes"), stay))
    return shown


def _starts(difference: Difference) -> list[Any]:
    """Of which accounts the EGS stays and the start moves."""
    if not difference.starts:
        return []
    earlier, later = (sum(getattr(one, kind) for one in difference.starts) for kind in ("earlier", "later"))
    rows = [
        (
            difference.named(one.egs_duns), f"{one.earlier:,}", f"{one.later:,}", one.account, _day(one.was),
            _day(one.becomes),
        )
        for one in difference.starts
    ]  # fmt: skip
    said = (
        f"Of accounts that stay with their EGS, the start moves of {earlier + later:,}: to an earlier day of "
        f"{earlier:,}, to a later one of {later:,}."
    )
    columns = ("stays with", ">earlier", ">later", "one of them", "its start was", "becomes")
    return [said, show.table(columns, rows)]


def _held(held: Sequence[Foreseen]) -> list[Any]:
    """What is held already, and what becomes of it."""
    if not held:
        return []
    rows = [
        (one.reason, f"{one.free + one.given_up + one.still:,}", f"{one.free:,}", f"{len(one.to):,}",
         f"{one.given_up:,}", f"{one.still:,}")
        for one in held
    ]  # fmt: skip
    columns = ("held for", ">blocks", ">given free", ">to EGSs", ">given up", ">held still")
    return ["What is held already, after the publication that follows:", show.table(columns, rows)]


def _is_nobody(holder: str) -> bool:
    return holder == moves.DEFAULT_SERVICE or holder.startswith("not yet ")


def _day(start: date | None) -> str:
    return "none said" if start is None else start.isoformat()
