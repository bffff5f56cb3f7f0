"""What a proof finds, and what it looks at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum


class Check(StrEnum):
    """What is looked at; the value is what people read."""

    LEDGER = "the ledger's own form"
    CHAIN = "the chain of events"
    DROPS = "each drop at one end, as its events say"
    RECEIPTS = "receipts, reports and manifests"
    ARCHIVE = "archived bytes"
    LAKE = "lake files against their rows"
    STACKS = "versions 1 to n, one of them current"
    SYNCS = "syncs and rosters"
    SEQUENCE = "sequence numbers without a gap"
    OUTBOUND = "outbound files, read again"
    DEEDS = "runs, verdicts, collections and blocks held"
    OWNERS = "no account of somebody else's"
    SUMS = "sums: receipts, lake, manifests"
    STRANGERS = "files that nobody knows"
    CONFIG = "settings, partners and keys"
    LOGS = "logs of days that are over"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing wrong: where, what, and what an operator should do. `claim` is held by whoever changes the
    thing at this moment: while it is, what is found may be work half done.
    """

    check: Check
    where: str  # a path below the home, or an id
    what: str
    do: str
    claim: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """One file that is to be read: which, and what reading it finds."""

    check: Check
    where: str
    look: Callable[[], Iterable[Finding]]


RESTORE = "put it back as it was from a backup; meterhub explain tells what it was about"
ASK = "something else than the hub changed it: find out who, and restore it from a backup"
