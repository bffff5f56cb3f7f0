"""Short: of a usage day, a file has fewer accounts than was to be expected; a remark, for its receipt."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True, kw_only=True)
class Short:
    """What seems to be missing of one usage day in a file. Accounts whose blocks were refused are not meant."""

    usage_day: date
    accounts: int  # that the file has of the day, good or bad
    missing: int
    first_missing: str  # the lowest
    held_to: (
        str  # what was expected: a drop's id, whose bucket of an earlier day this seems to be, or a sync's
    )
