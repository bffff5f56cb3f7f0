"""Admission: who may send what, told from a file's name and size before it is opened."""

from schemas.fault import Fault
from schemas.file_name import FileName, Kind


def fault_of(name: FileName, *, sender: str, duns: str | None, size: int) -> Fault | None:
    """What is wrong with a file of a legal name. `duns` is the sender's, None for one that is no partner."""
    if duns is None:
        return Fault(code="sender", found=name.duns, wanted="a partner that the hub knows")
    if name.duns != duns:
        return Fault(code="sender", found=name.duns, wanted=f"{duns}, the DUNS of {sender}")
    if name.kind is Kind.SUMMARY:
        return Fault(code="kind-not-taken", found=str(name.kind), wanted=f"{Kind.INTERVALS} or {Kind.SYNC}")
    if size == 0:
        return Fault(code="empty", found="0 bytes", wanted="a file with content")
    return None
