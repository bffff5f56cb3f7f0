"""`meterhub status`: tonight at a glance, and what needs an operator."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

import click
from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from exchange import lock, needs, shut, tonight
from exchange.bans import Bans
from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from exchange.needs import Need
from exchange.tonight import OfEdc, OfEgs, Tonight
from schemas import receipt

_BAR = 8  # characters
_SECONDS = 2.0  # between two looks
_HOUR, _DAY, _YEAR = 60, 24 * 60, 365 * 24 * 60  # minutes


@options.command(
    "status",
    "meterhub status",
    "meterhub status --day 2013-09-02 --json",
    "meterhub status --as-known-at 2013-09-03T22:00Z",
    "meterhub status --watch",
)
@click.option(
    "--day", type=click.DateTime(["%Y-%m-%d"]), help="Another usage day than the one that is due tonight."
)
@click.option("--watch", is_flag=True, help="Look again every two seconds, until Ctrl-C.")
@options.AS_KNOWN_AT
def command(asked: Asked, *, day: datetime | None, watch: bool, known_at: datetime | None) -> int:
    """Tonight at a glance: each EDC, each EGS, and what needs an operator.

    Exit code 3 if anything does. What needs an operator is told as of now, also with --day. With --as-known-at, how
    it stood at an instant; what needed an operator then is not told. Partners that are disabled, and what waits
    because of it, are named and need nobody.
    """
    if watch and known_at is not None:
        raise click.UsageError("what was known then does not change: --watch is for now")
    if watch and asked.json:
        raise click.UsageError("--watch is for people; ask for --json as often as is wanted")
    if watch and not show.console().is_terminal:
        raise click.UsageError("--watch is for a terminal; ask without it as often as is wanted")
    of_day = None if day is None else day.date()
    if known_at is not None:
        with opened.stores_of(asked, known_at) as then:
            stood = tonight.look(stores=then, now=known_at, day=of_day)
        asked.show(
            tonight.as_json(stood), Group(*_tables(stood)), f"As known at {receipt.instant(known_at)}."
        )
        return 0
    with opened.stores(asked) as stores:

        def look() -> tuple[Tonight, tuple[Need, ...], str]:
            looked, server = (
                tonight.look(stores=stores, now=asked.clock(), day=of_day),
                lock.state(asked.home),
            )
            return looked, needs.needed(looked, stores=stores, stopped=server == "stopped"), server

        seen, needed, server = look()
        again, disabled = needs.tried_again(stores), shut.look(stores=stores)
        if watch:
            with Live(_shown(seen, needed, server), console=show.console(), auto_refresh=False) as live:
                try:
                    while True:
                        live.update(_shown(seen, needed, server), refresh=True)
                        time.sleep(_SECONDS)
                        seen, needed, server = look()
                except KeyboardInterrupt:
                    pass  # this is how watching ends
        else:
            banned = Bans(asked.home.bans, asked.clock).in_force()
            answer = tonight.as_json(seen) | {
                "server": server,
                "bans": [ban.as_json() for ban in banned],
                "needs": [asdict(need) for need in needed],
                "tried_again": again,
                "disabled": [one.as_json() for one in disabled],
            }
            shut_out = f"Addresses banned: {len(banned)} (meterhub bans list)"
            besides = [*([shut_out] if banned else []), *_again(again), *(one.words for one in disabled)]
            asked.show(answer, *besides, _shown(seen, needed, server))
    return 3 if needed else 0


def _again(again: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for one in again:
        stage = f", {one['stage']}," if one["stage"] else ""
        times = "once" if one["times"] == 1 else f"{one['times']} times"
        yield f"{one['about']}{stage} failed {times}, and is tried again by the next sweep: {one['why']}"


def _shown(seen: Tonight, needed: tuple[Need, ...], server: str) -> Group:
    return Group(*_parts(seen, needed, server))


def _tables(seen: Tonight) -> Iterator[RenderableType]:
    if seen.edcs:
        columns = ("EDC", "usage day", "blocks of due", "", "deadline")
        yield show.table(columns, (_edc(edc) for edc in seen.edcs), tight=True)
        yield show.table(
            ("EDC", "", "besides"), (row for edc in seen.edcs for row in _besides(edc)), tight=True
        )
    else:
        yield Text("No EDC that may log in is among the partners: meterhub partner add")
    if seen.egss:
        headings = (
            "EGS,\ntonight",
            ">laid\nout",
            ">blocks\nin them",
            ">of them\nfetched",
            ">taken\nback",
            ">not\nyet",
            ">not yet,\nearlier",
            "the oldest\nsince (UTC)",
        )
        yield show.table(headings, (_egs(egs) for egs in seen.egss), tight=True)


def _parts(seen: Tonight, needed: tuple[Need, ...], server: str) -> Iterator[RenderableType]:
    yield from _tables(seen)
    if server != "serving" and not any(need.code == "no-server" for need in needed):
        yield Text("No server is running on this home: meterhub serve")
    if needed:
        yield Text("An operator is needed:", "bold red")
        for need in needed:
            yield Text(f"{need.partner}: {need.what}" if need.partner else need.what, "red")
            for run in (need.run, *need.then):
                yield Text(f"    {run}", no_wrap=True, overflow="ignore")  # to be copied in one piece
    else:
        yield Text(f"Nothing needs an operator. ({seen.at:%Y-%m-%d %H:%M:%S} UTC)", "green")


def _edc(edc: OfEdc) -> tuple[object, ...]:
    due = "?" if edc.due is None else f"{edc.due:,}"
    return edc.edc, edc.usage_day, f"{edc.loaded:,} of {due}", _bar(edc.percent), _deadline(edc)


def _besides(edc: OfEdc) -> Iterator[tuple[object, ...]]:
    """What else there is to say of an EDC, each in a line; what there is nothing to say of is left out."""
    yield edc.edc, "drops", _drops(edc)
    if said := _listed(
        (edc.replacing, "replacing"), (edc.outranked, "outranked by a later stamp"), (edc.late, "late")
    ):
        yield "", "blocks", said
    yield "", "sync", _sync(edc)
    if edc.suspense:
        yield (
            "",
            "held back",
            f"{_count(edc.suspense, 'block')} of {_count(edc.suspense_accounts, 'account')} in suspense",
        )
    if edc.suspense_other_days:
        yield "", "held back", f"{edc.suspense_other_days:,} in suspense of other usage days"
    if said := _listed((edc.unfetched, "of this usage day"), (edc.unfetched_other_days, "of others")):
        yield "", "held back", f"{said}, taken back before they were fetched, and nobody's to be given"
    if said := _listed(
        (edc.nobodys, "with nobody of record"),
        (sum(edc.unclaimed.values()), "for an EGS that is no partner"),
        (edc.held_late, "late"),
    ):
        yield "", "held back", f"{said}, of any usage day"


def _egs(egs: OfEgs) -> tuple[object, ...]:
    return (
        egs.egs,
        f"{egs.laid_out:,}",
        f"{egs.blocks:,}",
        f"{egs.collected:,}",
        f"{egs.taken_back:,}",
        f"{egs.uncollected:,}",
        f"{egs.uncollected_others:,}",
        show.minute(egs.oldest),
    )


def _drops(edc: OfEdc) -> Text:
    said = Text(f"{edc.buckets:,} loaded")
    for count, words, style in (
        (edc.uploading, "uploading", ""),
        (edc.under_way, "being taken in", ""),
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
    return Text("█" * full + "░" * (_BAR - full) + f" {percent} %", "green" if percent == 100 else "")


def _count(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count:,} {noun}s"


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
    return Text(f"in {_span(edc.minutes_left)}", "" if edc.minutes_left >= _HOUR else "yellow")


def _span(minutes: int) -> str:
    """A time in the two units that matter."""
    if minutes < _HOUR:
        return f"{minutes} min"
    if minutes < 2 * _DAY:
        return f"{minutes // _HOUR} h {minutes % _HOUR:02} min"
    if minutes < 2 * _YEAR:
        return f"{minutes // _DAY:,} days {minutes % _DAY // _HOUR} h"
    return f"{minutes // _YEAR:,} years {minutes % _YEAR // _DAY} days"
