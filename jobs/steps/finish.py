"""finish: write the final receipt of a drop at its end, once, or again after a crash."""

from datetime import datetime

from config.partners import Partner
from jobs.stores.ledger import drops, events
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.drop import Drop
from schemas.fault import Fault
from schemas.usage_day import UsageDay


def faults(drop: Drop, found: tuple[Fault, ...], *, stores: Stores) -> None:
    """Lay the list of all faults. Done before the ledger says that the drop is at its end, so that no
    crash can lose the part of the list that the ledger does not keep.
    """
    if found:
        stores.mailboxes.lay(drop.partner, "receipts", receipt.faults_name(drop), receipt.faults_csv(found))


def finish(drop: Drop, *, sender: Partner | None, stores: Stores, now: datetime) -> Drop:
    """Lay the final receipt that is due."""
    deadline = None
    if drop.usage_days and sender is not None and sender.zone is not None:
        latest = UsageDay(drop.usage_days[-1], sender.zone)
        deadline = latest.deadline(stores.settings.deadline.time)
    content = receipt.final(drop, deadline=deadline)
    listed = stores.mailboxes.lies(drop.partner, "receipts", receipt.faults_name(drop))
    if listed is None and drop.faults:  # cut off before the list of a drop that was not accepted
        text = receipt.faults_csv(drop.faults)
        listed = stores.mailboxes.lay(drop.partner, "receipts", receipt.faults_name(drop), text)
    laid = stores.mailboxes.lay(drop.partner, "receipts", receipt.final_name(drop), content)
    with stores.ledger.write() as tx:
        drops.note(tx, drop.id, receipt_due=False)
        events.laid(tx, *([listed] if listed else []), laid, at=now, about=drop.id)
        return drops.get(tx, drop.id)
