"""A partner's connection examined: how it came, what would let it in now, what ends, and what a change would break."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from config import legacy
from config.authorized_key import AuthorizedKey
from config.partners import Partner
from exchange import addresses, algorithms, keys, outlook
from exchange.bans import Bans
from exchange.certificates import Certificate
from exchange.keys import Proof
from exchange.outlook import BREAKS, Change, Effect
from exchange.probe import Found
from jobs.rules import expiry
from jobs.stores.ledger.visits import Way

_RECENT = timedelta(days=90)  # whoever was not seen for longer is not counted on


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A key or an authority of a partner's, and whether it opens the door."""

    kind: str  # key | authority
    held: AuthorizedKey
    refused: str  # why it opens nothing now, from the addresses seen last; empty: it does
    taken: bool | None  # by the running hub, when it was shown; None: it was not asked
    used_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Examined:
    """All that is known of how a partner connects."""

    at: datetime
    partner: Partner
    found: Found | None  # by the probe; None: it was not sent
    own_host_keys: frozenset[str]  # fingerprints
    ways: Sequence[Way]
    turned_away: Sequence[dict[str, Any]]
    credentials: Sequence[Credential]
    places: Sequence[tuple[str, str, str]]  # addresses, when each was seen last, why it is not let in
    effects: Sequence[Effect]
    asked: Collection[str]  # names of the changes that were asked about

    @property
    def troubles(self) -> list[str]:
        """What needs an operator, in words."""
        return list(_troubles(self))

    @property
    def habits(self) -> dict[str, Any]:
        """What was done over all the ways, at which hours, and how many sessions at once."""
        return _habits(self)

    def as_json(self) -> dict[str, Any]:
        """As `meterhub doctor --json` answers it."""
        return _as_json(self)

    @property
    def is_broken_by_what_was_asked(self) -> bool:
        return any(one.verdict == BREAKS and one.change.name in self.asked for one in self.effects)


def examine(
    partner: Partner,
    *,
    found: Found | None,
    own_host_keys: Collection[str],
    ways: Sequence[Way],
    turned_away: Sequence[dict[str, Any]],
    asked: Sequence[Change],
    bans: Bans,
    now: datetime,
) -> Examined:
    """Put together what was seen, what the probe found and what the partner's file says."""
    seen: dict[str, str] = {}
    for way in ways:
        for address, at in way.addresses.items():
            seen[address] = max(at, seen.get(address, ""))
    latest = sorted(seen.items(), key=lambda item: item[1], reverse=True)
    coming = outlook.coming(partner, allows=_old_allowed(partner, now.date()))
    changes = [*asked, *(one for one in coming if one.when is None or one.when >= now.date())]
    recent = [way for way in ways if way.last_at >= now - _RECENT]
    return Examined(
        at=now,
        partner=partner,
        found=found,
        own_host_keys=frozenset(own_host_keys),
        ways=ways,
        turned_away=turned_away,
        credentials=list(_credentials(partner, found, ways, latest[0][0] if latest else "", now=now)),
        places=[(address, at, _place(partner, address, bans)) for address, at in latest],
        effects=[effect for change in changes for effect in outlook.effects(change, recent)],
        asked=[change.name for change in asked],
    )


def without_key(partner: Partner, which: str) -> Change | None:
    """That the key or authority of that fingerprint or comment is taken away; None: there is none."""
    for one in (*partner.keys, *partner.authorities):
        if which in (one.fingerprint, one.comment):
            return Change(name=f"it is without {one.comment or one.fingerprint}", credential=one.fingerprint)
    return None


def without_algorithms(partner: Partner, names: Sequence[str], *, today: date) -> Change:
    """That the hub no longer offers these."""
    return outlook.without(names, allows=_old_allowed(partner, today))


def all_algorithms() -> frozenset[str]:
    """Every algorithm that the hub may speak with anybody."""
    return frozenset({*algorithms.SIGNATURES, *_spread(algorithms.offered(legacy.KNOWN))})


def _spread(lists: algorithms.Lists) -> Iterator[str]:
    for some in (lists.key_exchanges, lists.host_keys, lists.ciphers, lists.macs):
        yield from some


def _old_allowed(partner: Partner, today: date) -> frozenset[str]:
    return partner.legacy.on(today) if partner.legacy is not None else frozenset()


def _credentials(
    partner: Partner, found: Found | None, ways: Sequence[Way], address: str, *, now: datetime
) -> Iterator[Credential]:
    for kind, some in (("key", partner.keys), ("authority", partner.authorities)):
        for held in some:
            used = [way for way in ways if way.credential == held.fingerprint]
            proof = Proof(fingerprint=held.fingerprint)
            if kind == "authority":
                signed = _as_shown(held.fingerprint, partner.id, used[0] if used else None)
                proof = Proof(fingerprint=signed.key, certificate=signed)
            refused = keys.refusal(partner, proof=proof, address=address or _inside(partner), now=now)
            if partner.disabled:
                refused = "disabled", "the partner is disabled"
            yield Credential(
                kind=kind,
                held=held,
                refused=refused[1] if refused else "",
                taken=found.takes.get(held.fingerprint) if found is not None else None,
                used_at=max((way.last_at for way in used), default=None),
            )


def _as_shown(authority: str, login: str, way: Way | None) -> Certificate:
    """The certificate of the authority that was seen last; before there was any, one for ever."""
    said = way.certificate if way is not None else {}
    return Certificate(
        serial=int(said.get("serial", 0)),
        key_id=str(said.get("key_id", "")),
        principals=(login,),
        since=0,
        until=int(said.get("until", 2**64 - 1)),
        authority=authority,
        key=str(said.get("key", "")),
    )


def _inside(partner: Partner) -> str:
    """An address that the partner may come from."""
    return str(partner.allow_from[0].network_address) if partner.allow_from else "192.0.2.1"


def _place(partner: Partner, address: str, bans: Bans) -> str:
    if partner.allow_from and not keys.is_listed(partner, address):
        return "not in its allow_from"
    ban = bans.on(addresses.source(address))
    return f"banned until {ban.until:%Y-%m-%d %H:%M} UTC" if ban is not None else ""


def _troubles(seen: Examined) -> Iterator[str]:
    found, partner = seen.found, seen.partner
    if found is not None and found.error:
        where = f" at {found.host}, port {found.port}" if found.port else ""
        yield f"nobody is let in{where}: {found.error}"
    elif found is not None and found.host_key.rpartition(" ")[2] not in seen.own_host_keys:
        yield f"what answers at {found.host}, port {found.port} has none of this home's host keys"
    if partner.disabled:
        yield f"it is disabled: meterhub partner enable {partner.id}"
    elif not partner.keys and not partner.authorities:
        yield f"it has no key: meterhub partner key add {partner.id} FILE"
    elif all(one.refused for one in seen.credentials):
        yield f"none of its keys opens the door: {seen.credentials[0].refused}"
    for one in seen.credentials:
        if one.taken is False and not one.refused:
            yield f"the running hub does not take {one.held.fingerprint}, though its file names it"
    for effect in seen.effects:
        when = effect.change.when
        if (
            effect.verdict == BREAKS
            and when
            and expiry.days_left(when, today=seen.at.date()) <= max(expiry.AHEAD)
        ):
            yield f"{effect.change.name} on {when}: {effect.client} {effect.words}"


def _habits(seen: Examined) -> dict[str, Any]:
    done: Counter[str] = Counter()
    hours: Counter[int] = Counter()
    for way in seen.ways:
        done.update(way.habits)
        hours.update(dict(enumerate(way.hours)))
    total = max(1, sum(hours.values()))
    return {
        "sessions": sum(way.sessions for way in seen.ways),
        "most_at_once": max((way.most_at_once for way in seen.ways), default=0),
        "done": {str(name): count for name, count in sorted(done.items()) if count},
        "hours": {hour: round(count / total, 3) for hour, count in sorted(hours.items()) if count},
    }


def _as_json(seen: Examined) -> dict[str, Any]:
    found = seen.found
    return {
        "partner": seen.partner.id,
        "hub": None if found is None else _answer(found, seen),
        "keys": [
            {
                "kind": one.kind,
                "fingerprint": one.held.fingerprint,
                "comment": one.held.comment,
                "expires": one.held.expires,
                "opens": not one.refused,
                "why_not": one.refused or None,
                "hub_takes_it": one.taken,
                "last_used": one.used_at,
            }
            for one in seen.credentials
        ],
        "clients": [_way(way) for way in seen.ways],
        "addresses": [
            {"address": address, "last_seen": at, "why_not": why or None} for address, at, why in seen.places
        ],
        "habits": seen.habits,
        "turned_away": list(seen.turned_away),
        "coming": [
            {
                "change": one.change.name,
                "when": one.change.when,
                "client": one.client,
                "last_seen": one.last_at,
                "verdict": one.verdict,
                "why": one.words,
            }
            for one in seen.effects
        ],
        "needs": seen.troubles,
    }


def _answer(found: Found, seen: Examined) -> dict[str, Any]:
    offers = found.offers
    return {
        "host": found.host,
        "port": found.port,
        "error": found.error or None,
        "version": found.version or None,
        "host_key": found.host_key or None,
        "host_key_is_ours": found.host_key.rpartition(" ")[2] in seen.own_host_keys,
        "offers": None
        if offers is None
        else {
            "key_exchanges": offers.key_exchanges,
            "host_keys": offers.host_keys,
            "ciphers": offers.ciphers,
            "macs": offers.macs,
        },
    }


def _way(way: Way) -> dict[str, Any]:
    return {
        "client": way.client,
        "first_seen": way.first_at,
        "last_seen": way.last_at,
        "sessions": way.sessions,
        "speaks": way.spoken,
        "can": way.offers,
        "credential": way.credential,
        "certificate": way.certificate or None,
        "addresses": way.addresses,
    }
