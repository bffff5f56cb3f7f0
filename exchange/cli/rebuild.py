"""`meterhub rebuild`: a ledger that was lost is made again from what lies there, and what nobody can know is said."""

from datetime import UTC, datetime, timedelta
from typing import Any

import click

from config import log as log_setup
from config.errors import OperatorError
from exchange import lock
from exchange.cli import options, show
from exchange.cli.options import Asked
from jobs.rebuild import home as making
from jobs.rebuild.home import Rebuilt

_UNKNOWN = (
    "who collected which outbound file, and when",
    "which sync was in force: approve the right one, or wait for the next",
    "what was held in suspense or for an EGS that is no partner, but for what is laid out again",
    "the history as it was: what is made again is marked by ledger.rebuilt, and is a chain of its own",
)


@options.command(
    "rebuild", "meterhub rebuild", "meterhub rebuild --since 2013-09-01", "meterhub rebuild --json"
)
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d"]),
    help="Lay out again what was loaded since this UTC day; by default since outbound.keep_days ago.",
)
def command(asked: Asked, *, since: datetime | None) -> int:
    """Make a ledger that was lost again, from the archive, the lake and the receipts.

    Only where there is none: a damaged one is moved away first, and kept. Nothing is published until a sync is approved.
    What lay in outbound folders is moved to state/taken-away, since nobody knows any more when it would have to be
    withdrawn, and what was loaded since is laid out again under new numbers. Exit code 3: an operator has to approve
    the syncs; 1 if something could not be read.
    """
    home, settings = asked.home, asked.settings
    if settings.database_url:
        hint = "restore the database from its own backup"
        raise OperatorError("not-sqlite", f"the ledger is kept in {settings.database_url}", hint)
    now = asked.clock()
    day = since.replace(tzinfo=UTC) if since else now - timedelta(days=settings.outbound.keep_days)
    home.lay_out()
    log_setup.configure(home, settings, console=False)
    with lock.take(home):
        made = making.rebuild(home, settings.lake_folder(home), since=day, now=now)
    asked.show(_for_programs(made), *_readable(made))
    return 1 if made.unreadable else 3 if made.held else 0


def _for_programs(made: Rebuilt) -> dict[str, Any]:
    return {
        "drops": dict(made.drops),
        "loads": made.loads,
        "lake_files": made.lake_files,
        "syncs_to_approve": list(made.held),
        "outbound_taken_away": made.taken_away,
        "loads_laid_out_again": made.again,
        "archived_without_a_drop": list(made.without_drop),
        "drops_without_a_receipt": list(made.without_receipt),
        "unreadable": [{"where": where, "why": why} for where, why in made.unreadable],
        "unknown": list(_UNKNOWN),
        "head": made.head,
    }


def _readable(made: Rebuilt) -> list[Any]:
    rows = [(f"drops, {stage}", f"{count:,}") for stage, count in sorted(made.drops.items())]
    rows += [("loads", f"{made.loads:,}"), ("files of the lake", f"{made.lake_files:,}")]
    rows += [
        ("loads that will be laid out again", f"{made.again:,}"),
        ("outbound files moved to state/taken-away", f"{made.taken_away:,}"),
        ("archived bytes that nothing tells of", f"{len(made.without_drop):,}"),
        ("drops that only their lake files tell of", f"{len(made.without_receipt):,}"),
    ]
    shown: list[Any] = [show.table(("made again", ">"), rows, tight=True)]
    shown += [f"Not readable: {where}: {why}" for where, why in made.unreadable]
    shown += ["Not known any more:", *(f"  {one}" for one in _UNKNOWN)]
    shown += [f"Now: meterhub sync approve {sync_id}, if it was in force" for sync_id in made.held]
    return [*shown, "Then: meterhub verify", f"Head of the chain: {made.head}"]
