"""Faults: one thing wrong in a file, said so that its sender can mend it.

Every code stands in `CODES` with what it means and an example of what was found and wanted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from schemas.fault_codes import OF_BLOCKS, OF_FILES, Code, Scope
from schemas.sync_codes import OF_SYNCS

__all__ = ["CODES", "SHOWN", "Code", "Fault", "Scope", "deciding", "first_few", "shown"]

SHOWN = 80  # characters of what was found

CODES: Mapping[str, Code] = {**OF_FILES, **OF_BLOCKS, **OF_SYNCS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One thing wrong: where (line and character of it, both from 1), what was found, what was wanted."""

    code: str
    line: int | None = None
    account: str = ""
    column: int | None = None
    found: str = ""
    wanted: str = ""

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"no such fault code: {self.code}")

    @property
    def scope(self) -> Scope:
        return CODES[self.code].scope

    @property
    def message(self) -> str:
        """The fault as a sentence."""
        where = "" if self.line is None else f"line {self.line}"
        if self.column is not None:
            where += f", column {self.column}"
        said = CODES[self.code].says
        return f"{where + ': ' if where else ''}{said}: found {self.found or 'nothing'}, wanted {self.wanted}"


def deciding(faults: Sequence[Fault]) -> Fault:
    """The fault for which a file is refused: the first that spoils the whole file, or else the first."""
    return next((fault for fault in faults if fault.scope is Scope.FILE), faults[0])


def first_few(faults: Sequence[Fault], most: int) -> tuple[Fault, ...]:
    """The first `most` faults, in their order; the last of them gives way to the one that decides."""
    kept = tuple(faults[:most])
    if not kept or (decides := deciding(faults)) in kept:
        return kept
    return (*kept[:-1], decides)


def shown(text: str) -> str:
    """As much of a wrong text as a fault repeats; what would act on a terminal is spelt out."""
    spelt = "".join(each if each.isprintable() else f"\\u{ord(each):04x}" for each in text[: SHOWN + 1])
    return spelt if len(spelt) <= SHOWN else spelt[: SHOWN - 1] + "…"
