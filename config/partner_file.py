"""Edits of partners' files: text in, text out, with everything a person wrote in them left as it was."""

from collections.abc import Iterable
from datetime import date
from typing import Any

import tomlkit
from tomlkit import TOMLDocument
from tomlkit.items import Array

from config import authorized_key, revoked
from config.authorized_key import AuthorizedKey
from config.errors import RefusedError

KEYS, AUTHORITIES, REVOKED = "authorized_keys", "certificate_authorities", "revoked"
_NAMES = {KEYS: "keys", AUTHORITIES: "authorities"}


def new(
    *,
    id: str,  # noqa: A002 - the file's own word
    role: str,
    name: str,
    duns: str = "",
    zone: str = "",
    keys: Iterable[str] = (),
    allow_from: Iterable[str] = (),
) -> str:
    """The text of a new partner's file. `partners.parse` says whether it can be taken."""
    document = tomlkit.document()
    document["id"] = tomlkit.item(id).comment("also the login")
    document["role"] = role
    document["name"] = name
    if duns:
        document["duns"] = duns
    if zone:
        document["time_zone"] = zone
    document["authorized_keys"] = _lines(keys)
    if networks := list(allow_from):
        document["allow_from"] = networks
    return tomlkit.dumps(document)


def with_disabled(text: str, disabled: bool) -> str:
    """The same file with the door shut to its partner, or open again."""
    document = tomlkit.parse(text)
    if disabled:
        document["disabled"] = True
    else:
        document.pop("disabled", None)
    return tomlkit.dumps(document)


def with_key(text: str, line: str, *, expires: date | None = None, of: str = KEYS) -> str:
    """The same file with one more key, or authority. Raises RefusedError if it is no key, or there already."""
    document = tomlkit.parse(text)
    try:
        key = authorized_key.parse(line)
    except ValueError as error:
        raise RefusedError("key-refused", f"this is not {error}") from error
    if key.fingerprint in {one.fingerprint for one in _keys(document, of)}:
        raise RefusedError(
            "key-there-already", f"{key.fingerprint} is among the partner's {_NAMES[of]} already"
        )
    entries = _entries(document, of)
    if expires is None:
        entry: Any = key.line
    else:
        entry = tomlkit.inline_table()
        entry.update({"key": key.line, "expires": expires})
    entries.append(entry)
    document[of] = entries.multiline(True)
    return tomlkit.dumps(document)


def without_key(text: str, which: str, *, of: str = KEYS) -> str:
    """The same file without the key, or authority, of that fingerprint or comment.

    Raises RefusedError if none is meant by `which`, or more than one.
    """
    document = tomlkit.parse(text)
    keys = _keys(document, of)
    meant = [number for number, key in enumerate(keys) if which in (key.fingerprint, key.comment)]
    if len(meant) != 1:
        shown = "\n".join(f"  {key.fingerprint}  {key.comment}" for key in keys) or "  none"
        raise RefusedError(
            "no-such-key" if not meant else "several-keys",
            f"{len(meant)} {_NAMES[of]} have the fingerprint or comment {which!r}; the partner's {_NAMES[of]} are\n"
            f"{shown}",
        )
    entries = _entries(document, of)
    del entries[meant[0]]
    return tomlkit.dumps(document)


def with_revoked(text: str, line: str) -> str:
    """The same file with one thing more that opens no door. Raises RefusedError if it cannot be one."""
    document = tomlkit.parse(text)
    entries = _entries(document, REVOKED)
    before = list(entries.unwrap())
    try:
        taken = revoked.parse([line])
    except ValueError as error:
        raise RefusedError("revocation-refused", f"{line} is not {error.args[1]}") from error
    if taken in [revoked.parse([one]) for one in before]:
        raise RefusedError("revoked-already", f"{line} is among what the partner has revoked already")
    entries.append(line)
    document[REVOKED] = entries.multiline(True)
    return tomlkit.dumps(document)


def _entries(document: TOMLDocument, of: str) -> Array:
    entries = document.get(of)
    return entries if isinstance(entries, Array) else tomlkit.array()


def _keys(document: TOMLDocument, of: str) -> list[AuthorizedKey]:
    return [authorized_key.parse(entry) for entry in _entries(document, of).unwrap()]


def _lines(keys: Iterable[str]) -> Array:
    entries = tomlkit.array()
    entries.extend(keys)
    return entries.multiline(True)
