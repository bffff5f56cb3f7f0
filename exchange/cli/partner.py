"""`meterhub partner`: who may log in. A running hub takes every change at once."""

from datetime import UTC, datetime
from typing import Any

import click

from config import partner_file, partners
from config.errors import RefusedError
from config.partners import Role
from exchange.cli import options, partner_files, show
from exchange.cli.options import Asked


@click.group("partner")
def command() -> None:
    """Who may log in, as what and with which keys."""


@command.group("key")
def key() -> None:
    """The public keys a partner logs in with; several, so that one can be changed without a gap."""


@options.command("list", "meterhub partner list", "meterhub partner list --json")
def list_all(asked: Asked) -> None:
    """All partners."""
    found = partners.known(asked.home)
    options.tell_mistakes(found)
    known = found.by_id.values()
    rows = [
        (one.id, one.role, one.name, one.duns, one.zone, len(one.keys), "disabled" if one.disabled else "")
        for one in known
    ]
    table = show.table(("login", "role", "name", "DUNS", "time zone", ">keys", ""), rows)
    asked.show(
        [partner_files.facts(one) for one in known],
        table if rows else "No partners yet: meterhub partner add",
    )


@options.command("show", "meterhub partner show cnp")
@click.argument("login", metavar="ID")
def show_one(asked: Asked, login: str) -> None:
    """One partner, with the fingerprints of its keys."""
    one = partners.parse(partner_files.text(asked.home, login), file=partner_files.path(asked.home, login))
    facts = partner_files.facts(one)
    rows = [
        (name.replace("_", " "), _words(value))
        for name, value in facts.items()
        if name not in {"keys", "certificate_authorities"} and value not in ("", None, [], False)
    ]
    keys = [(held.fingerprint, held.comment, held.expires or "never") for held in one.keys]
    signers = [(held.fingerprint, held.comment, held.expires or "never") for held in one.authorities]
    tables = [show.table(("key", "comment", "expires"), keys)]
    if signers:
        tables.append(show.table(("certificate authority", "comment", "expires"), signers))
    asked.show(facts, show.table(("", one.id), rows), *tables)


@options.command(
    "add",
    'meterhub partner add oncor --role edc --name "Oncor" --duns 1039940674000 '
    "--time-zone America/Chicago --key oncor.pub",
    'meterhub partner add plains --role egs --name "Plains Power" --duns 990000099 --key plains.pub',
)
@click.argument("login", metavar="ID")
@click.option("--role", type=click.Choice([str(role) for role in Role]), required=True)
@click.option("--name", required=True, help="What people call it.")
@click.option("--duns", default="", help="Its DUNS, 9 to 13 characters; EDCs and EGSs have one.")
@click.option("--time-zone", default="", help="An EDC's IANA time zone.")
@click.option("--key", "keys", multiple=True, help="A public key, or a file that holds one.")
@click.option("--allow-from", multiple=True, help="A network it may come from; none: any.")
def add(
    asked: Asked,
    *,
    login: str,
    role: str,
    name: str,
    duns: str,
    time_zone: str,
    keys: tuple[str, ...],
    allow_from: tuple[str, ...],
) -> None:
    """Let a new partner in."""
    home = asked.home
    if partner_files.path(home, login).exists():
        raise RefusedError(
            "partner-there-already",
            f"there is a partner {login} already",
            f"see it with: meterhub partner show {login}",
        )
    text = partner_file.new(
        id=login,
        role=role,
        name=name,
        duns=duns,
        zone=time_zone,
        keys=[partner_files.public_key(one) for one in keys],
        allow_from=allow_from,
    )
    said = f"{login} may log in" if keys else f"{login} has no key yet"
    partner_files.keep(
        asked,
        home,
        login,
        text,
        said=said,
        new=[key.fingerprint for key in partner_files.taken(text, login).keys],
    )


@options.command("disable", "meterhub partner disable prairie")
@click.argument("login", metavar="ID")
def disable(asked: Asked, login: str) -> None:
    """Shut the door to a partner; what is kept for it stays."""
    home = asked.home
    text = partner_file.with_disabled(partner_files.text(home, login), True)
    partner_files.keep(asked, home, login, text, said=f"{login} may not log in any more")


@options.command("enable", "meterhub partner enable prairie")
@click.argument("login", metavar="ID")
def enable(asked: Asked, login: str) -> None:
    """Open the door to a disabled partner again."""
    home = asked.home
    text = partner_file.with_disabled(partner_files.text(home, login), False)
    partner_files.keep(asked, home, login, text, said=f"{login} may log in")


_CA = click.option(
    "--ca", is_flag=True, help="An authority that signs certificates, and no key that logs in."
)


@options.command(
    "add",
    "meterhub partner key add cnp night-batch.pub",
    'meterhub partner key add cnp "ssh-ed25519 AAAA… night-batch" --expires 2027-01-31',
    "meterhub partner key add cnp ops-ca.pub --ca",
)
@click.argument("login", metavar="ID")
@click.argument("public", metavar="KEY")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="The last day (UTC) on which it is taken.")
@_CA
def key_add(asked: Asked, login: str, public: str, expires: datetime | None, *, ca: bool) -> None:
    """Add a public key, given as a line or as a file that holds one.

    With --ca it is the key of a certificate authority: OpenSSH user certificates that it has signed, and that
    name the partner among their principals, log in.
    """
    home = asked.home
    until = expires.replace(tzinfo=UTC).date() if expires else None
    text = partner_file.with_key(
        partner_files.text(home, login), partner_files.public_key(public), expires=until, of=_part(ca=ca)
    )
    taken = partner_files.taken(text, login)
    new = [(taken.authorities if ca else taken.keys)[-1].fingerprint]
    partner_files.keep(asked, home, login, text, said=f"{login} has one {_called(ca=ca)} more", new=new)


@options.command(
    "remove",
    "meterhub partner key remove cnp night-batch",
    "meterhub partner key remove cnp ops-ca --ca",
)
@click.argument("login", metavar="ID")
@click.argument("which", metavar="FINGERPRINT|COMMENT")
@_CA
def key_remove(asked: Asked, login: str, which: str, *, ca: bool) -> None:
    """Take a key, or with --ca an authority, away. It opens no new session from then on."""
    home = asked.home
    text = partner_file.without_key(partner_files.text(home, login), which, of=_part(ca=ca))
    partner_files.keep(asked, home, login, text, said=f"{login} has one {_called(ca=ca)} less")


@options.command(
    "revoke",
    'meterhub partner key revoke cnp "serial: 17"',
    'meterhub partner key revoke cnp "id: night-batch-3"',
    "meterhub partner key revoke cnp SHA256:uNiVztksCsDhcc0u9e8BrqXVxJlrXUaOPXuDJjFWWTk",
)
@click.argument("login", metavar="ID")
@click.argument("what", metavar="WHAT")
def key_revoke(asked: Asked, login: str, what: str) -> None:
    """Take certificates back before their end: by serial, by key id, or by the key itself."""
    home = asked.home
    text = partner_file.with_revoked(partner_files.text(home, login), partner_files.key_line(what))
    partner_files.keep(asked, home, login, text, said=f"{what} opens no door of {login} any more")


for each in (list_all, show_one, add, disable, enable):
    command.add_command(each)
for each in (key_add, key_remove, key_revoke):
    key.add_command(each)


def _part(*, ca: bool) -> str:
    return partner_file.AUTHORITIES if ca else partner_file.KEYS


def _called(*, ca: bool) -> str:
    return "certificate authority" if ca else "key"


def _words(value: Any) -> str:
    """A fact as people are shown it."""
    if isinstance(value, dict):
        return "; ".join(f"{name} {_words(one)}" for name, one in value.items())
    return ", ".join(value) if isinstance(value, list) else str(value)
