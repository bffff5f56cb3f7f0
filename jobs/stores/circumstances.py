"""Circumstances: what a load, a publication or a verdict goes by besides files and ledger: the settings that
decide something, what is public of the partners, and the versions of the software that writes files.

They are kept in the history, once each, under a short name made of their hash; the events of what was done
say `under` which it was. So a day can be done again as it was done, whatever was changed since.
"""

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import datetime, time
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, select

from config import settings_file
from config.partners import Partner
from config.partners_folder import PartnersFolder
from config.settings import Settings
from jobs.stores.ledger import events
from jobs.stores.ledger.history import Until
from jobs.stores.opened import Stores
from schemas import tables

DECIDE = ("deadline", "sync", "outbound", "limits")  # the tables of settings that do
_WRITE = ("meterhub", "pyarrow", "isal", "tzdata")


def note(tx: Connection, *, stores: Stores, at: datetime) -> str:
    """The name of the circumstances of now; they are kept if they are not yet."""
    said = of(stores)
    name = f"C{hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()[:16]}"
    event = tables.event
    if tx.execute(select(event.c.id).where(event.c.about == name).limit(1)).first() is None:
        events.record(tx, "circumstances.noted", at=at, about=name, **said)
    return name


def of(stores: Stores) -> dict[str, Any]:
    """Settings and partners as TOML, by the names their files have; and the software's versions."""
    partners = stores.partners.current()
    known = {f"{one.id}.toml": partner_text(one) for one in partners.by_id.values()}
    return {
        "settings": settings_text(stores.settings),
        "partners": known,
        "left_out": sorted(partners.left_out),
        "software": dict(software()),
    }


def last(tx: Connection, *, until: Until) -> dict[str, Any] | None:
    """What had been noted last, in full (`of`); None if nothing had been done by then."""
    event = tables.event
    where = (event.c.name == "circumstances.noted") & until.earlier
    query = select(event.c.details).where(where).order_by(event.c.id.desc()).limit(1)
    return tx.execute(query).scalar_one_or_none()


def noted(tx: Connection, name: str) -> dict[str, Any]:
    """The circumstances of that name, in full (`of`)."""
    event = tables.event
    query = select(event.c.details).where((event.c.about == name) & (event.c.name == "circumstances.noted"))
    said: dict[str, Any] = tx.execute(query).scalars().one()
    return said


def write(said: Mapping[str, Any], folder: Path) -> None:
    """Put circumstances into files, as a home has them: meterhub.toml, and partners/."""
    (folder / "partners").mkdir(parents=True)
    (folder / "meterhub.toml").write_text(said["settings"] + "\n", encoding="utf-8")
    files: dict[str, str] = dict(said["partners"])
    files |= {f"{one}.toml": "left out =" for one in said["left_out"]}
    for file, words in files.items():
        (folder / "partners" / file).write_text(words, encoding="utf-8")


def under(stores: Stores, folder: Path) -> Stores:
    """The stores with the settings that decide, and the partners, of circumstances in files."""
    file = folder / "meterhub.toml"
    then = settings_file.read(file.read_text(encoding="utf-8"), Settings, name=str(file))
    settings = replace(stores.settings, **{name: getattr(then, name) for name in DECIDE})
    return replace(stores, settings=settings, partners=PartnersFolder(folder / "partners"))


@functools.cache
def software() -> Mapping[str, str]:
    """The versions of what decides which bytes a file is written in."""
    return {name: version for name in _WRITE if (version := _version(name))}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:  # the system's own zone files, say
        return ""


def settings_text(settings: Settings) -> str:
    """What decides something of the settings, as meterhub.toml says it."""
    return "\n".join(line for name in DECIDE for line in _table(name, getattr(settings, name)))


def partner_text(one: Partner) -> str:
    """What is public of a partner, as its file says it: no keys, and no addresses."""
    said: dict[str, Any] = {"id": one.id, "role": str(one.role), "name": one.name}
    if one.duns:
        said["duns"] = one.duns
    if one.zone is not None:
        said |= {"time_zone": str(one.zone), "channels": sorted(one.channels)}
    if one.format != "lse":
        said["format"] = one.format
    if one.disabled:
        said["disabled"] = True
    return "".join(f"{name} = {_value(value)}\n" for name, value in said.items())


def _table(name: str, leaf: Any) -> Iterator[str]:
    assert is_dataclass(leaf)
    yield f"[{name}]"
    for one in fields(leaf):
        yield f"{one.name} = {_value(getattr(leaf, one.name))}"


def _value(value: Any) -> str:
    """A value as TOML writes it; where these values are concerned, that is as JSON does."""
    if isinstance(value, time):
        return f'"{value:%H:%M}"'
    if isinstance(value, tuple | list):
        return f"[{', '.join(_value(one) for one in value)}]"
    return json.dumps(value, ensure_ascii=False)
