"""`meterhub report`: a usage day as a page that can be sent and printed."""

from datetime import datetime
from pathlib import Path

import click

from config.errors import RefusedError
from exchange.cli import opened, options
from exchange.cli.options import Asked
from exchange.picture import figures, page
from jobs.stores import files


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
    and the questions whose answers these figures are. --json gives the figures, too.
    """
    if not file.absolute().parent.is_dir():
        raise RefusedError("no-such-folder", f"there is no folder {file.parent}", "make it first")
    with opened.stores_of(asked, known_at) as stores:
        found = figures.gather(day.date(), stores=stores, now=known_at or asked.clock())
    written = page.rendered(found).encode()
    files.write(file, written)
    said = {"file": str(file), "bytes": len(written)}
    asked.show(said | found.as_json(), f"{file}: {len(written):,} bytes; open it in a browser, or print it")
