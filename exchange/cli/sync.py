"""`meterhub sync`: which roster is in force, what another would change, and an operator's word on it."""

import sys
from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click

from config.errors import OperatorError, RefusedError
from exchange.cli import opened, options, show, sync_moves, timeline
from exchange.cli.options import Asked
from exchange.cli.sync_moves import Waiting
from exchange.stories.syncs import became
from jobs import pipeline
from jobs.rules import ownership
from jobs.steps import sync as step
from jobs.stores.ledger import syncs
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.usage_day import local_date


@click.group("sync")
def command() -> None:
    """Meter data syncs: which is in force, what another would change, and an operator's word on it."""


@options.command("list", "meterhub sync list", "meterhub sync list --edc cnp --json")
@click.option(
    "--edc", "only", multiple=True, metavar="ID", help="Only this EDC's; may be given several times."
)
def list_all(asked: Asked, *, only: tuple[str, ...]) -> None:
    """All syncs, newest last, with the state of each and why."""
    with opened.stores(asked) as stores:
        edcs = [edc.id for edc in opened.edcs(stores, only)] if only else []
        with stores.ledger.read() as tx:
            found = [one for one in syncs.listed(tx) if not edcs or one.edc in edcs]
            there, ends = syncs.parts_there(tx), syncs.ends(tx, found)
        answer = [_facts(one, there.get(one.id, 0), ends.get(one.id, {}), asked, stores) for one in found]
    rows = [
        (
            one["id"],
            one["edc"],
            one["as_of"],
            one["state"] + (", too old" if one["too_old"] else ""),
            f"{one['parts']}" if one["parts_there"] is None else f"{one['parts_there']} of {one['parts']}",
            f"{one['accounts']:,}" if one["accounts"] else "",
            f"{one['moved']:,}" if one["accounts"] else "",
            show.minute(sync.in_force_at),
            one["why"],
        )
        for one, sync in zip(answer, found, strict=True)
    ]
    table = show.table(
        ("sync", "EDC", "as of", "state", "parts", ">accounts", ">moved", "in force since (UTC)", "why"), rows
    )
    asked.show(answer, table if rows else "No sync has come yet.")


@options.command("show", "meterhub sync show S130903-cnp-1")
@click.argument("sync_id", metavar="SYNC")
def show_one(asked: Asked, *, sync_id: str) -> None:
    """One sync: its parts, and how many accounts each supplier has by it."""
    with opened.stores(asked) as stores:
        one = _get(stores, sync_id)
        with stores.ledger.read() as tx:
            parts = [row._asdict() for row in syncs.parts_of(tx, one.id)]
            end = syncs.ends(tx, [one]).get(one.id, {})
        answer = _facts(one, len(parts), end, asked, stores)
        answer["parts_kept"] = parts
        answer["holders"] = []
        if one.path:
            has = sync_moves.between(None, one, stores=stores, now=asked.clock()).moves.balances
            answer["holders"] = [
                {
                    "holder": each.holder,
                    "name": sync_moves.name_of(each.holder, stores),
                    "accounts": each.after,
                }
                for each in has
            ]
    told_by_why = {"id", "approved_by", "superseded_by"}
    facts = {
        name: said for name, said in answer.items() if not isinstance(said, list) and name not in told_by_why
    }
    given = {part["part"]: part for part in parts}
    rows = [
        (number, given[number]["drop_id"], f"{given[number]['rows']:,}")
        if number in given
        else (number, "not known any more" if answer["parts_there"] is None else "not there yet", "")
        for number in range(1, one.parts + 1)
    ]
    readable: list[Any] = [
        timeline.facts("sync", one.id, facts),
        show.table((">part", "drop", ">rows"), rows),
    ]
    if answer["holders"]:
        held_rows = [(row["holder"], row["name"], f"{row['accounts']:,}") for row in answer["holders"]]
        readable.append(show.table(("of record by it", "name", ">accounts"), held_rows))
    asked.show(answer, *readable)


@options.command(
    "diff", "meterhub sync diff cnp", "meterhub sync diff S130903-cnp-1 S130904-cnp-1 --accounts --json"
)
@click.argument("one", metavar="EDC|SYNC")
@click.argument("other", metavar="[SYNC]", required=False)
@click.option("--accounts", is_flag=True, help="Name each account that changes hands, or whose start moves.")
def diff(asked: Asked, *, one: str, other: str | None, accounts: bool) -> None:
    """Who would gain and who would lose how many accounts, and of how many that stay the start moves.

    Of two syncs, from the first to the second. Of one, from what is in force to it. Of an EDC, from what is in
    force to the sync that waits for an operator's word. Of a sync that waits, what it would take back unfetched, and
    what becomes of blocks that are held already, is told, too.
    """
    with opened.stores(asked) as stores:
        before, after = _pair(stores, one, other)
        found = sync_moves.between(before, after, accounts=accounts, stores=stores, now=asked.clock())
        waits = sync_moves.waiting(before, after, stores=stores, now=asked.clock())
        asked.show(
            sync_moves.answer(before, after, found, waits), *sync_moves.readable(before, after, found, waits)
        )


@options.command(
    "approve", "meterhub sync approve S130904-cnp-1", "meterhub sync approve S130904-cnp-1 --yes"
)
@click.argument("sync_id", metavar="SYNC")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--by", help="Who says so; by default who is logged in to this machine.")
def approve(asked: Asked, *, sync_id: str, yes: bool, by: str | None) -> int:
    """Let a sync pass that the brake held, after showing who gains and who loses what."""
    if asked.json and not yes:
        raise click.UsageError("with --json nobody can be asked; say --yes, after: meterhub sync diff")
    with opened.stores(asked) as stores:
        held = _held(stores, sync_id)
        with stores.ledger.read() as tx:
            before = syncs.in_force(tx, held.edc)
        found = sync_moves.between(before, held, stores=stores, now=asked.clock())
        if not asked.json:
            waits = sync_moves.waiting(before, held, stores=stores, now=asked.clock())
            asked.show({}, *sync_moves.readable(before, held, found, waits))
        if not yes and not _confirmed(held):
            click.echo("Nothing was changed.")
            return 1
        approved = step.approve(held, by=by or options.who(), stores=stores, now=asked.clock())
        if isinstance(approved, step.NotHeld):
            raise _not_held(approved.sync)
        settled = opened.when_free(lambda: _settle(approved, asked, stores))
        answer = {**_brief(settled), "moves": sync_moves.answer(before, held, found, Waiting())["moves"]}
        said = (
            f"{settled.id} is in force."
            if settled.state == "in-force"
            else f"{settled.id} is {settled.state}: {settled.why}"
        )
        asked.show(answer, said)
        return 0 if settled.state == "in-force" else 1


def _confirmed(held: Sync) -> bool:
    try:
        return click.confirm(f"Bring {held.id} into force?")
    except click.Abort as error:
        if sys.stdin.isatty():
            raise  # Ctrl-C, or Ctrl-D
        click.echo()
        raise click.UsageError(
            "nobody is there to be asked; say --yes if it is to come into force"
        ) from error


@options.command("refuse", 'meterhub sync refuse S130904-cnp-1 --why "half the accounts are missing"')
@click.argument("sync_id", metavar="SYNC")
@click.option("--why", required=True, help="What its EDC is told.")
@click.option("--by", help="Who says so; by default who is logged in to this machine.")
def refuse(asked: Asked, *, sync_id: str, why: str, by: str | None) -> None:
    """Send a sync away that the brake held; what is in force stays. Its EDC finds the reason in reports/."""
    with opened.stores(asked) as stores:
        held = _held(stores, sync_id)
        refused = step.refuse(held, by=by or options.who(), why=why, stores=stores, now=asked.clock())
        if isinstance(refused, step.NotHeld):
            raise _not_held(refused.sync)
        asked.show(_brief(refused), f"{refused.id} is refused; {refused.edc} is told so in reports/.")


for each in (list_all, show_one, diff, approve, refuse):
    command.add_command(each)


def _settle(approved: Sync, asked: Asked, stores: Stores) -> Sync | None:
    """The sync as it stands once it is settled, by us or by whoever was quicker; None: not yet."""
    with stores.ledger.read() as tx:
        standing = syncs.get(tx, approved.id)
    edc = opened.edc(stores, standing.edc)
    if standing.state in pipeline.UNSETTLED:
        settled = pipeline.settle(standing, edc=edc, stores=stores, clock=asked.clock)
        if isinstance(settled, pipeline.Parked):
            what = f"{standing.id} has failed too often and is parked"
            raise OperatorError(
                "parked", what, f"see why: meterhub status; then: meterhub retry {standing.id}"
            )
        return None if isinstance(settled, step.Busy) else settled.sync
    return standing


def _get(stores: Stores, sync_id: str) -> Sync:
    with stores.ledger.read() as tx:
        try:
            return syncs.get(tx, sync_id)
        except KeyError:
            raise RefusedError(
                "no-such-sync", f"there is no sync {sync_id}", "see them all with: meterhub sync list"
            ) from None


def _held(stores: Stores, sync_id: str) -> Sync:
    found = _get(stores, sync_id)
    if found.state != "held":
        raise _not_held(found)
    return found


def _not_held(found: Sync) -> RefusedError:
    return RefusedError(
        "not-held", f"{found.id} is {found.state}: it waits for nobody's word", "see: meterhub sync list"
    )


def _pair(stores: Stores, one: str, other: str | None) -> tuple[Sync | None, Sync]:
    """From which sync to which; from none, where nothing is in force yet."""
    if other is not None:
        before, after = _get(stores, one), _get(stores, other)
        if before.edc != after.edc:
            raise RefusedError("other-edc", f"{before.id} is {before.edc}'s and {after.id} is {after.edc}'s")
        return before, after
    edcs = {edc.id for edc in stores.partners.current().edcs}
    after = _waiting(stores, one) if one in edcs else _get(stores, one)
    with stores.ledger.read() as tx:
        return syncs.in_force(tx, after.edc), after


def _waiting(stores: Stores, edc: str) -> Sync:
    with stores.ledger.read() as tx:
        found = [one for one in syncs.in_state(tx, "held", *pipeline.UNSETTLED) if one.edc == edc]
    if not found:
        raise RefusedError(
            "nothing-waits",
            f"no sync of {edc} waits to come into force",
            f"see: meterhub sync list --edc {edc}",
        )
    return found[-1]


def _facts(one: Sync, there: int, end: Mapping[str, str], asked: Asked, stores: Stores) -> dict[str, Any]:
    facts = {
        key: receipt.instant(value) if isinstance(value, datetime) else value
        for key, value in asdict(one).items()
        if key not in {"path", "sha256"}
    }
    return facts | {
        "why": became(one, end),
        "approved_by": end.get("approved_by"),
        "superseded_by": end.get("superseded_by"),
        # Of a ledger that was made again, only the roster is known.
        "parts_there": there if there or not one.path else None,
        "too_old": one.state == "in-force" and _is_stale(one, asked, stores),
    }


def _is_stale(one: Sync, asked: Asked, stores: Stores) -> bool:
    edc = stores.partners.current().get(one.edc)
    if edc is None or edc.zone is None:
        return False
    today = local_date(asked.clock(), edc.zone)
    return ownership.is_stale(as_of=one.as_of, today=today, max_age_days=stores.settings.sync.max_age_days)


def _brief(one: Sync) -> dict[str, Any]:
    why = None if one.state == "in-force" else one.why or None  # what held it back then is over
    return {"sync": one.id, "edc": one.edc, "as_of": one.as_of, "state": one.state, "why": why}
