"""What a sync changes, in words and numbers: for `meterhub sync diff` and `approve`."""

from dataclasses import asdict
from datetime import datetime
from typing import Any

import pyarrow as pa

from config.errors import RefusedError
from exchange.cli import show
from jobs.rules import moves
from jobs.rules.moves import HOLDERS, Moves
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster
from schemas.usage_day import local_date


def holders(one: Sync, *, stores: Stores, now: datetime) -> pa.Table:
    """Who is of record today for each account of a sync (`jobs.rules.moves.HOLDERS`)."""
    if not one.path:
        raise RefusedError(
            "no-roster",
            f"{one.id} is {one.state}: its parts have not been brought together",
            f"see: meterhub sync show {one.id}",
        )
    known = stores.partners.current()
    edc = known.get(one.edc)
    if edc is None or edc.zone is None:
        raise RefusedError("no-such-edc", f"{one.edc}, whose sync this is, is no EDC among the partners")
    egss = {egs.duns: egs.id for egs in known.egss}
    return moves.holders(Roster(stores.lake, one.path).accounts(), egss=egss, today=local_date(now, edc.zone))


def between(before: Sync | None, after: Sync, *, stores: Stores, now: datetime) -> Moves:
    """What changes from one sync, or from none, to the other."""
    had = HOLDERS.empty_table() if before is None else holders(before, stores=stores, now=now)
    return moves.between(had, holders(after, stores=stores, now=now))


def name_of(holder: str, stores: Stores) -> str:
    """What people call a holder that is a partner."""
    partner = stores.partners.current().get(holder)
    return partner.name if partner is not None else ""


def answer(before: Sync | None, after: Sync, found: Moves, *, accounts: bool) -> dict[str, Any]:
    """The difference for programs."""
    said: dict[str, Any] = {
        "from": None if before is None else before.id,
        "to": after.id,
        "accounts_before": found.before,
        "moved": len(found.accounts),
        "moves": [{"was": was, "becomes": becomes, "accounts": n} for was, becomes, n in found.pairs],
        "holders": [asdict(balance) for balance in found.balances],
    }
    return said | ({"accounts": found.accounts.to_pylist()} if accounts else {})


def readable(before: Sync | None, after: Sync, found: Moves, *, accounts: bool) -> list[Any]:
    """The difference for people."""
    since = "nothing in force" if before is None else f"{before.id} ({before.state}, as of {before.as_of})"
    shown: list[Any] = [f"From {since} to {after.id} ({after.state}, as of {after.as_of})"]
    if not len(found.accounts):
        return [*shown, "No account changes hands."]
    share = f", {len(found.accounts) / found.before:.1%} of {found.before:,}" if found.before else ""
    shown.append(f"{len(found.accounts):,} accounts change hands{share}:")
    pairs = [(was, becomes, f"{count:,}") for was, becomes, count in found.pairs]
    shown.append(show.table(("of record was", "becomes", ">accounts"), pairs))
    rows = [
        (one.holder, *(f"{number:,}" for number in (one.before, one.loses, one.gains, one.after)))
        for one in found.balances
    ]
    shown.append(show.table(("", ">before", ">loses", ">gains", ">after"), rows))
    if accounts:
        moved = [(row["account"], row["was"], row["becomes"]) for row in found.accounts.to_pylist()]
        shown.append(show.table(("account", "of record was", "becomes"), moved))
    return shown
