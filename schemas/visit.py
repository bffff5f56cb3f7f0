"""A partner's visits: how its client came, with what, and what it did; and a try to come in that failed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

PROBE = "MeterhubDoctor"  # what `meterhub doctor` calls itself when it looks at the doors


class Habit(StrEnum):
    """What a session did, counted."""

    IN_PLACE = "uploaded-in-place"  # under the agreed name from the first byte on
    RENAMED = "renamed-into-place"  # under another name first
    OTHER = "uploaded-otherwise"  # under a name that was not agreed: to be renamed, or a checksum
    RESUMED = "resumed"  # went on with a file that was there, or sent it again
    BROKEN = "broken-off"  # an upload ended before it was whole
    REFUSED = "uploads-refused"
    NAMES = "names-refused"
    REMOVED = "removed"
    FETCHED = "fetched"  # whole
    IN_PART = "fetched-in-part"
    LOST = "connections-lost"  # the session ended otherwise than by the client's own leaving


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """Sessions that have ended and were alike: the same client, speaking the same, with the same credential."""

    partner: str
    client: str  # as the client calls itself: `SSH-2.0-OpenSSH_9.2p1`
    spoken: Mapping[str, str]  # the algorithms agreed on, by exchange.algorithms.Spoken's names
    offers: Mapping[str, Sequence[str]]  # those the client knows, by exchange.algorithms.Lists' names
    credential: str  # fingerprint of its key; of a certificate, of who signed it
    certificate: Mapping[
        str, object
    ]  # the last one: key, key_id, serial, authority, since, until; empty for a key
    addresses: Sequence[str]  # where it came from, the last one last
    began: Sequence[datetime]  # of each session, in order
    most_at_once: int  # sessions of the partner that were open when one began, itself among them
    habits: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnedAway:
    """A try to log in that failed. Without a partner it came to an end before a login was named: it is meant for
    all whose `allow_from` names the address, or else that were seen there.
    """

    partner: str
    reason: str
    address: str
    client: str
    key: str = ""  # fingerprint of the last key that was shown
    words: str = ""
