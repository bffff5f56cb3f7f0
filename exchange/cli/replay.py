"""`meterhub replay`: the load of a day done again from the archive, and held to what there is."""

from collections.abc import Collection, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from config.errors import OperatorError, RefusedError
from config.partners import Partner
from exchange.cli import no_day, opened, options, show
from exchange.cli.options import Asked
from jobs.replay import day as step
from jobs.replay import days
from jobs.replay.compare import Difference
from jobs.replay.window import Replayed, usage_windows, windows
from jobs.stores.opened import Stores
from schemas import receipt

_SHOWN = 100  # differences of an EDC that people are shown


@options.command(
    "replay",
    "meterhub replay 2013-09-02",
    "meterhub replay 2013-09-02 --edc cnp --keep /tmp/again",
    "meterhub replay 2013-09-02 --as-known-at 2013-09-03T18:00Z --json",
    "meterhub replay 2013-09-02 --usage-day",
)
@click.argument("day", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]))
@click.option("--edc", "only", multiple=True, metavar="ID", help="Only this EDC; may be given several times.")
@click.option(
    "--as-known-at",
    "known_at",
    metavar="INSTANT",
    callback=options.instant,
    help="Only what had been done by then, such as 2013-09-03T18:00Z.",
)
@click.option(
    "--keep",
    type=click.Path(path_type=Path, file_okay=False),
    help="Leave the replayed day in a new folder, one home an EDC, to look at.",
)
@click.option(
    "--usage-day",
    "of_usage",
    is_flag=True,
    help="All loads of the day's readings, whenever they came, and the verdict.",
)
def command(
    asked: Asked,
    *,
    day: datetime,
    only: tuple[str, ...],
    known_at: datetime | None,
    keep: Path | None,
    of_usage: bool,
) -> int:
    """Do the load of a usage day again from the archive, and hold it to what there is.

    All that was received, loaded and published from the deadline before to the day's own, and the verdict: lake
    files, versions, receipts, reports, outbound files and manifests, byte by byte, and the ledger, row by row. The
    hub's own files are only read. Exit code 1 if anything differs; 3 if there is nothing of the day to replay, or the
    history of it was lost with the ledger before a rebuild.
    """
    if keep is not None and keep.exists() and any(keep.iterdir()):
        raise RefusedError("folder-in-use", f"{keep} is not empty", "name a folder that is not there yet")
    with opened.stores(asked) as stores, show.progress() as progress:
        bar = progress.add_task("replaying", total=None)
        which = usage_windows if of_usage else windows
        edcs, now = opened.edcs(stores, only), asked.clock()
        found = which(edcs, day.date(), stores=stores, now=now, known_at=known_at)
        if all(window.empty for window in found):
            raise _nothing(edcs, day.date(), stores, until=min(now, known_at or now), of_usage=of_usage)
        done = step.replay(
            found, stores=stores, keep=keep, told=lambda n, of: progress.update(bar, completed=n, total=of)
        )
    asked.show(
        [_as_json(one) for one in done], *_readable(done, {window.edc.id for window in found if window.empty})
    )
    return 1 if any(one.differences for one in done) else 0


def _nothing(
    edcs: Sequence[Partner], day: date, stores: Stores, *, until: datetime, of_usage: bool
) -> OperatorError:
    """That there is nothing to replay of a day, and the days of which there is."""
    if of_usage:
        return no_day.refused(f"no readings of {day} are loaded", no_day.with_readings(edcs, stores=stores))
    what = f"nothing was received, published or judged for {day}: there is nothing to replay"
    return no_day.refused(what, days.there_are(edcs, stores=stores, until=until))


def _as_json(one: Replayed) -> dict[str, Any]:
    return {
        "edc": one.edc,
        "day": one.day.isoformat(),
        "from": receipt.instant(one.begin),
        "to": receipt.instant(one.end),
        "identical": not one.differences,
        "counts": dict(sorted(one.counts.items())),
        "differences": [
            {"what": each.what, "where": each.where, "expected": each.expected, "found": each.found}
            for each in one.differences
        ],
        "notes": one.notes,
    }


_COUNTS = {
    "drops": "drops",
    "blocks": "blocks",
    "lake_files": "lake files",
    "publish": "publications",
    "outbound_files": "outbound files",
    "papers": "papers",
    "rows": "ledger rows",
    "events": "events",
}


def _readable(done: Sequence[Replayed], empty: Collection[str]) -> list[Any]:
    """`empty`: the EDCs of which there was nothing to do again."""
    heads = ("EDC", "from (UTC)", "to (UTC)", *(f">{words}" for words in _COUNTS.values()), "")
    rows = [
        (
            one.edc,
            show.minute(one.begin),
            show.minute(one.end),
            *(f"{one.counts[key]:,}" for key in _COUNTS),
            _outcome(one, empty=one.edc in empty),
        )
        for one in done
    ]
    said: list[Any] = [show.table(heads, rows, tight=True)]
    for one in done:
        said += [f"{one.edc}: {note}; contents were compared, not bytes" for note in one.notes]
        if one.differences:
            columns = ("what", "where", "replayed", "found")
            shown = [_row(each) for each in one.differences[:_SHOWN]]
            said.append(show.table(columns, shown, title=f"What differs of {one.edc}"))
        if more := len(one.differences[_SHOWN:]):
            said.append(f"… and {more:,} more: --json has them all")
    differ = sum(len(one.differences) for one in done)
    said.append(
        f"{differ:,} {'difference' if differ == 1 else 'differences'}" if differ else _identical(done)
    )
    return said


def _outcome(one: Replayed, *, empty: bool) -> str:
    if one.differences:
        return f"{len(one.differences):,} differ"
    return "nothing came" if empty else "identical"


def _identical(done: Sequence[Replayed]) -> str:
    counts = {key: sum(one.counts[key] for one in done) for key in _COUNTS}
    gone = sum(one.counts["outbound_files_gone"] for one in done)
    kept = f"; of {gone:,} of them that were taken back or have expired, the hashes" if gone else ""
    said = [
        _counted(counts[key], _COUNTS[key]) for key in ("drops", "blocks", "lake_files", "outbound_files")
    ]
    return f"identical: {', '.join(said)}{kept}"


def _counted(count: int, words: str) -> str:
    """So many of what is named in the plural."""
    return f"{count:,} {words.removesuffix('s') if count == 1 else words}"


def _row(one: Difference) -> tuple[str, ...]:
    return one.what, one.where, _short(one.expected), _short(one.found)


def _short(value: Any) -> str:
    text = str(value)
    return f"{text[:12]}…" if len(text) == 64 else text
