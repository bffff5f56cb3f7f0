"""Admission: who may send what, told from a file's name and size before it is opened."""

from schemas import file_name
from schemas.fault import Fault
from schemas.file_name import FileName, Kind


def judge(name: str, *, sender: str, duns: str | None, size: int) -> FileName | Fault:
    """What the name of a file of so many bytes says, or what is wrong with it. `duns` is the sender's, None for
    one that is no partner.
    """
    parsed = file_name.parse(name)
    return parsed if isinstance(parsed, Fault) else _fault_of(parsed, sender, duns, size) or parsed


def _fault_of(name: FileName, sender: str, duns: str | None, size: int) -> Fault | None:
    if duns is None:
        return Fault(code="sender", found=name.duns, wanted="a partner that the hub knows")
    if name.duns != duns:
        return Fault(code="sender", found=name.duns, wanted=f"{duns}, the DUNS of {sender}")
    if name.kind is Kind.SUMMARY:
        return Fault(code="kind-not-taken", found=str(name.kind), wanted=f"{Kind.INTERVALS} or {Kind.SYNC}")
    if size == 0:
        return Fault(code="empty", found="0 bytes", wanted="a file with content")
    return None
