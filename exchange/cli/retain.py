"""`meterhub retain`: what has been kept for as long as was agreed, goes now."""

from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from jobs.steps import arrive
from jobs.steps import retain as step


@options.command("retain", "meterhub retain", "meterhub retain --json")
def command(asked: Asked) -> None:
    """Take away what has been kept for as long as was agreed.

    Outbound files go after outbound.keep_days, uploads that broke off after inbound.keep_incomplete_hours. The
    server does so every minute; the archive and the lake are left alone.
    """
    with opened.stores(asked) as stores:
        now = asked.clock()
        expired = step.retain(stores=stores, now=now).expired
        discarded = arrive.discard_broken(stores=stores, now=now)
    answer = {
        "outbound": [{"egs": one.egs, "file": one.name, "sequence": one.sequence} for one in expired],
        "broken_uploads": [
            {"partner": one.partner, "file": one.name, "drop": one.id, "bytes": one.bytes}
            for one in discarded
        ],
    }
    rows = [(one.egs, "outbound/", one.name) for one in expired]
    rows += [(one.partner, "inbound/", one.name) for one in discarded]
    said = f"Gone: {len(expired)} outbound files and {len(discarded)} uploads that broke off."
    asked.show(answer, *([show.table(("partner", "folder", "file"), rows)] if rows else []), said)
