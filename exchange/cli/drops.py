"""`meterhub drops`: what was uploaded, newest first, and what became of it."""

from datetime import UTC, datetime
from typing import Any

import click
from rich.table import Table

from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from exchange.stories.drops import unknown_then
from jobs.stores.ledger import drops, failures
from schemas import receipt
from schemas.drop import Drop, Outcome, Stage
from schemas.fault import deciding

_MOST = 50
_ONE_LINE = 150  # columns of a terminal on which a drop has one line


@options.command(
    "drops",
    "meterhub drops",
    "meterhub drops --edc cnp --stage refused --since 2013-09-01",
    "meterhub drops --parked",
    "meterhub drops --limit 1000 --json",
)
@click.option("--edc", metavar="ID", help="Only this EDC's.")
@click.option("--stage", type=click.Choice([str(stage) for stage in Stage]), help="Only those at this stage.")
@click.option(
    "--since", type=click.DateTime(["%Y-%m-%d"]), help="Only those that arrived on this UTC day or later."
)
@click.option(
    "--parked", is_flag=True, help="Only those that failed too often and wait for `meterhub retry`."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=_MOST,
    show_default=True,
    help="So many at most, the newest.",
)
def command(
    asked: Asked, *, edc: str | None, stage: str | None, since: datetime | None, parked: bool, limit: int
) -> None:
    """What was uploaded, newest first, and what became of it."""
    with opened.stores(asked) as stores:
        partner = opened.edc(stores, edc).id if edc else ""
        with stores.ledger.read() as tx:
            why = {one.about: one for one in failures.parked(tx)}
            found = drops.listed(
                tx,
                partner=partner,
                stage=None if stage is None else Stage(stage),
                since=None if since is None else since.replace(tzinfo=UTC),
                only=tuple(why) if parked else None,
                limit=limit,
            )
    below = [f"The newest {limit:,}; --limit shows more."] if len(found) == limit else []
    for drop in found:
        if drop.id in why:
            below.append(f"{drop.id} is parked, it failed {why[drop.id].times} times: {why[drop.id].why}")
            below.append(f"    meterhub retry {drop.id}")
    answer = [facts(drop) | {"parked": why[drop.id].why if drop.id in why else None} for drop in found]
    asked.show(answer, _table(found) if found else "There are none.", *below)


def _table(found: list[Drop]) -> Table:
    """A line for each drop, or two where a line is too short for all."""
    if show.console().width < _ONE_LINE:
        short = show.table(
            ("drop and file", "what became of it"), (_two_lines(drop) for drop in found), tight=True
        )
        short.columns[0].no_wrap = True
        return short
    columns = ("drop", "arrived (UTC)", "EDC", "file", "stage", ">bytes", ">loaded", ">rejected", ">faults", "")  # fmt: skip
    return show.table(columns, (_row(drop) for drop in found))


def _two_lines(drop: Drop) -> tuple[str, str]:
    loaded = drop.blocks_loaded or drop.rows_loaded
    faults = "fault" if drop.faults_total == 1 else "faults"
    counts = ((loaded, "loaded"), (drop.blocks_rejected, "rejected"), (drop.faults_total, faults))
    said = [f"{count:,} {words}" for count, words in counts if count]
    more = ", ".join([*said, *([remark(drop)] if remark(drop) else [])])
    return (
        f"{drop.id}  {drop.partner}  {show.minute(drop.arrived_at)}\n{drop.name}",
        f"{_stage(drop)}: {more}" if more else _stage(drop),
    )


def _stage(drop: Drop) -> str:
    return f"{drop.stage}, in part" if drop.outcome is Outcome.PARTIAL else str(drop.stage)


def _row(drop: Drop) -> tuple[object, ...]:
    loaded = drop.blocks_loaded or drop.rows_loaded
    return (
        drop.id,
        show.instant(drop.arrived_at),
        drop.partner,
        drop.name,
        _stage(drop),
        f"{drop.bytes:,}",
        f"{loaded:,}" if loaded else "",
        f"{drop.blocks_rejected:,}" if drop.blocks_rejected else "",
        f"{drop.faults_total:,}" if drop.faults_total else "",
        remark(drop),
    )


def remark(drop: Drop) -> str:
    """What else is to be said of a drop, in few words."""
    if drop.duplicate_of:
        return f"the same as {drop.duplicate_of}"
    if drop.stage is Stage.REFUSED and drop.faults:
        return deciding(drop.faults).code
    counts = (
        (drop.blocks_late, "late"),
        (drop.blocks_replacing, "replacing"),
        (drop.blocks_outranked, "outranked"),
        (drop.blocks_unchanged, "unchanged"),
    )
    said = [f"{count:,} {words}" for count, words in counts if count]
    unknown = [unknown_then(drop)] if drop.suspense else []
    return ", ".join([*([drop.sync_id] if drop.sync_id else []), *said, *unknown])


def facts(drop: Drop) -> dict[str, Any]:
    """A drop as JSON holds it."""
    return {
        "id": drop.id,
        "edc": drop.partner,
        "file": drop.name,
        "kind": drop.kind,
        "stage": str(drop.stage),
        "outcome": None if drop.outcome is None else str(drop.outcome),
        "arrived_at": receipt.instant(drop.arrived_at),
        "ended_at": None if drop.ended_at is None else receipt.instant(drop.ended_at),
        "bytes": drop.bytes,
        "sha256": drop.sha256 or None,
        "duplicate_of": drop.duplicate_of or None,
        "sync": drop.sync_id or None,
        "usage_days": [day.isoformat() for day in drop.usage_days],
        "blocks_loaded": drop.blocks_loaded,
        "blocks_late": drop.blocks_late,
        "blocks_replacing": drop.blocks_replacing,
        "blocks_outranked": drop.blocks_outranked,
        "blocks_unchanged": drop.blocks_unchanged,
        "blocks_rejected": drop.blocks_rejected,
        "intervals_loaded": drop.intervals_loaded,
        "rows_loaded": drop.rows_loaded,
        "accounts_unknown_when_loaded": drop.suspense,
        "faults": [receipt.fault(fault) for fault in drop.faults],
        "faults_total": drop.faults_total,
    }
