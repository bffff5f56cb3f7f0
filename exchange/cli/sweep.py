"""`meterhub sweep`: one pass of all that is due, for those who run the hub from a timer, or want it now."""

from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from jobs.schedule import Done, Schedule
from jobs.stores import place
from jobs.stores.ledger import drops
from jobs.stores.opened import Stores
from schemas.drop import UNDER_WAY

_FEW = 2  # drops that are loaded in this process; for more, it is worth starting others
_KINDS = ("drop", "sync", "deadline", "report", "warning", "publish")  # of tasks


@options.command("sweep", "meterhub sweep", "meterhub --home hub sweep --json")
def command(asked: Asked) -> int:
    """Do all that is due, once, and exit.

    Loads what lies there, settles syncs, judges days whose deadline has passed, publishes, and takes away what
    was kept for long enough. Beside a running server it takes what that one has not in hand. Exit code 1 if
    anything stopped with an error: it is tried again at the next sweep. Exit code 3 if a full or missing disk, or
    the ledger, lets nothing, or something, not be done.
    """
    done: list[Done] = []
    stopped: dict[str, str] = {}  # by its place: task and what to do
    with opened.stores(asked) as stores, show.progress() as progress:
        bar = progress.add_task("sweeping", total=None)

        def told(one: Done) -> None:
            done.append(one)
            if one.error is not None and place.is_at_fault(one.error, stores):
                stopped[one.key] = place.told(one.error, stores)
            progress.update(bar, advance=1)

        schedule = Schedule(stores, asked.clock, inline=_open_drops(stores) <= _FEW, told=told)
        try:
            troubles = schedule.sweep(to_the_end=True)
        finally:
            schedule.stop(seconds=None)
    answer: dict[str, list[dict[str, str]]] = {kind: [] for kind in (*_KINDS, "failed")}
    for one in done:
        kind, _, about = one.key.partition(":")
        if one.key in stopped:
            continue
        if one.error is not None:
            answer["failed"].append({"task": one.key, "error": f"{type(one.error).__name__}: {one.error}"})
        elif said := _SAID.get(one.outcome, one.outcome):
            answer[kind].append({"about": about, "outcome": said})
    rows = [(kind, one["about"], one["outcome"]) for kind in _KINDS for one in answer[kind]]
    rows += [("failed", one["task"], one["error"]) for one in answer["failed"]]
    answer["waits_for"] = [{"code": one.code, "what": one.what} for one in troubles]
    answer["waits_for"] += [{"code": "no-room", "what": f"{task}: {why}"} for task, why in stopped.items()]
    waits = [f"Nothing is loaded or published: {one.what}" for one in troubles]
    waits += [f"{task} cannot go on: {why}" for task, why in stopped.items()]
    nothing = [] if waits else ["Nothing was due."]
    asked.show(answer, *([show.table(("", "about", "outcome"), rows)] if rows else nothing), *waits)
    return 3 if waits else 1 if answer["failed"] else 0


# What tasks answer, in words; what was done before this sweep is not told.
_SAID = {
    "": "in another process's hands",
    "Busy": "in another process's hands",
    "Parked": "left alone, it has failed too often: meterhub status",
    "Done": "",
    "Gone": "",
    "Waits": "waits for drops that arrived in time, or for another process",
    "InForce": "in force",
    "Held": "held for an operator: meterhub sync diff",
    "NotTaken": "not taken: meterhub sync list",
    "Published": "laid out",
    "NothingNew": "nothing new",
    "Withheld": "withheld: no sync in force, or too old a one",
    "Warned": "blocks are missing",
    "AllIn": "nothing is missing",
    "Judged": "reported again",
}


def _open_drops(stores: Stores) -> int:
    with stores.ledger.read() as tx:
        return len(drops.at_stage(tx, UNDER_WAY))
