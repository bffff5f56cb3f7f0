"""`meterhub bans`: addresses that are shut out for a time. A running hub takes every change at once."""

from datetime import datetime

import click
import structlog

from config import log as log_setup
from config.errors import RefusedError
from exchange import addresses
from exchange.bans import Bans
from exchange.cli import options, show
from exchange.cli.options import Asked


@click.group("bans")
def command() -> None:
    """Addresses that failed at the doors too often and are shut out for a time."""


@options.command("list", "meterhub bans list", "meterhub bans list --json")
def list_all(asked: Asked) -> None:
    """Every ban that is in force: since when, until when, for what, and the how manieth it is in a row."""
    bans = opened(asked).in_force()
    rows = [
        (addresses.shown(ban.source), show.instant(ban.since), show.instant(ban.until), ban.reason, ban.times)
        for ban in bans
    ]
    table = show.table(("address", "since (UTC)", "until (UTC)", "for", ">times"), rows)
    asked.show([ban.as_json() for ban in bans], table if rows else "Nobody is banned.")


@options.command("lift", "meterhub bans lift 203.0.113.7", "meterhub bans lift --all")
@click.argument("address", required=False)
@click.option("--all", "everybody", is_flag=True, help="Lift every ban.")
def lift(asked: Asked, *, address: str | None, everybody: bool) -> None:
    """Let an address in again at once, as if it had never been banned."""
    if everybody == (address is not None):
        raise click.UsageError("name one ADDRESS, or give --all")
    bans = opened(asked)
    log_setup.configure(asked.home, asked.settings, console=False)
    if address is not None:
        lifted = [_source(address)]
        if not bans.lift(lifted[0]):
            raise RefusedError(
                "no-such-ban",
                f"{addresses.shown(lifted[0])} is not banned",
                "see who is with: meterhub bans list",
            )
    else:
        lifted = [ban.source for ban in bans.in_force() if bans.lift(ban.source)]
    said = [addresses.shown(source) for source in lifted]
    for one in said:
        structlog.get_logger().info("ban.lifted", address=one)
    asked.show({"lifted": said}, f"Lifted: {', '.join(said)}." if said else "Nobody was banned.")


def opened(asked: Asked) -> Bans:
    """The bans of the home that was asked for."""
    asked_at: datetime = asked.clock()
    return Bans(asked.home.bans, lambda: asked_at)


def _source(address: str) -> addresses.Source:
    try:
        return addresses.source(address.partition("/")[0])
    except ValueError as error:
        raise click.UsageError(f"{address} is not an address such as 203.0.113.7 or 2001:db8::7") from error


command.add_command(list_all)
command.add_command(lift)
