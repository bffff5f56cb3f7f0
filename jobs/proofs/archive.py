"""The archive: every drop's bytes as they came, each under its own hash, and none besides."""

import hashlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from isal import isal_zlib

from jobs.proofs.finding import RESTORE, Check, Finding, Look
from jobs.proofs.known import Known
from jobs.proofs.place import Place, files_below, pieces
from jobs.proofs.place import sha256 as hash_of
from jobs.stores import unpacking

_GZIP = 16 + 15


def looks(known: Known, place: Place) -> Iterator[Look]:
    """One for each hash under which a drop's bytes must lie."""
    first: dict[str, str] = {}
    for row in known.drops:
        if row.sha256:
            first.setdefault(row.sha256, row.id)
    for sha256, drop_id in first.items():
        kept = known.told.archived.get(sha256, "")
        path = _path(place.home.archive, sha256, packed=kept != sha256)
        yield Look(
            check=Check.ARCHIVE,
            where=place.named(path),
            look=partial(_read, path, place.named(path), sha256, kept, drop_id),
        )


def strangers(known: Known, place: Place) -> Iterator[Finding]:
    """Files in the archive under a hash that no drop has."""
    owners = {row.sha256 for row in known.drops}
    arriving: dict[str, str] | None = None
    for path in files_below(place.home.archive):
        sha256 = path.name.removesuffix(".gz")
        packed = known.told.archived.get(sha256, "") != sha256
        if sha256 in owners and path == _path(place.home.archive, sha256, packed=packed):
            continue
        arriving = _arriving(known, place) if arriving is None else arriving
        drop_id = arriving.get(sha256) or arriving.get("", "")
        what, do = (
            "no drop has these bytes",
            "the hub never reads it: find out who put it there, and take it away",
        )
        if sha256 in arriving:
            what = f"{drop_id} brings these bytes, and the ledger does not say yet that they are received"
            do = "nothing is lost: the hub that is at it, or the next sweep, finds them here and goes on"
        claim = f"drop:{drop_id}" if drop_id else ""
        yield Finding(check=Check.STRANGERS, where=place.named(path), what=what, do=do, claim=claim)


def _arriving(known: Known, place: Place) -> dict[str, str]:
    """The drops whose bytes lie in inbound/ yet, by their hash: they are here a moment before the ledger says so.
    Under no hash one that has gone from there while we looked.
    """
    found = {}
    for row in known.drops:
        if row.stage == "arrived":
            try:
                found[hash_of(place.mailbox(row.partner, "inbound") / row.name)] = row.id
            except FileNotFoundError:
                found[""] = row.id
    return found


def _path(archive: Path, sha256: str, *, packed: bool) -> Path:
    return archive / sha256[:2] / (sha256 + (".gz" if packed else ""))


def _read(path: Path, where: str, sha256: str, kept: str, drop_id: str) -> Iterator[Finding]:
    """Hash the file as it is kept, and what it unpacks to."""
    packed, came = hashlib.sha256(), hashlib.sha256()
    member = isal_zlib.decompressobj(wbits=_GZIP) if path.suffix == ".gz" else None
    broken = ""
    try:
        for piece in pieces(path):
            packed.update(piece)
            came.update(member.decompress(piece) if member is not None and not broken else piece)
    except FileNotFoundError:
        broken = "it is gone"
    except isal_zlib.error as error:  # type: ignore[misc] # its stub says too little
        broken = unpacking.words(error)
    if not broken and member is not None and not member.eof:
        broken = "it is cut off"
    if not broken and came.hexdigest() != sha256:
        broken = "its bytes are not those that came"
    if not broken and packed.hexdigest() != kept:
        broken = "it unpacks to what came, and is not the file that was kept"
    if broken:
        what = f"{broken}; it is what {drop_id} brought"
        yield Finding(check=Check.ARCHIVE, where=where, what=what, do=RESTORE, claim=f"drop:{drop_id}")
