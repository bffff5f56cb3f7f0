"""Partners' files as the commands read and write them: refused in words, and never left half right."""

import difflib
from collections.abc import Collection, Iterable, Iterator
from contextlib import closing
from datetime import date
from pathlib import Path
from typing import Any

from config import log, partners
from config.authorized_key import AuthorizedKey
from config.errors import OperatorError, PartnerError, RefusedError
from config.home import Home
from config.partners import Partner, Role
from exchange.cli import options
from exchange.cli.options import Asked
from jobs.steps import seal
from jobs.stores import files
from jobs.stores.opened import Stores


def path(home: Home, login: str) -> Path:
    """The file of that partner, whether it is there or not."""
    return home.partners / f"{login}.toml"


def text(home: Home, login: str) -> str:
    """The text of a partner's file. Raises PartnerError if it says what cannot be."""
    file = path(home, login)
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


def taken(text: str, login: str) -> Partner:
    """The partner of that text. Raises RefusedError if it says what cannot be: it was given so."""
    try:
        return partners.parse(text, file=f"{login}.toml")
    except PartnerError as error:
        raise RefusedError(error.code, error.message) from error


def keep(asked: Asked, home: Home, login: str, text: str, *, said: str, new: Collection[str] = ()) -> None:
    """Write a partner's file, once it is found to be right, and to contradict no other.

    `new` are the fingerprints of the keys that were not there before.
    """
    kept = taken(text, login)
    known = partners.known(home)
    others = [one for one in known.by_id.values() if one.id != login]
    try:
        known.admit(kept)
    except PartnerError as error:
        raise RefusedError(error.code, error.message) from error
    files.write(path(home, login), text.encode())
    _note(asked, home)
    warnings = list(_warnings(kept, others, new, today=asked.clock().date()))
    answer = facts(kept)
    asked.show({**answer, "warnings": warnings} if new else answer, f"{said}. ({path(home, login)})")
    options.warn(() if asked.json else warnings)
    options.tell_mistakes(partners.known(home))


def _note(asked: Asked, home: Home) -> None:
    """Bind the changed file to the chain of events at once: `meterhub verify` asks for it before the next sweep does.
    Of a home that was never served there is nothing to verify.
    """
    try:
        if not home.ledger_file.exists() and not asked.settings.database_url:
            return
        log.configure(home, asked.settings, console=False)
        with closing(Stores.open(home, asked.settings)) as stores:
            seal.note(stores=stores, now=asked.clock())
    except OperatorError as error:  # the next sweep takes note of it
        options.warn([f"the change is made, and not noted yet: {error.message}"])


def _warnings(
    kept: Partner, others: Iterable[Partner], new: Collection[str], *, today: date
) -> Iterator[str]:
    """What is allowed and hardly meant."""
    for held in (*kept.keys, *kept.authorities):
        if held.fingerprint not in new:
            continue
        for other in others:
            if held.fingerprint in {one.fingerprint for one in other.keys}:
                yield f"{held.fingerprint} is a key of {other.id}, too: whoever holds it can log in as either"
            if held.fingerprint in {one.fingerprint for one in other.authorities}:
                yield f"{held.fingerprint} signs for {other.id}, too: whoever holds it can sign for either login"
        if held.expires is not None and held.expires < today:
            yield f"{held.fingerprint} expired on {held.expires}: nobody can log in with it"


def public_key(found: str) -> str:
    """The line of a public key, given so or in a file. Raises RefusedError for what is neither."""
    line = key_line(found)
    if " " not in line:
        hint = "name a .pub file that there is, or give the line that is in one, in quotes"
        raise RefusedError("key-refused", f"{found} is no public key, and no file is called so", hint)
    return line


def key_line(found: str) -> str:
    """The words given, or those in the file that they name."""
    file = Path(found).expanduser()
    if " " in found.strip() or not file.is_file():
        return found
    lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    if len(lines) != 1:
        raise RefusedError(
            "key-refused", f"{found} has {len(lines)} lines; wanted: one public key", "name a .pub file"
        )
    return lines[0]


def facts(one: Partner) -> dict[str, Any]:
    """What a partner's file says, as the commands answer it."""
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
        "keys": [_held(held) for held in one.keys],
        "certificate_authorities": [_held(held) for held in one.authorities],
        "revoked": _revoked(one),
        "legacy": one.legacy and {"until": one.legacy.until, "allows": sorted(one.legacy.allows)},
    }


def _held(held: AuthorizedKey) -> dict[str, Any]:
    return {"fingerprint": held.fingerprint, "comment": held.comment, "expires": held.expires}


def _revoked(one: Partner) -> list[str]:
    serials = [
        f"serial: {low}" if low == high else f"serial: {low}-{high}" for low, high in one.revoked.serials
    ]
    return [*serials, *(f"id: {key_id}" for key_id in sorted(one.revoked.key_ids)), *sorted(one.revoked.keys)]
