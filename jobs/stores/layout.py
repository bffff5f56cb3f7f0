"""What lies in outbound folders: recorded files appear there, manifest first, and leave again."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date, datetime
from itertools import groupby
from pathlib import Path

from config.partners import Partners
from jobs.stores import files, side_by_side
from jobs.stores.ledger import events, outbox, publications, syncs
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.mailboxes import Laid
from jobs.stores.opened import Stores
from schemas import receipt


def claim_key(edc: str) -> str:
    """What is claimed by whoever changes the outbound files of an EDC's blocks."""
    return f"outbound:{edc}"


def staging(stores: Stores, edc: str) -> Path:
    """Where the files of an EDC's publication are made."""
    return stores.home.staging / f"publish-{edc}"


def finish(edc: str, *, stores: Stores, now: datetime) -> None:
    """Let every recorded file appear, also those of a publication that was cut off in the middle."""
    with stores.ledger.read() as tx:
        unfinished = publications.unfinished(tx, edc)
    for publication_id in unfinished:
        with stores.ledger.read() as tx:
            recorded = [f for f in outbox.of_publication(tx, publication_id) if f.state == "recorded"]
        manifests = _lay_out(recorded, stores=stores, now=now)
        with stores.ledger.write() as tx:
            publications.laid_out(tx, publication_id, at=now)
            laid = [events.of_paper(one, about=one.name.removesuffix(receipt.MANIFEST)) for one in manifests]
            events.record_all(tx, laid, at=now)


def _lay_out(recorded: list[OutboundFile], *, stores: Stores, now: datetime) -> list[Laid]:
    """Let files of a publication appear, each EGS's behind each other, those of several side by side; the
    manifests that lie there by that.
    """
    _keep_contents(recorded, stores=stores)
    with stores.ledger.read() as tx:
        replaced = {
            file.id: outbox.named(tx, file.replaces, egs=file.egs)[0] for file in recorded if file.replaces
        }
    manifests = _Manifests.of([*recorded, *replaced.values()], stores=stores, now=now)

    def lay_before(of_egs: list[OutboundFile]) -> list[Laid]:
        laid = []
        for file in of_egs:
            if (aside := _made(file, stores=stores, ending="lse.gz")).exists():
                laid.append(manifests.lay(file))
                files.appear(aside, place(file, stores=stores))
            elif lies := manifests.lies(file):  # it appeared before this was cut off
                laid.append(lies)
            if file.replaces:
                laid.append(manifests.lay(replaced[file.id]))
        return laid

    by_egs = [list(group) for _, group in groupby(recorded, key=lambda file: file.egs)]
    with side_by_side.threads() as threads:
        return [laid for of_egs in threads.map(lay_before, by_egs) for laid in of_egs]


def _keep_contents(recorded: list[OutboundFile], *, stores: Stores) -> None:
    """Put the lists of what files hold where they are kept."""
    folders = set()
    for file in recorded:
        kept = contents_path(file, stores=stores)
        if (aside := _made(file, stores=stores, ending="arrow")).exists():
            files.make_folder(kept.parent)
            files.rename(aside, kept)
            folders.add(kept.parent)
    for folder in folders:
        files.sync_folder(folder)


def _made(file: OutboundFile, *, stores: Stores, ending: str) -> Path:
    """Where a part of the file waits until it appears."""
    return staging(stores, file.edc) / f"{contents_path(file, stores=stores).stem}.{ending}"


def place(file: OutboundFile, *, stores: Stores) -> Path:
    """Where its EGS sees the file."""
    return stores.mailboxes.folder(file.egs, "outbound") / file.name


def hide(file: OutboundFile, *, stores: Stores) -> None:
    """Let a file that has appeared wait again as if it had not, for a replay."""
    files.appear(place(file, stores=stores), _made(file, stores=stores, ending="lse.gz"))


def contents_path(file: OutboundFile, *, stores: Stores) -> Path:
    """Where it stands which blocks the file holds (jobs.stores.outbound.CONTENTS)."""
    return stores.home.state / file.contents


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manifests:
    """Manifests of some files. What they say besides a file's row in the ledger is looked up once."""

    stores: Stores
    partners: Partners
    as_of: Mapping[str, date]  # by sync
    now: datetime

    @classmethod
    def of(cls, some: Iterable[OutboundFile], *, stores: Stores, now: datetime) -> "_Manifests":
        with stores.ledger.read() as tx:
            as_of = {sync_id: syncs.get(tx, sync_id).as_of for sync_id in {file.sync_id for file in some}}
        return cls(stores=stores, partners=stores.partners.current(), as_of=as_of, now=now)

    def lay(self, file: OutboundFile) -> Laid:
        """Write the file's manifest beside it. It stays when the file is withdrawn, and then says so."""
        edc, egs = self.partners.get(file.edc), self.partners.get(file.egs)
        content = receipt.manifest(
            file,
            edc_duns=edc.duns if edc else "",
            egs_duns=egs.duns if egs else "",
            as_of=self.as_of[file.sync_id],
            laid_out_at=file.laid_out_at or self.now,
        )
        return self.stores.mailboxes.lay(file.egs, "outbound", receipt.manifest_name(file.name), content)

    def lies(self, file: OutboundFile) -> Laid | None:
        """The file's manifest as it lies there already; None when there is none."""
        return self.stores.mailboxes.lies(file.egs, "outbound", receipt.manifest_name(file.name))


def withdraw(lost: list[OutboundFile], *, by: str, stores: Stores, now: datetime) -> list[Laid]:
    """Take files away that a sync takes from their EGSs; their manifests, in the same order, which say so."""
    manifests = _Manifests.of(lost, stores=stores, now=now)

    def take(file: OutboundFile) -> Laid:
        take_away(file, stores=stores)
        return manifests.lay(replace(file, withdrawn_at=now, withdrawn_by=by))

    with side_by_side.threads() as threads:
        return list(threads.map(take, lost))


def take_away(file: OutboundFile, *, stores: Stores) -> None:
    """Make a file disappear from its outbound folder; who reads it meets the end of it there."""
    files.remove(place(file, stores=stores))
