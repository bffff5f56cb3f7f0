"""parse: from the bytes of an accepted drop to good blocks, or a sync part, and faults."""

from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction

import pyarrow as pa

from config.partners import Partner
from config.settings import Limits
from schemas import interval_file, packing, sync_file
from schemas.fault import Fault
from schemas.file_name import FileName, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The good blocks of an interval file (schemas.block.FIELDS), and what is wrong with the others."""

    blocks: pa.Table
    faults: tuple[Fault, ...]
    rejected: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Unusable:
    """Nothing of the file can be taken; `rejected` counts the blocks that were bad, if it came so far."""

    faults: tuple[Fault, ...]
    rejected: int = 0


def parse(
    content: bytes, *, name: FileName, sender: Partner, limits: Limits, today: date
) -> Blocks | sync_file.Part | Unusable:
    """Unpack and read a file. `today` is the sender's local date at its arrival."""
    text = packing.unpack(content, limit=limits.max_unpacked_bytes) if name.gzipped else content
    if isinstance(text, Fault):
        return Unusable(faults=(text,))
    if len(text) > limits.max_unpacked_bytes:
        return Unusable(faults=(packing.too_big(len(text), limit=limits.max_unpacked_bytes),))
    if name.kind is Kind.SYNC:
        part = sync_file.parse(text, duns=sender.duns, today=today)
        return part if isinstance(part, sync_file.Part) else Unusable(faults=part)
    return _intervals(text, name=name, sender=sender, limits=limits, today=today)


def _intervals(
    text: bytes, *, name: FileName, sender: Partner, limits: Limits, today: date
) -> Blocks | Unusable:
    assert sender.zone is not None  # every EDC has one (config.partners)
    parsed = interval_file.parse(
        text,
        stamp=name.stamp,
        zone=sender.zone,
        channels=sender.channels,
        max_accounts=limits.max_accounts_per_file,
        latest=today - timedelta(days=1),  # a usage day that is not over cannot be whole
    )
    if parsed.refused:
        return Unusable(faults=parsed.faults, rejected=parsed.rejected)
    total = len(parsed.blocks) + parsed.rejected
    allowed = max(1, int(total * Fraction(str(limits.max_bad_blocks))))  # 29 % of 100 are 29, not 28.99…
    if parsed.rejected > allowed or len(parsed.blocks) == 0:
        too_many = Fault(
            code="too-many-bad-blocks",
            found=f"{parsed.rejected} of {total} blocks",
            wanted=f"at most {min(allowed, total - 1)}",
        )
        return Unusable(faults=(too_many, *parsed.faults), rejected=parsed.rejected)
    return Blocks(blocks=parsed.blocks, faults=parsed.faults, rejected=parsed.rejected)
