"""`meterhub doctor`: how a partner connects, whether it could now, and what a change would break."""

import difflib
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import click
from rich.console import RenderableType

from config import partners
from config.errors import RefusedError
from config.partners import Partner
from exchange import doctor, keys, lock, probe
from exchange.cli import bans, opened, options, show
from exchange.cli.options import Asked
from exchange.doctor import Examined
from exchange.outlook import STAYS, Change
from exchange.probe import Found
from jobs.stores.ledger import visits
from schemas.visit import Habit

_ANYWHERE = {"", "0.0.0.0", "::"}  # noqa: S104 - known, not used
_LATEST = int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())  # what is said to end later never does
_SHARE = 0.1  # of the sessions, that an hour must have to be named


@options.command(
    "doctor",
    "meterhub doctor cnp",
    "meterhub doctor cnp --without hmac-sha2-256 --without hmac-sha2-512",
    "meterhub doctor cnp --without-key night-batch",
    "meterhub doctor cnp --no-probe --json",
)
@click.argument("login", metavar="PARTNER")
@click.option(
    "--without", "gone", multiple=True, metavar="ALGORITHM", help="What if the hub no longer offered it?"
)
@click.option("--without-key", metavar="FINGERPRINT|COMMENT", help="What if this key were taken away?")
@click.option("--host", help="Where to knock; else where the settings say.")
@click.option("--port", type=click.IntRange(1, 65535), help="The port to knock at; else the running hub's.")
@click.option(
    "--probe/--no-probe", "knocks", default=True, help="Knock at the hub's door, as a stranger does."
)
def command(
    asked: Asked,
    *,
    login: str,
    gone: tuple[str, ...],
    without_key: str | None,
    host: str | None,
    port: int | None,
    knocks: bool,
) -> int:
    """How a partner connects, whether it could now, what of it ends, and what a change would break.

    Nothing is needed of the partner's: its public keys are shown to the running hub, which says whether it would
    take them. Exit code 1 if what --without or --without-key asks about would shut its client out, 3 if an operator
    is needed.
    """
    partner = _partner(asked, login)
    changes = _changes(partner, gone, without_key, asked.clock())
    found = _knock(asked, partner, host, port) if knocks else None
    with opened.stores(asked) as stores, stores.ledger.read() as tx:
        ways, turned = visits.ways(tx, partner.id), visits.turned_away(tx, partner.id)
    seen = doctor.examine(
        partner,
        found=found,
        own_host_keys=[key.fingerprint for key in keys.host_keys(asked.home.host_keys)],
        ways=ways,
        turned_away=[row for row in turned if row["reason"] != "probe"],
        asked=changes,
        bans=bans.opened(asked),
        now=asked.clock(),
    )
    asked.show(seen.as_json(), *_tables(seen))
    return 3 if seen.troubles else 1 if seen.is_broken_by_what_was_asked else 0


def _partner(asked: Asked, login: str) -> Partner:
    known = partners.known(asked.home).by_id
    if login not in known:
        near = difflib.get_close_matches(login, list(known), n=1)
        hint = f"is {near[0]} meant?" if near else "see them all with: meterhub partner list"
        raise RefusedError("no-such-partner", f"there is no partner {login}", hint)
    return known[login]


def _changes(partner: Partner, gone: Sequence[str], which: str | None, now: datetime) -> list[Change]:
    """Those that were asked about. Raises errors of usage for what there is not."""
    changes = []
    known = doctor.all_algorithms()
    for name in gone:
        if name not in known:
            near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.0)[0]
            raise click.BadParameter(
                f"the hub speaks no {name}; the nearest is {near}", param_hint="--without"
            )
    if gone:
        changes.append(doctor.without_algorithms(partner, gone, today=now.date()))
    if which is not None:
        change = doctor.without_key(partner, which)
        if change is None:
            hint = f"see them with: meterhub partner show {partner.id}"
            raise RefusedError("no-such-key", f"{partner.id} has no key {which}", hint)
        changes.append(change)
    return changes


def _knock(asked: Asked, partner: Partner, host: str | None, port: int | None) -> Found:
    settings = asked.settings.sftp
    place = host or ("127.0.0.1" if settings.host in _ANYWHERE else settings.host)
    number = port or lock.port(asked.home)
    if number is None:
        return Found(
            host=place, port=settings.port, error="no server is running on this home: meterhub serve"
        )
    return probe.look(place, number, partner.id, [key.line for key in partner.keys])


# ── What is shown ────────────────────────────────────────────────────────────────────────────────


def _tables(seen: Examined) -> Iterator[RenderableType]:
    partner = seen.partner
    yield f"{partner.id}: {partner.name} ({partner.role})"
    yield from _hub(seen)
    rows = [
        (one.kind, one.held.comment or one.held.fingerprint, one.held.expires or "never", _opens(one.refused),
         {True: "yes", False: "no", None: ""}[one.taken], show.minute(one.used_at) or "never")
        for one in seen.credentials
    ]  # fmt: skip
    yield show.table(
        ("", "", "expires", "opens the door", "hub takes it", "last used (UTC)"), rows, tight=True
    )
    if not seen.ways:
        yield "It has not been seen yet."
    else:
        yield from _seen(seen)
    if seen.turned_away:
        refused = [
            (
                row["reason"],
                row["times"],
                show.minute(row["last_at"]),
                row["address"],
                row["client"],
                row["key"],
            )
            for row in seen.turned_away
        ]
        columns = ("turned away for", ">times", "last (UTC)", "from", "client", "key")
        yield show.table(columns, refused, tight=True)
        yield from (f"  {row['reason']}: {row['words']}" for row in seen.turned_away if row["words"])
    yield from _coming(seen)
    yield from (f"Needs an operator: {trouble}" for trouble in seen.troubles)


def _hub(seen: Examined) -> Iterator[str]:
    found = seen.found
    if found is None or found.error:
        return
    whose = "this home's" if found.host_key.rpartition(" ")[2] in seen.own_host_keys else "NOT this home's"
    yield f"The hub answers at {found.host}, port {found.port}, as {found.version}"
    yield f"  host key   {found.host_key}, {whose}"
    if found.offers is not None:
        yield f"  offers     {', '.join(found.offers.key_exchanges)}"
        yield f"             {', '.join(found.offers.host_keys)}; {', '.join(found.offers.ciphers)}"
        yield f"             {', '.join(found.offers.macs)}"


def _coming(seen: Examined) -> Iterator[RenderableType]:
    """What does not stay as it is, and then what nobody of the partner's would notice."""
    felt = [one for one in seen.effects if one.verdict != STAYS]
    rows = [(one.change.name, one.change.when or "", one.client, one.verdict, one.words) for one in felt]
    if rows:
        yield show.table(("what may come", "its day", "its client", "", ""), rows, tight=True)
    noticed = {one.change.name for one in felt}
    for name in dict.fromkeys(one.change.name for one in seen.effects if one.change.name not in noticed):
        yield f"None of its clients would notice if {name}"


def _opens(refused: str) -> str:
    return f"no: {refused}" if refused else "yes"


def _seen(seen: Examined) -> Iterator[RenderableType]:
    rows = [
        (way.client.removeprefix("SSH-2.0-"), show.minute(way.last_at), way.sessions,
         ", ".join(dict.fromkeys(filter(None, (way.spoken[kind] for kind in _SHOWN)))), _by(seen, way))
        for way in seen.ways
    ]  # fmt: skip
    yield show.table(("client", "last seen (UTC)", ">sessions", "speaks", "logs in by"), rows, tight=True)
    places = [(address, at[:16].replace("T", " "), why or "yes") for address, at, why in seen.places]
    yield show.table(("address", "last seen (UTC)", "let in"), places, tight=True)
    habits = seen.habits
    said = [
        f"{name.replace('-', ' ')} {habits['done'][name]:,}" for name in Habit if habits["done"].get(name)
    ]
    yield f"Habits: {', '.join(said) or 'looks, and does nothing'}"
    hours = [f"{hour:02}h {share:.0%}" for hour, share in habits["hours"].items() if share >= _SHARE]
    yield f"  sessions at once, at most: {habits['most_at_once']}; by the clock in UTC: {', '.join(hours)}"


_SHOWN = ("key_exchange", "host_key", "cipher", "mac", "signature")


def _by(seen: Examined, way: visits.Way) -> str:
    known = {one.held.fingerprint: one.held.comment for one in seen.credentials}
    name = known.get(way.credential) or way.credential
    if way.certificate:
        until = int(way.certificate["until"])
        end = "for ever" if until > _LATEST else f"until {datetime.fromtimestamp(until, UTC):%Y-%m-%d %H:%M}"
        return f"certificate {way.certificate['serial']} ({way.certificate['key_id']}) of {name}, {end}"
    return name if way.credential in known else f"{name}, no longer listed"
