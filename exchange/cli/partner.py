"""`meterhub partner`: who may log in. A running hub takes every change at once."""

import difflib
from collections.abc import Collection, Iterable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import click

from config import partner_file, partners
from config.errors import PartnerError, RefusedError
from config.home import Home
from config.partners import Partner, Role
from exchange.cli import options, show
from exchange.cli.options import Asked
from jobs.stores import files


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
    asked.show([_facts(one) for one in known], table if rows else "No partners yet: meterhub partner add")


@options.command("show", "meterhub partner show cnp")
@click.argument("login", metavar="ID")
def show_one(asked: Asked, login: str) -> None:
    """One partner, with the fingerprints of its keys."""
    one = partners.parse(_text(asked.home, login), file=_file(asked.home, login))
    facts = _facts(one)
    rows = [
        (name, ", ".join(value) if isinstance(value, list) else value)
        for name, value in facts.items()
        if name != "keys" and value not in ("", None, [])
    ]
    keys = [(held.fingerprint, held.comment, held.expires or "never") for held in one.keys]
    asked.show(facts, show.table(("", one.id), rows), show.table(("key", "comment", "expires"), keys))


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
    if _file(home, login).exists():
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
        keys=[_key_line(one) for one in keys],
        allow_from=allow_from,
    )
    said = f"{login} may log in" if keys else f"{login} has no key yet"
    _keep(asked, home, login, text, said=said, new=[key.fingerprint for key in _taken(text, login).keys])


@options.command("disable", "meterhub partner disable prairie")
@click.argument("login", metavar="ID")
def disable(asked: Asked, login: str) -> None:
    """Shut the door to a partner; what is kept for it stays."""
    home = asked.home
    text = partner_file.with_disabled(_text(home, login), True)
    _keep(asked, home, login, text, said=f"{login} may not log in any more")


@options.command("enable", "meterhub partner enable prairie")
@click.argument("login", metavar="ID")
def enable(asked: Asked, login: str) -> None:
    """Open the door to a disabled partner again."""
    home = asked.home
    text = partner_file.with_disabled(_text(home, login), False)
    _keep(asked, home, login, text, said=f"{login} may log in")


@options.command(
    "add",
    "meterhub partner key add cnp night-batch.pub",
    'meterhub partner key add cnp "ssh-ed25519 AAAA… night-batch" --expires 2027-01-31',
)
@click.argument("login", metavar="ID")
@click.argument("public", metavar="KEY")
@click.option("--expires", type=click.DateTime(["%Y-%m-%d"]), help="The last day (UTC) on which it is taken.")
def key_add(asked: Asked, login: str, public: str, expires: datetime | None) -> None:
    """Add a public key, given as a line or as a file that holds one."""
    home = asked.home
    until = expires.replace(tzinfo=UTC).date() if expires else None
    text = partner_file.with_key(_text(home, login), _key_line(public), expires=until)
    new = [_taken(text, login).keys[-1].fingerprint]
    _keep(asked, home, login, text, said=f"{login} has one key more", new=new)


@options.command("remove", "meterhub partner key remove cnp night-batch")
@click.argument("login", metavar="ID")
@click.argument("which", metavar="FINGERPRINT|COMMENT")
def key_remove(asked: Asked, login: str, which: str) -> None:
    """Take a key away. It opens no new session from then on."""
    home = asked.home
    _keep(
        asked,
        home,
        login,
        partner_file.without_key(_text(home, login), which),
        said=f"{login} has one key less",
    )


for each in (list_all, show_one, add, disable, enable):
    command.add_command(each)
for each in (key_add, key_remove):
    key.add_command(each)


def _file(home: Home, login: str) -> Path:
    return home.partners / f"{login}.toml"


def _text(home: Home, login: str) -> str:
    """The text of a partner's file. Raises PartnerError if it says what cannot be."""
    file = _file(home, login)
    known = [one.stem for one in home.partners.glob("*.toml") if not one.name.startswith(".")]
    if login not in known:
        near = difflib.get_close_matches(login, known, n=1)
        raise RefusedError(
            "no-such-partner",
            f"there is no partner {login}",
            f"is {near[0]} meant?" if near else "see them all with: meterhub partner list",
        )
    try:
        text = file.read_text(encoding="utf-8")
        partners.parse(text, file=file)
    except (PartnerError, OSError, UnicodeDecodeError) as error:
        said = error.message if isinstance(error, PartnerError) else f"{file}: it cannot be read: {error}"
        hint = "mend the file; until then the partner is as it was when the file could last be taken"
        raise PartnerError("partner-refused", said, hint) from error
    return text


def _taken(text: str, login: str) -> Partner:
    """The partner of that text. Raises RefusedError if it says what cannot be: it was given so."""
    try:
        return partners.parse(text, file=f"{login}.toml")
    except PartnerError as error:
        raise RefusedError(error.code, error.message) from error


def _keep(asked: Asked, home: Home, login: str, text: str, *, said: str, new: Collection[str] = ()) -> None:
    """Write a partner's file, once it is found to be right, and to contradict no other.

    `new` are the fingerprints of the keys that were not there before.
    """
    kept = _taken(text, login)
    known = partners.known(home)
    others = [one for one in known.by_id.values() if one.id != login]
    try:
        known.admit(kept)
    except PartnerError as error:
        raise RefusedError(error.code, error.message) from error
    files.write(_file(home, login), text.encode())
    warnings = list(_warnings(kept, others, new, today=asked.clock().date()))
    facts = _facts(kept)
    asked.show({**facts, "warnings": warnings} if new else facts, f"{said}. ({_file(home, login)})")
    options.warn(() if asked.json else warnings)
    options.tell_mistakes(partners.known(home))


def _warnings(
    kept: Partner, others: Iterable[Partner], new: Collection[str], *, today: date
) -> Iterator[str]:
    """What is allowed and hardly meant."""
    for held in kept.keys:
        if held.fingerprint not in new:
            continue
        for other in others:
            if held.fingerprint in {one.fingerprint for one in other.keys}:
                yield f"{held.fingerprint} is a key of {other.id}, too: whoever holds it can log in as either"
        if held.expires is not None and held.expires < today:
            yield f"{held.fingerprint} expired on {held.expires}: nobody can log in with it"


def _key_line(found: str) -> str:
    """The key itself, where a file was named that holds it."""
    file = Path(found).expanduser()
    if " " in found.strip() or not file.is_file():
        return found
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) != 1:
        raise RefusedError(
            "key-refused", f"{found} has {len(lines)} lines; wanted: one public key", "name a .pub file"
        )
    return lines[0]


def _facts(one: Partner) -> dict[str, Any]:
    edc = one.role is Role.EDC
    return {
        "id": one.id,
        "role": one.role,
        "name": one.name,
        "duns": one.duns,
        "time_zone": one.zone and one.zone.key,
        "channels": sorted(one.channels, reverse=True) if edc else [],
        "format": one.format if one.role is Role.EGS else "",
        "allow_from": [str(network) for network in one.allow_from],
        "disabled": one.disabled,
        "keys": [
            {"fingerprint": held.fingerprint, "comment": held.comment, "expires": held.expires}
            for held in one.keys
        ],
    }
