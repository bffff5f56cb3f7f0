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
    "partners.read": Event("the partners' files were read again after a change", ("partners",)),
    "partners.refused": Event("a change to a partner's file cannot be taken; it is as before", ("mistakes",)),
    "library.warned": Event("a library we use had something to say", ("library", "message")),
}
