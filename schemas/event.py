"""The vocabulary: every event that is logged or stands in the history, with what it means.

Named `noun.past_participle`. Fields are ids and counts; never contents of files, never customers' names.
"""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Event:
    """What an event means, and the fields it always has."""

    meaning: str
    fields: tuple[str, ...] = ()


EVENTS: Mapping[str, Event] = {
    # the life of a drop: `about` is its id, `partner` its sender
    "drop.incomplete": Event("an upload broke off and is kept to be resumed", ("name", "bytes")),
    "drop.misnamed": Event("a whole upload waits to be renamed to the agreed form", ("name",)),
    "drop.arrived": Event("a whole upload of an agreed name is in", ("name",)),
    "drop.received": Event("it is hashed and archived for good", ("sha256", "bytes", "kept_sha256")),
    "drop.accepted": Event("name, sender and size are right and the bytes are new", ("kind",)),
    "drop.loaded": Event("what is good of it is in the lake, or its sync part is kept"),
    "drop.refused": Event(
        "nothing of it is loaded; the first fault's code, and how many", ("faults", "code")
    ),
    "drop.duplicate": Event("the same bytes came before, as the drop named", ("of",)),
    "drop.discarded": Event("an upload that never became whole is gone", ("why",)),
    # checksums beside files: `about` is the checksum's name, `partner` its sender
    "checksum.arrived": Event("a checksum lies beside its file, or where its file will be"),
    "checksum.matched": Event("it agreed with the file of that drop, and is gone", ("drop", "wanted")),
    "checksum.mismatched": Event("it did not agree with the file of that drop", ("drop", "wanted")),
    "checksum.discarded": Event("it is gone without having agreed with a file", ("why",)),
    # the life of a sync: `about` is its id, `partner` its EDC
    "sync.begun": Event("the first part of a sync is kept", ("parts",)),
    "sync.completed": Event("all parts of a sync are there"),
    "sync.assembled": Event("its roster is written, and nothing speaks against it", ("rows",)),
    "sync.held": Event(
        "it moves more accounts than sync.brake allows; an operator decides", ("moved", "share")
    ),
    "sync.approved": Event("an operator let a held sync pass", ("by",)),
    "sync.refused": Event("an operator sent a held sync away", ("by",)),
    "sync.enforced": Event("it says from now on who may see what", ("accounts", "moved", "withdrawn")),
    "sync.superseded": Event("another sync is in force instead", ("by",)),
    "sync.rejected": Event("its parts do not agree; the one before stays in force", ("why",)),
    "sync.outdated": Event("a sync of a later date is in force; this one never will be"),
    # what decides besides files: `about` is its name, made of a hash; events say `under` which they were
    "circumstances.noted": Event(
        "settings, partners and versions of software that were not in force before, in full",
        ("settings", "partners", "software"),
    ),
    # publication: `about` is the publication or file, `partner` the EDC or EGS
    "publication.recorded": Event(
        "its files are staged and in the ledger", ("files", "blocks", "through_seq")
    ),
    "publication.laid_out": Event("its files have appeared in outbound folders"),
    "publication.withheld": Event("nothing of an EDC is published: no sync, or too old a one", ("why",)),
    "outbound.recorded": Event(
        "a file and the list of its blocks are staged; their hashes",
        ("sequence", "sha256", "contents_sha256", "publication"),
    ),
    "outbound.withdrawn": Event("a file is taken back: a sync takes an account in it", ("by", "rewrite")),
    "outbound.collected": Event("an EGS has read a file", ("bytes", "of", "whole", "address")),
    "outbound.expired": Event("a file has lain for outbound.keep_days and is gone"),
    # what lies in partners' folders: `about` is the drop, sync, day or outbound file that it tells of
    "receipt.laid": Event("a receipt lies in receipts/; its hash", ("file", "sha256")),
    "report.laid": Event("a report lies in reports/; its hash", ("file", "sha256")),
    "manifest.laid": Event("a manifest lies in outbound/; its hash", ("file", "sha256")),
    "sheet.laid": Event("a proof sheet, or its signature, lies in reports/; its hash", ("file", "sha256")),
    # an auditor's door: `about` is a session's id, `partner` the auditor
    "audit.looked": Event(
        "an auditor is about to see a folder's names, or what is in a file",
        ("path", "what", "address", "key"),
    ),
    # the deadline: `about` is EDC/usage day, `partner` the EDC
    "deadline.warned": Event(
        "blocks are missing still at a time of warning", ("loaded", "due", "minutes_left")
    ),
    "deadline.met": Event("all that was due was loaded in time", ("expected", "in_time", "late", "missing")),
    "deadline.missed": Event("something that was due was not", ("expected", "in_time", "late", "missing")),
    "deadline.reported": Event(
        "the day is reported anew, by what was loaded since", ("late", "missing", "through")
    ),
    "deadline.unjudged": Event("no verdict: there was no sync to hold the day to", ("expected", "in_time")),
    "deadline.awaited": Event("the verdict waits for drops that came in time", ("drops",)),
    # the doors: `session` is a session's id, `file` a name in a `folder`
    "doors.opened": Event("partners can log in", ("host", "port")),
    "doors.closed": Event(
        "nobody can any more; how many sessions were ended by that, and which of them did not end in time",
        ("sessions", "late"),
    ),
    "connection.refused": Event("somebody was turned away before a login", ("address", "reason")),
    "login.refused": Event(
        "somebody tried to log in and could not", ("login", "address", "reason", "tries", "client")
    ),
    "address.banned": Event(
        "an address failed too often and is shut out for a time", ("address", "reason", "until", "times")
    ),
    "address.spared": Event(
        "one failed too often that some partner's allow_from names; it is not banned", ("address", "reason")
    ),
    "ban.lifted": Event("an operator let an address in again", ("address",)),
    "ban.unreadable": Event("a file among the bans is none of ours; it bans nobody", ("file", "why")),
    "key.expiring": Event(
        "a partner's key ends in so many days, and so many others of it last longer; 30, 14 and 3 days ahead",
        ("expires", "days", "others"),
    ),
    "authority.expiring": Event(
        "as key.expiring, of one that signs certificates for a partner", ("expires", "days", "others")
    ),
    "certificate.expiring": Event(
        "as key.expiring, of a certificate that a partner came with last and that was made for 60 days or more",
        ("expires", "days", "key_id", "serial"),
    ),
    "legacy.expiring": Event(
        "a partner's exception for old algorithms ends in so many days; 30, 14 and 3 days ahead",
        ("expires", "days", "algorithms"),
    ),
    "legacy.used": Event(
        "a partner has logged in with old algorithms, which its exception allows until then",
        ("partner", "address", "algorithms", "until", "client"),
    ),
    "session.opened": Event(
        "a partner has logged in, with this key; by a certificate: its key_id, its serial and its authority",
        ("session", "partner", "address", "client", "key"),
    ),
    "session.closed": Event(
        "it is over: client, lost, idle, drained, malformed or failed",
        ("partner", "address", "reason", "seconds"),
    ),
    "session.malformed": Event("what came is not SFTP; the session was ended", ("partner", "found")),
    "session.failed": Event("a session stopped with an error of the hub's", ("partner", "address")),
    "request.failed": Event(
        "a request stopped with an error of the hub's", ("session", "partner", "request")
    ),
    "upload.opened": Event(
        "a partner begins to send a file", ("session", "partner", "folder", "file", "resumed_at")
    ),
    "upload.ended": Event(
        "the client closed it, whole", ("session", "partner", "folder", "file", "bytes", "seconds")
    ),
    "upload.refused": Event("the client closed it, whole, and it was not taken", ("folder", "file", "words")),
    "upload.broken": Event(
        "it stopped before it was whole, for the session's reason or bytes-missing",
        ("session", "partner", "folder", "file", "bytes", "reason", "seconds"),
    ),
    "file.read": Event(
        "a partner had these bytes of a file, and closed it",
        ("session", "partner", "folder", "file", "bytes", "of", "whole", "withdrawn", "seconds"),
    ),
    "file.renamed": Event(
        "a partner renamed an upload", ("session", "partner", "folder", "file", "to", "whole")
    ),
    "file.removed": Event("a partner removed an upload", ("session", "partner", "folder", "file", "whole")),
    # the hub's own work
    "hub.started": Event("the hub is open", ("port", "workers")),
    "hub.stopped": Event("the hub has drained and is closed"),
    "work.parked": Event(
        "it failed so many times in a row and is not tried again: meterhub retry", ("task", "times", "why")
    ),
    "work.retried": Event("an operator has work tried again that was parked", ("task", "by")),
    "work.refused": Event(
        "an operator ended a drop that was parked: it is refused for that", ("task", "by", "why")
    ),
    "work.waits": Event(
        "nothing is loaded or published, or the task that is named stopped, for want of a disk or the ledger",
        ("why",),
    ),
    "work.failed": Event("a step stopped with an error; it is tried again at the next sweep", ("task",)),
    "ledger.unreachable": Event("a partner was refused what the ledger has to know of", ("why",)),
    "job.ended": Event(
        "a job was done, for the slot, day or partner named; a hash of what it said", ("job", "said_sha256")
    ),
    "blocks.held": Event(
        "what a publication held back, gave free or found another reason for: how many blocks, and a hash of them",
        ("held", "given_free", "given_up", "reheld"),
    ),
    "blocks.unfetched": Event(
        "what EGSs lost by a switch before they had fetched it is held: how many blocks, and a hash of them",
        ("held",),
    ),
    "blocks.nobodys": Event(
        "what came while nobody was of record is somebody's, or waits for an EGS that is no partner: how many "
        "blocks, and a hash of them",
        ("held",),
    ),
    "pool.rebuilt": Event("a worker process died; its work is taken up again"),
    "config.noted": Event(
        "a file below config/ was added, changed or, with no hash, taken away", ("sha256",)
    ),
    "ledger.rebuilt": Event(
        "the ledger was lost and is made again from files; the first number known of each EGS's files",
        ("drops", "files", "numbers"),
    ),
    "chain.sealed": Event(
        "the head of the chain of events, once a day, and the hashes of logs that are over",
        ("through", "head", "logs"),
    ),
    # configuration and libraries
    "partners.read": Event("the partners' files were read again after a change", ("partners",)),
    "partners.refused": Event(
        "a partner's file cannot be taken; the partner is as before, or left out if nothing is known of it",
        ("mistakes",),
    ),
    "library.warned": Event("a library we use had something to say", ("library", "message")),
}

# Kept so that every file can be held to the chain; what they tell of has events of its own.
EVIDENCE = frozenset(
    {
        "outbound.recorded",
        "receipt.laid",
        "report.laid",
        "manifest.laid",
        "sheet.laid",
        "job.ended",
        "blocks.held",
        "blocks.unfetched",
        "blocks.nobodys",
    }
)
