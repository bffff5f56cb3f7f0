"""`meterhub report`: a usage day as a page that can be sent and printed."""

from datetime import datetime
from pathlib import Path

import click

from config.errors import RefusedError
from exchange.cli import no_day, opened, options
from exchange.cli.options import Asked
from exchange.picture import figures, page
from exchange.picture.figures import Figures
from jobs.stores import files
from jobs.stores.ledger import drops
from jobs.stores.opened import Stores


@options.command(
    "report",
    "meterhub report 2013-09-02 --html 2013-09-02.html",
    "meterhub report 2013-09-02 --html 2013-09-02.html --json",
    "meterhub report 2013-09-02 --html then.html --as-known-at 2013-09-03T22:00Z",
)
@click.argument("day", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]))
@click.option(
    "--html",
    "file",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The page to write; one that is there is written anew.",
)
@options.AS_KNOWN_AT
def command(asked: Asked, *, day: datetime, file: Path, known_at: datetime | None) -> None:
    """A usage day as one page that needs nothing else, fit to be sent and printed.

    When what came against the deadline, what is complete, versions and estimates, what each supplier got, faults;
    and the questions whose answers these figures are. --json gives the figures, too. Exit code 3 if there is nothing to
    tell of the day: no readings, and no sync to hold it to.
    """
    if not file.absolute().parent.is_dir():
        raise RefusedError("no-such-folder", f"there is no folder {file.parent}", "make it first")
    with opened.stores_of(asked, known_at) as stores:
        found = figures.gather(day.date(), stores=stores, now=known_at or asked.clock())
        if not _anything(found, stores):
            there = no_day.with_readings(opened.edcs(stores), stores=stores)
            raise no_day.refused(f"nothing came for {day:%Y-%m-%d}, and nothing holds anybody to it", there)
    written = page.rendered(found).encode()
    files.write(file, written)
    said = {"file": str(file), "bytes": len(written)}
    asked.show(said | found.as_json(), f"{file}: {len(written):,} bytes; open it in a browser, or print it")


def _anything(found: Figures, stores: Stores) -> bool:
    """Whether there is anything to tell: of what came, or of what did not and is or was due."""
    if found.verdicts or any(found.answers[one] for one in ("arrived", "given", "faulty")):
        return True
    with stores.ledger.read() as tx:
        first = {edc.edc: drops.first_arrival(tx, edc.edc) for edc in found.seen.edcs}
    return any(
        edc.due is not None and edc.since <= found.at and at <= edc.deadline
        for edc in found.seen.edcs
        if (at := first[edc.edc]) is not None
    )
