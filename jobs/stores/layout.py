"""What lies in outbound folders: recorded files appear there, manifest first, and leave again."""

from datetime import datetime
from pathlib import Path

from jobs.stores import files
from jobs.stores.ledger import events, outbox, syncs
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
        unfinished = outbox.unfinished(tx, edc)
    for publication_id in unfinished:
        with stores.ledger.read() as tx:
            recorded = [f for f in outbox.of_publication(tx, publication_id) if f.state == "recorded"]
        manifests = [laid for file in recorded for laid in _lay_out(file, stores=stores, now=now)]
        with stores.ledger.write() as tx:
            outbox.laid_out(tx, publication_id, at=now)
            for manifest in manifests:
                about = manifest.name.removesuffix(receipt.MANIFEST)
                events.laid(tx, manifest, at=now, about=about)


def _lay_out(file: OutboundFile, *, stores: Stores, now: datetime) -> list[Laid]:
    """Let one file appear; the manifests that lie there by that."""
    contents = contents_path(file, stores=stores)
    key = contents.stem
    if (aside := staging(stores, file.edc) / f"{key}.arrow").exists():
        files.appear(aside, contents)
    if (aside := staging(stores, file.edc) / f"{key}.lse.gz").exists():
        own: Laid | None = lay_manifest(file, stores=stores, laid_out_at=now)
        files.appear(aside, place(file, stores=stores))
    else:  # it appeared before this was cut off
        own = stores.mailboxes.lies(file.egs, "outbound", receipt.manifest_name(file.name))
    laid = [own] if own else []
    if file.replaces:
        with stores.ledger.read() as tx:
            (replaced,) = outbox.named(tx, file.replaces, egs=file.egs)
        laid.append(lay_manifest(replaced, stores=stores, laid_out_at=now))
    return laid


def place(file: OutboundFile, *, stores: Stores) -> Path:
    """Where its EGS sees the file."""
    return stores.mailboxes.folder(file.egs, "outbound") / file.name


def contents_path(file: OutboundFile, *, stores: Stores) -> Path:
    """Where it stands which blocks the file holds (jobs.stores.outbound.CONTENTS)."""
    return stores.home.state / file.contents


def lay_manifest(file: OutboundFile, *, stores: Stores, laid_out_at: datetime) -> Laid:
    """Write the file's manifest beside it. It stays when the file is withdrawn, and then says so."""
    partners = stores.partners.current()
    edc, egs = partners.get(file.edc), partners.get(file.egs)
    with stores.ledger.read() as tx:
        sync = syncs.get(tx, file.sync_id)
    content = receipt.manifest(
        file,
        edc_duns=edc.duns if edc else "",
        egs_duns=egs.duns if egs else "",
        as_of=sync.as_of,
        laid_out_at=file.laid_out_at or laid_out_at,
    )
    return stores.mailboxes.lay(file.egs, "outbound", receipt.manifest_name(file.name), content)


def take_away(file: OutboundFile, *, stores: Stores) -> None:
    """Make a file disappear from its outbound folder; who reads it meets the end of it there."""
    path = place(file, stores=stores)
    path.unlink(missing_ok=True)
    files.sync_folder(path.parent)
