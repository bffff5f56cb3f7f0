"""What a sync changes, in words and numbers: for `meterhub sync diff` and `approve`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from functools import partial
from typing import Any

import pyarrow as pa

from config.errors import RefusedError
from exchange.cli import show
from jobs.rules import moves
from jobs.rules.moves import Moves
from jobs.steps.sync import losses
from jobs.steps.sync.losses import Unfetched
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster, beside
from schemas.usage_day import local_date


def between(
    before: Sync | None, after: Sync, *, accounts: bool = False, stores: Stores, now: datetime
) -> Moves:
    """What changes from one sync, or from none, to the other. `accounts`: name each that changes hands."""
    known = stores.partners.current()
    edc = known.get(after.edc)
    if edc is None or edc.zone is None:
        raise RefusedError("no-such-edc", f"{after.edc}, whose sync this is, is no EDC among the partners")
    egss = {egs.duns: egs.id for egs in known.egss}
    holders_of = partial(moves.holders, egss=egss, today=local_date(now, edc.zone))
    had = () if before is None else _roster(before, stores).stretches()
    counted: Counter[tuple[str, str]] = Counter()
    named = []
    for some, others in beside(had, _roster(after, stores).stretches()):
        changes = moves.between(holders_of(some), holders_of(others))
        counted += moves.count(changes)
        if accounts:
            named.append(moves.moved(changes))
    return Moves(counted=counted, accounts=pa.concat_tables(named) if accounts else None)


def _roster(one: Sync, stores: Stores) -> Roster:
    if not one.path:
        raise RefusedError(
            "no-roster",
            f"{one.id} is {one.state}: its parts have not been brought together",
            f"see: meterhub sync show {one.id}",
        )
    return Roster(stores.lake, one.path)


def unfetched(before: Sync | None, after: Sync, *, stores: Stores, now: datetime) -> list[Unfetched]:
    """What would be taken back unfetched by a sync that has not come into force, upon the one that is."""
    edc = stores.partners.current().get(after.edc)
    waits = after.in_force_at is None and (before is None or before.state == "in-force")
    if edc is None or edc.zone is None or not waits:
        return []
    return losses.unfetched(after, edc, today=local_date(now, edc.zone), stores=stores)


def name_of(holder: str, stores: Stores) -> str:
    """What people call a holder that is a partner."""
    partner = stores.partners.current().get(holder)
    return partner.name if partner is not None else ""


def answer(before: Sync | None, after: Sync, found: Moves, lost: Sequence[Unfetched]) -> dict[str, Any]:
    """The difference for programs."""
    said: dict[str, Any] = {
        "from": None if before is None else before.id,
        "to": after.id,
        "accounts_before": found.before,
        "moved": found.number,
        "new": found.new,
        "moves": [{"was": was, "becomes": becomes, "accounts": n} for was, becomes, n in found.pairs],
        "holders": [asdict(balance) for balance in found.balances],
        "unfetched": [asdict(one) for one in lost],
    }
    return said if found.accounts is None else said | {"accounts": found.accounts.to_pylist()}


def readable(before: Sync | None, after: Sync, found: Moves, lost: Sequence[Unfetched]) -> list[Any]:
    """The difference for people."""
    since = "nothing in force" if before is None else f"{before.id} ({before.state}, as of {before.as_of})"
    shown: list[Any] = [f"From {since} to {after.id} ({after.state}, as of {after.as_of})"]
    if found.number:
        share = found.number / found.before
        shown.append(f"It moves {found.number:,} accounts, {share:.1%}, of {found.before:,} before.")
    else:
        shown.append("It moves no account.")
    if found.new:
        shown.append(f"New accounts: {found.new:,}.")
    if not found.pairs:
        return shown
    pairs = [(was, becomes, f"{count:,}") for was, becomes, count in found.pairs]
    shown.append(show.table(("of record was", "becomes", ">accounts"), pairs))
    rows = [
        (one.holder, *(f"{number:,}" for number in (one.before, one.loses, one.gains, one.after)))
        for one in found.balances
    ]
    shown.append(show.table(("", ">before", ">loses", ">gains", ">after"), rows))
    if lost:
        said = ", ".join(
            f"{one.blocks:,} in {one.files:,} file{'s'[: one.files > 1]} of {one.egs}" for one in lost
        )
        shown.append(f"Blocks that would be taken back before they were fetched: {said}.")
        shown.append("Those of usage days from the next supplier's start on go to it; the others are held.")
    if found.accounts is not None:
        moved = [(row["account"], row["was"], row["becomes"]) for row in found.accounts.to_pylist()]
        shown.append(show.table(("account", "of record was", "becomes"), moved))
    return shown
