"""`meterhub serve`: the hub itself, until it is told to stop."""

import json
import shlex
import socket
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from config.errors import OperatorError
from config.home import Home
from config.partners import Partner
from exchange import app, keys
from exchange.cli import options, sample_partners, show
from exchange.cli.options import NOW, Asked
from jobs.stores.ledger import LedgerUnreachable

_NOT_RUNNING = "the hub is not running: when that is mended, start it again with: meterhub serve"
_SHOWN = 12  # partners that are named one by one
_ANY_ADDRESS = {"", "0.0.0.0", "::"}  # noqa: S104 - known, not used


@options.command("serve", "meterhub serve", "meterhub --home hub serve --quiet")
@click.option("--quiet", is_flag=True, help="Log to state/logs/ only, and not to the terminal.")
def command(asked: Asked, *, quiet: bool) -> None:
    """Run the hub: let partners in, load what they send, publish it and judge each day.

    SIGTERM or Ctrl-C stops it: uploads under way stay to be resumed, loads that have begun end, and
    whatever is left is taken up at the next start. One hub serves a home; every other command works beside it.
    With METERHUB_NOW set to an instant, its clock starts there: for rehearsals.
    """
    try:
        left = app.serve(
            asked.home,
            asked.settings,
            clock=asked.clock,
            console=not (quiet or asked.json),
            opened=lambda hub: _tell(asked, hub),
        )
    except LedgerUnreachable as error:  # its hint is for those who ask beside a hub that goes on
        raise OperatorError(error.code, error.message, _NOT_RUNNING) from error
    if not asked.json:
        click.echo(f"Closed; loads left for the next start: {left}" if left else "Closed.")


def _tell(asked: Asked, hub: app.Hub) -> None:
    """Say that the hub is open. In JSON on one line, so that a program reads a line and goes on."""
    home = asked.home
    found = keys.host_keys(home.host_keys)
    known = hub.stores.partners.current()
    partners = list(known.by_id.values())
    options.tell_mistakes(known)
    _renew_sample_login(home, found, hub)
    ready = [one for one in partners if (one.keys or one.authorities) and not one.disabled]
    host = hub.stores.settings.sftp.host
    if asked.json:
        answer = {
            "home": str(home.root),
            "host": host,
            "port": hub.doors.port,
            "now": hub.schedule.clock().isoformat(),
            "host_keys": [{"fingerprint": key.fingerprint, "public": key.public} for key in found],
            "partners": [{"id": one.id, "role": one.role, "keys": len(one.keys)} for one in ready],
        }
        click.echo(json.dumps(answer))
        return
    lines = [f"Serving {home.root} on {host or 'every address'}, port {hub.doors.port}"]
    lines += [f"  host key   {key.fingerprint} ({key.public.split()[0]})" for key in found]
    if asked.clock.ahead:
        lines.append(f"  clock      {hub.schedule.clock():%Y-%m-%d %H:%M:%S} UTC, set by {NOW}: a rehearsal")
    lines.append(f"  partners   {len(ready)} of {len(partners)} may log in, by key: {_how(asked, hub)}")
    asked.show({}, *lines, *_table(ready), "Ctrl-C or SIGTERM stops it.")


def _renew_sample_login(home: Home, found: Iterable[keys.HostKey], hub: app.Hub) -> None:
    """Let what the sample partners log in with lead to this door, whatever the settings were before."""
    if not (sample_partners.keys_folder(home) / "ssh_config").exists():
        return
    try:
        sample_partners.renew(home, found, replace(hub.stores.settings.sftp, port=hub.doors.port))
    except OSError as error:  # a home whose config/ is not the hub's to write serves as well
        options.warn([f"the sample partners' ssh_config is as it was: {error}"])


def _how(asked: Asked, hub: app.Hub) -> str:
    config = sample_partners.keys_folder(asked.home) / "ssh_config"
    if config.exists() and hub.stores.settings.sftp.port:
        return f"sftp -F {shlex.quote(_short(config))} LOGIN"
    host = hub.stores.settings.sftp.host
    return f"sftp -P {hub.doors.port} LOGIN@{socket.gethostname() if host in _ANY_ADDRESS else host}"


def _table(ready: list[Partner]) -> list[Any]:
    if not ready:
        return ["             let one in with: meterhub partner add"]
    if len(ready) > _SHOWN:
        roles = [str(one.role) for one in ready]
        return ["             " + ", ".join(f"{roles.count(role)} {role}" for role in sorted(set(roles)))]
    rows = [(one.id, one.role, one.name, len(one.keys)) for one in ready]
    return [show.table(("login", "role", "name", ">keys"), rows)]


def _short(path: Path) -> str:
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
