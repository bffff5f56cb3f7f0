"""`meterhub status`: tonight at a glance, and what needs an operator."""

import time
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from exchange import needs, tonight
from exchange.bans import Bans
from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from exchange.needs import Need
from exchange.tonight import OfEdc, OfEgs, Tonight

_BAR = 12  # characters
_SECONDS = 2.0  # between two looks


@options.command(
    "status", "meterhub status", "meterhub status --day 2013-09-02 --json", "meterhub status --watch"
)
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), help="Another usage day than the one that is due tonight."
)
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
def command(asked: Asked, *, day: datetime | None, watch: bool) -> int:
    """Tonight at a glance: each EDC, each EGS, and what needs an operator.

    Exit code 3 if anything does.
    """
    if watch and asked.json:
        raise click.UsageError("--watch is for people; ask for --json as often as is wanted")
    of_day = None if day is None else day.date()
    with opened.stores(asked) as stores:

        def look() -> tuple[Tonight, tuple[Need, ...]]:
            looked = tonight.look(stores=stores, now=asked.clock(), day=of_day)
            return looked, needs.needed(looked, stores=stores)

        seen, needed = look()
        if watch:
            with Live(_shown(seen, needed), console=show.console(), auto_refresh=False) as live:
                try:
                    while True:
                        live.update(_shown(seen, needed), refresh=True)
                        time.sleep(_SECONDS)
                        seen, needed = look()
                except KeyboardInterrupt:
                    pass  # this is how watching ends
        else:
            banned = Bans(asked.home.bans, asked.clock).in_force()
            answer = tonight.as_json(seen) | {
                "bans": [ban.as_json() for ban in banned],
                "needs": [asdict(need) for need in needed],
            }
            shut_out = f"Addresses banned: {len(banned)} (meterhub bans list)"
            asked.show(answer, *([shut_out] if banned else []), _shown(seen, needed))
    return 3 if needed else 0


def _shown(seen: Tonight, needed: tuple[Need, ...]) -> Group:
    return Group(*_parts(seen, needed))


def _parts(seen: Tonight, needed: tuple[Need, ...]) -> Iterator[RenderableType]:
    if seen.edcs:
        columns = (
            "EDC",
            "usage day",
            "drops",
            "blocks of due",
            "",
            "besides",
            "held back",
            "sync",
            "deadline",
        )
        yield show.table(columns, (_edc(edc) for edc in seen.edcs))
    else:
        yield Text("No EDC is among the partners: meterhub partner add")
    if seen.egss:
        yield show.table(
            ("EGS", ">laid out", ">blocks", ">collected", ">uncollected", "oldest"),
            (_egs(egs) for egs in seen.egss),
        )
    if needed:
        yield Text("An operator is needed:", "bold red")
        yield show.table(
            ("", "what", "run"), ((need.partner, Text(need.what, "red"), need.run) for need in needed)
        )
    else:
        yield Text(f"Nothing needs an operator. ({seen.at:%Y-%m-%d %H:%M:%S} UTC)", "green")


def _edc(edc: OfEdc) -> tuple[object, ...]:
    return (
        edc.edc,
        edc.usage_day,
        _drops(edc),
        f"{edc.loaded:,} of {'?' if edc.due is None else f'{edc.due:,}'}",
        _bar(edc.percent),
        _listed((edc.replacing, "replacing"), (edc.late, "late")),
        _listed(
            (edc.suspense, "in suspense"), (sum(edc.unclaimed.values()), "unclaimed"), (edc.held_late, "late")
        ),
        _sync(edc),
        _deadline(edc),
    )


def _egs(egs: OfEgs) -> tuple[object, ...]:
    since = None if egs.oldest is None else f"since {show.instant(egs.oldest)}"
    return egs.egs, egs.laid_out, f"{egs.blocks:,}", egs.collected, egs.uncollected, since


def _drops(edc: OfEdc) -> Text:
    said = Text(f"{edc.buckets} in")
    for count, words, style in (
        (edc.under_way, "under way", ""),
        (edc.broken_off, "broken off", ""),
        (edc.arrived.duplicates, "duplicate", ""),
        (edc.arrived.refused, "refused", "red"),
        (edc.arrived.faults, "fault" if edc.arrived.faults == 1 else "faults", "yellow"),
    ):
        if count:
            said.append(", ").append(f"{count:,} {words}", style)
    return said


def _bar(percent: float | None) -> Text:
    if percent is None:
        return Text("nobody says what is due", "red")
    full = int(percent * _BAR / 100)
    return Text("█" * full + "░" * (_BAR - full) + f" {percent:.1f} %", "green" if percent == 100 else "")


def _listed(*counts: tuple[int, str]) -> str:
    return ", ".join(f"{count:,} {words}" for count, words in counts if count)


def _sync(edc: OfEdc) -> Text:
    if edc.sync is None:
        return Text("none", "bold red")
    age = {0: "of today", 1: "1 day old"}.get(edc.sync_age or 0, f"{edc.sync_age} days old")
    if edc.sync_too_old:
        return Text(f"{edc.sync.id}, {age}: too old", "bold red")
    return Text(f"{edc.sync.id}, {age}")


def _deadline(edc: OfEdc) -> Text:
    if edc.verdict is not None:
        missing = f", {edc.missing:,} missing" if edc.missing else ""
        return Text(
            f"{edc.verdict}{missing}", {"met": "green", "missed": "bold red"}.get(edc.verdict, "yellow")
        )
    if edc.minutes_left is None:
        return Text("passed, not judged", "yellow")
    hours, minutes = divmod(edc.minutes_left, 60)
    return Text(f"in {hours} h {minutes:02} min" if hours else f"in {minutes} min", "" if hours else "yellow")
