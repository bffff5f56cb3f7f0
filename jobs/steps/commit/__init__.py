"""commit: good blocks get their versions and go into the lake, all of a drop in one transaction.

Buckets are committed side by side. Each reads what stands, writes its files aside of that, and looks again
inside the transaction: when a block of its own was stacked meanwhile, or another sync came into force, it
begins again from there. So what a load becomes follows from what stood before it, and can be done again.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from config.partners import Partner
from jobs.rules import versions
from jobs.steps.commit import columns, standing
from jobs.stores.lake import usage_path
from jobs.stores.ledger import drops, loads, syncs
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.rosters import Roster
from schemas import receipt
from schemas.drop import FAULTS_KEPT, Drop, Outcome, Stage
from schemas.fault import Fault
from schemas.usage_day import UsageDay


@dataclass(frozen=True, slots=True, kw_only=True)
class Committed:
    """The drop is loaded: its files are in the lake and the ledger says so."""

    drop: Drop
    files: tuple[LakeFile, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AllLate:
    """Nothing is left to load: every block came after its deadline, and the setting refuses those."""

    faults: tuple[Fault, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Day:
    """One usage day of the drop: its blocks, and what they become upon the files seen so far."""

    day: date
    on_time: bool
    blocks: pa.Table
    seen: int  # the last lake file taken into account
    stacked: versions.Stacked


def commit(
    drop: Drop,
    blocks: pa.Table,
    *,
    faults: tuple[Fault, ...],
    rejected: int,
    edc: Partner,
    stores: Stores,
    now: datetime,
) -> Committed | AllLate:
    """Load the good blocks of a drop."""
    days = [
        _stack(day, on_time=_in_time(drop, day, edc, stores), blocks=rows, edc=edc.id, stores=stores)
        for day, rows in _by_day(blocks)
    ]
    if stores.settings.deadline.late == "refuse":
        days, late = _without_late(days, drop, edc, stores)
        faults = tuple(sorted((*faults, *late), key=lambda fault: fault.line or 0))
        rejected += len(late)
        if late and not days:
            return AllLate(faults=faults)
        if late:
            table = receipt.faults_csv(faults)
            stores.mailboxes.lay(drop.partner, "receipts", receipt.faults_name(drop), table)
    with stores.ledger.read() as tx:
        sync = syncs.in_force(tx, edc.id)
    suspense = _suspense(days, sync, stores=stores)
    files: dict[date, list[LakeFile]] = {}
    while True:
        files |= {day.day: _write(day, drop, edc.id, stores, now) for day in days if day.day not in files}
        written = [file for day in days for file in files[day.day]]
        with stores.ledger.write() as tx:
            behind = _overtaken(tx, days, edc.id, stores)
            known_by, sync = sync, syncs.in_force(tx, edc.id)
            if not behind and sync == known_by:
                loads.add(tx, drop_id=drop.id, edc=edc.id, at=now, written=written)
                counts = _counts(days)
                loaded = drops.move(
                    tx,
                    drop,
                    Stage.LOADED,
                    at=now,
                    say={
                        **{name: n for name, n in counts.items() if n or name != "blocks_outranked"},
                        "rejected": rejected,
                        "suspense": suspense,
                        "faults": len(faults),
                        "lake": {file.path: file.sha256 for file in written},
                    },
                    outcome=Outcome.PARTIAL if rejected else Outcome.ACCEPTED,
                    receipt_due=True,
                    usage_days=[day.day for day in days],
                    blocks_rejected=rejected,
                    suspense=suspense,
                    faults=faults[:FAULTS_KEPT],
                    faults_total=len(faults),
                    **counts,
                )
                _clear_up(days, drop, written, stores=stores)
                return Committed(drop=loaded, files=tuple(written))
        for day in behind:
            del files[day]
        days = [
            _stack(day.day, on_time=day.on_time, blocks=day.blocks, edc=edc.id, stores=stores)
            if day.day in behind
            else day
            for day in days
        ]
        if sync != known_by:
            suspense = _suspense(days, sync, stores=stores)


def _clear_up(days: list[_Day], drop: Drop, written: list[LakeFile], *, stores: Stores) -> None:
    """Remove what an attempt that was overtaken or cut off wrote of these days, and the load does not hold."""
    kept = {file.path for file in written}
    for day in days:
        for kind in ("usage", "affirmed"):
            path = usage_path(edc=drop.partner, day=day.day, drop_id=drop.id, kind=kind)
            if path not in kept:
                (stores.lake.root / path).unlink(missing_ok=True)


def _by_day(blocks: pa.Table) -> list[tuple[date, pa.Table]]:
    """The blocks of each usage day, sorted by account and channel."""
    days = sorted(pc.unique(blocks["usage_date"]).to_pylist())
    return [(day, _sorted(blocks if len(days) == 1 else blocks.filter(pc.equal(blocks["usage_date"], day))))
            for day in days]  # fmt: skip


def _sorted(rows: pa.Table) -> pa.Table:
    keys = versions.key(rows)
    if len(keys) < 2 or pc.all(pc.less_equal(keys[:-1], keys[1:])).as_py():
        return rows
    return rows.take(pc.array_sort_indices(keys))


def _in_time(drop: Drop, day: date, edc: Partner, stores: Stores) -> bool:
    assert edc.zone is not None
    return drop.arrived_at <= UsageDay(day, edc.zone).deadline(stores.settings.deadline.time)


def _stack(day: date, *, on_time: bool, blocks: pa.Table, edc: str, stores: Stores) -> _Day:
    low, high = blocks["account"][0].as_py(), blocks["account"][-1].as_py()
    with stores.ledger.read() as tx:
        touching = loads.on_day(tx, edc=edc, day=day, low=low, high=high)
    seen = max((file.id for file in touching), default=0)
    if touching:
        stands, affirmed = standing.of(touching, blocks, stores.lake)
        stacked = versions.stack(new=blocks, standing=stands, affirmed=affirmed)
    else:
        stacked = versions.first(len(blocks))
    return _Day(day=day, on_time=on_time, blocks=blocks, seen=seen, stacked=stacked)


def _without_late(
    days: list[_Day], drop: Drop, edc: Partner, stores: Stores
) -> tuple[list[_Day], list[Fault]]:
    """The days without their late blocks, and a fault for each of those."""
    kept: list[_Day] = []
    faults: list[Fault] = []
    for day in days:
        late = day.stacked.first & (not day.on_time)
        if late.any():
            assert edc.zone is not None
            deadline = UsageDay(day.day, edc.zone).deadline(stores.settings.deadline.time)
            refused = day.blocks.filter(pa.array(late))
            faults += [
                Fault(
                    code="late",
                    line=line,
                    account=account,
                    found=drop.arrived_at.isoformat(timespec="seconds"),
                    wanted=f"arrival by {deadline.isoformat(timespec='seconds')}",
                )
                for line, account in zip(
                    refused["line"].to_pylist(), refused["account"].to_pylist(), strict=True
                )
            ]
        rows = day.blocks.filter(pa.array(~late))
        if len(rows):
            kept.append(_stack(day.day, on_time=day.on_time, blocks=rows, edc=edc.id, stores=stores))
    return kept, faults


def _suspense(days: list[_Day], sync: Sync | None, *, stores: Stores) -> int:
    """How many accounts the sync in force does not know; all of them, when none is in force."""
    accounts = pc.unique(pa.chunked_array([c for day in days for c in day.blocks["account"].chunks]))
    if sync is None:
        return len(accounts)
    return Roster(stores.lake, sync.path).unknown_of(accounts)


def _overtaken(tx: Connection, days: list[_Day], edc: str, stores: Stores) -> set[date]:
    """The usage days of which some block was stacked since it was looked at."""
    behind: set[date] = set()
    for day in days:
        low, high = day.blocks["account"][0].as_py(), day.blocks["account"][-1].as_py()
        newer = loads.on_day(tx, edc=edc, day=day.day, low=low, high=high, after=day.seen)
        if newer and standing.share_keys(newer, day.blocks, stores.lake):
            behind.add(day.day)
    return behind


def _write(day: _Day, drop: Drop, edc: str, stores: Stores, now: datetime) -> list[LakeFile]:
    """The files of one usage day: its new versions, and which standing ones it affirms."""
    stacked = day.stacked
    written = []
    for kind, chosen in (("usage", ~stacked.unchanged), ("affirmed", stacked.affirms)):
        if not chosen.any():
            continue
        rows = day.blocks if chosen.all() else day.blocks.filter(pa.array(chosen))
        version = stacked.version[chosen]
        outranked = stacked.outranked[chosen]
        table = columns.of_lake(rows, version, outranked, drop=drop, edc=edc, on_time=day.on_time, now=now)
        if kind == "affirmed":
            table = table.select(columns.AFFIRMED)
        first = int(stacked.first[chosen].sum())
        file = stores.lake.write_blocks(
            table,
            path=usage_path(edc=edc, day=day.day, drop_id=drop.id, kind=kind),
            metadata={
                "kind": kind,
                "edc": edc,
                "drop_id": drop.id,
                "drop_sha256": drop.sha256,
                "drop_name": drop.name,
                "arrived_at": drop.arrived_at.isoformat(),
                "loaded_at": now.astimezone(UTC).isoformat(),
                "versions": f"{version.min()}-{version.max()}",
            },
        )
        written.append(
            LakeFile(
                drop_id=drop.id,
                edc=edc,
                usage_date=day.day,
                kind=kind,
                path=file.path,
                rows=len(rows),
                first_versions=first,
                late=0 if day.on_time else first,
                account_low=rows["account"][0].as_py(),
                account_high=rows["account"][-1].as_py(),
                version_low=int(version.min()),
                version_high=int(version.max()),
                bytes=file.bytes,
                sha256=file.sha256,
            )
        )
    return written


def _counts(days: list[_Day]) -> dict[str, int]:
    """What the receipt counts."""
    counts = dict.fromkeys(
        (
            "blocks_loaded", "blocks_late", "blocks_replacing", "blocks_outranked", "blocks_unchanged",
            "intervals_loaded",
        ), 0,
    )  # fmt: skip
    for day in days:
        stacked = day.stacked
        new = ~stacked.unchanged
        lengths = pc.binary_length(day.blocks["status"]).to_numpy()
        counts["blocks_loaded"] += int(new.sum())
        counts["blocks_late"] += 0 if day.on_time else int(stacked.first.sum())
        counts["blocks_replacing"] += int((new & ~stacked.first & ~stacked.outranked).sum())
        counts["blocks_outranked"] += int(stacked.outranked.sum())
        counts["blocks_unchanged"] += int(stacked.unchanged.sum())
        counts["intervals_loaded"] += int(lengths[new].sum())
    return counts
