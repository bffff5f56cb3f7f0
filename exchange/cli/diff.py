"""`meterhub diff`: which readings of a usage day changed between two instants, by whom, and by how much."""

from datetime import datetime
from typing import Any

import click

from exchange.cli import no_day, opened, options, show
from exchange.cli.options import Asked
from jobs.stores import views
from jobs.stores.as_known import as_known
from schemas import receipt

_SHOWN = 200  # blocks that people are shown

# What counted of the day at one instant, beside what counted at the other. What is not there adds nothing.
_QUESTION = """
    with before as (from usage_as_of('{begin}') where usage_date = '{day}'),
        after as (from usage_as_of('{end}') where usage_date = '{day}')
    select coalesce(after.edc, before.edc) as edc, coalesce(after.account, before.account) as account,
        coalesce(after.channel, before.channel) as channel,
        before.version as version_before, after.version as version_after,
        before.drop_id as drop_before, after.drop_id as drop_after, drops.name as file, after.stamp as stamp,
        after.loaded_at as loaded_at,
        (before.wh_total * 0.001)::decimal(15,3) as kwh_before, (after.wh_total * 0.001)::decimal(15,3) as kwh_after,
        ((coalesce(after.wh_total, 0) - coalesce(before.wh_total, 0)) * 0.001)::decimal(15,3) as kwh_change,
        before.estimated as estimated_before, after.estimated as estimated_after
    from before full join after using (edc, account, channel)
    left join drops on drops.id = after.drop_id
    where before.version is distinct from after.version
    order by edc, account, channel
"""


@options.command(
    "diff",
    "meterhub diff 2013-09-02 --from 2013-09-03T23:00Z",
    "meterhub diff 2013-09-02 --from 2013-09-03T23:00Z --to 2013-09-05T12:00Z",
    "meterhub diff 2013-09-02 --from 2013-09-03T23:00Z --to 2013-09-05T12:00Z --edc cnp --json",
)
@click.argument("day", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]))
@click.option(
    "--from",
    "begin",
    required=True,
    metavar="INSTANT",
    callback=options.instant,
    help="The earlier instant; without a zone, UTC.",
)
@click.option(
    "--to", "end", metavar="INSTANT", callback=options.instant, help="The later instant; now, if not said."
)
@click.option("--edc", "only", multiple=True, metavar="ID", help="Only this EDC; may be given several times.")
def command(
    asked: Asked, *, day: datetime, begin: datetime, end: datetime | None, only: tuple[str, ...]
) -> None:
    """Which readings of a usage day changed between two instants, by whom, and by how many kWh.

    A block changed when another version of it counts. One that came first counts from nothing. Exit
    code 3 if there are no readings of the day.
    """
    end = end or max(asked.clock(), begin)
    if end < begin:
        raise click.UsageError("--to is before --from")
    question = _QUESTION.format(begin=receipt.instant(begin), end=receipt.instant(end), day=f"{day:%Y-%m-%d}")
    with opened.stores(asked) as stores:
        known = opened.edcs(stores, only)
        if day.date() not in (there := no_day.with_readings(known, stores=stores)):
            raise no_day.refused(f"no readings of {day:%Y-%m-%d} are loaded: nothing can have changed", there)
        edcs = {one.id for one in known}
        with as_known(stores, end, now=asked.clock()) as then, views.ask(question, stores=then) as answer:
            found = [row for batch in answer for row in batch.to_pylist() if not only or row["edc"] in edcs]
    asked.show([_as_json(row) for row in found], *_readable(found))


def _as_json(row: dict[str, Any]) -> dict[str, Any]:
    said = {
        key: str(value) if key.startswith("kwh") and value is not None else value
        for key, value in row.items()
    }
    return said | {"loaded_at": None if row["loaded_at"] is None else receipt.instant(row["loaded_at"])}


def _readable(found: list[dict[str, Any]]) -> list[Any]:
    if not found:
        return ["Nothing changed."]
    columns = (
        "EDC",
        "account",
        "channel",
        "version",
        "by drop",
        "its file",
        "loaded (UTC)",
        ">kWh",
        ">change",
    )
    rows = [
        (
            row["edc"],
            row["account"],
            row["channel"],
            f"{row['version_before'] or '-'} → {row['version_after'] or '-'}",
            row["drop_after"],
            row["file"],
            show.instant(row["loaded_at"]),
            row["kwh_after"],
            f"{row['kwh_change']:+}",
        )
        for row in found[:_SHOWN]
    ]
    said: list[Any] = [show.table(columns, rows)]
    if more := len(found) - len(rows):
        said.append(f"… and {more:,} more: --json has them all")
    total = sum(row["kwh_change"] for row in found)
    blocks = "1 block" if len(found) == 1 else f"{len(found):,} blocks"
    drops = len({row["drop_after"] for row in found})
    said.append(f"{blocks} changed, by {drops:,} {'drop' if drops == 1 else 'drops'}: {total:+,} kWh in all.")
    return said
