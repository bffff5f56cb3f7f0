"""`meterhub deadline`: how a usage day stands; after its deadline, the verdict."""

from datetime import datetime
from typing import Any

import click

from config.partners import Partner
from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from jobs import tasks
from jobs.steps import deadline as step
from jobs.stores import due_blocks
from jobs.stores.ledger import drops, runs
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.usage_day import UsageDay

_SHOWN = 200  # missing blocks of an EDC that people are shown


@options.command(
    "deadline",
    "meterhub deadline --day 2013-09-02",
    "meterhub deadline --day 2013-09-02 --edc cnp --missing",
    "meterhub deadline --day 2013-09-02 --missing --json",
)
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), required=True, help="The usage day.")
@click.option("--edc", "only", multiple=True, metavar="ID", help="Only this EDC; may be given several times.")
@click.option("--missing", is_flag=True, help="Name what is missing: account, channel, meter and ZIP.")
def command(asked: Asked, *, day: datetime, only: tuple[str, ...], missing: bool) -> int:
    """How a usage day stands: what was due, loaded in time, late and missing.

    Before the deadline this looks, and changes nothing. After it the verdict is given, recorded and reported to
    the EDC, if the server has not done so. Exit code 1 if a deadline was missed; 3 if there is no verdict:
    no sync to hold the day to, or drops that arrived in time are still being loaded.
    """
    with opened.stores(asked) as stores:
        answer = [
            _told(edc, UsageDay(day.date(), edc.zone), asked, stores, missing=missing)
            for edc in opened.edcs(stores, only)
            if edc.zone is not None  # every EDC has one (config.partners)
        ]
    rows = [_row(one) for one in answer]
    columns = ("EDC", "deadline", "verdict", ">due", ">in time", ">late", ">missing", ">%", "last load", "")
    readable = [
        show.table(columns, rows, title=f"Usage day {day:%Y-%m-%d}")
        if rows
        else "No EDC is among the partners."
    ]
    asked.show([_for_programs(one) for one in answer], *readable, *(_missing(answer) if missing else []))
    verdicts = [one["verdict"] for one in answer if one["state"] != "open"]
    return 1 if "missed" in verdicts else 3 if any(one["verdict"] == "unknown" for one in answer) else 0


def _told(edc: Partner, day: UsageDay, asked: Asked, stores: Stores, *, missing: bool) -> dict[str, Any]:
    """The day's row for one EDC. `state`: open (the deadline is to come), judged, waits, or not judged."""
    now = asked.clock()
    deadline = day.deadline(stores.settings.deadline.time)
    with stores.ledger.read() as tx:
        before = runs.verdict(tx, edc=edc.id, day=day.date)
        since = drops.first_arrival(tx, edc.id)
    waits = 0
    if now <= deadline:
        state = "open"
    elif before is None and (since is None or deadline < since):
        state = "not judged"  # nor does the server judge days that ended before anything came
    else:
        found = _judge(edc, day, asked, stores)
        waits = found.drops if isinstance(found, step.Waits) else 0
        state = "waits" if waits else "judged"
    judged = found if state == "judged" else step.look(edc, day.date, stores=stores, now=now)
    assert isinstance(judged, step.Judged)
    row = receipt.report(judged.verdict) | {"state": state, "waits_for": waits, "zone": day.zone}
    if state in {"waits", "not judged"}:
        row["verdict"] = "unknown"
    if state != "judged":
        row["judged_at"] = None
    row["deadline_at"], row["last_load"] = deadline, judged.verdict["last_load_at"]
    row["list"] = judged.missing.to_pylist() if missing else None
    return row


def _judge(edc: Partner, day: UsageDay, asked: Asked, stores: Stores) -> step.Judged | step.Waits:
    """The verdict, given once whoever is first, and what is late and missing by now."""

    def judge() -> str | None:
        answer = tasks.judge(stores.home.root, edc.id, day.date, asked.clock)
        return None if answer == "Busy" else answer

    def again() -> step.Judged | step.Waits | None:
        judged = step.judge(edc, day.date, stores=stores, now=asked.clock())
        return None if isinstance(judged, step.Busy) else judged

    tasks.lend(stores)
    try:
        opened.when_free(judge)
    finally:
        tasks.give_back(stores)
    found = opened.when_free(again)
    assert isinstance(found, step.Judged | step.Waits)  # or it was not free
    return found


def _row(one: dict[str, Any]) -> tuple[Any, ...]:
    states = {
        "open": "looked at before the deadline: no verdict yet"
        if one["sync"]
        else "no sync to hold the day to",
        "waits": f"waits for {one['waits_for']} drops that arrived in time",
        "not judged": "nothing had come from it by then",
        "judged": "no sync to hold the day to" if one["verdict"] == "unknown" else "",
    }
    if one["hub_late_seconds"]:
        states["judged"] = f"the hub was {one['hub_late_seconds']} s late with what came in time"
    known = one["sync"] is not None and one["state"] != "not judged"
    return (
        one["edc"],
        show.local(one["deadline_at"], one["zone"]),
        "open" if one["state"] == "open" else one["verdict"],
        *(f"{one[count]:,}" if known else "" for count in ("expected", "loaded_in_time", "late", "missing")),
        one["percent_at_deadline"] if known else "",
        show.local(one["last_load"], one["zone"]),
        states[one["state"]],
    )


def _for_programs(one: dict[str, Any]) -> dict[str, Any]:
    said = {
        key: value for key, value in one.items() if key not in {"zone", "deadline_at", "last_load", "list"}
    }
    return said if one["list"] is None else said | {"missing_blocks": one["list"]}


def _missing(answer: list[dict[str, Any]]) -> list[Any]:
    shown: list[Any] = []
    for one in answer:
        rows = [tuple(block.values()) for block in one["list"][:_SHOWN]]
        if rows:
            shown.append(show.table(due_blocks.MISSING.names, rows, title=f"Missing from {one['edc']}"))
        if more := len(one["list"]) - len(rows):
            shown.append(f"… and {more:,} more: --json has them all")
    return shown
