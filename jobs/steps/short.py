"""short: which accounts seem to be missing in a file, by what its EDC sent the day before and by the roster."""

from collections.abc import Iterable
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from jobs.rules import shortness
from jobs.stores.ledger import drops, loads, syncs
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from schemas.drop import Drop
from schemas.fault import Fault
from schemas.short import Short

_TRIED = 3  # buckets of the day before, that this one may be again


def note(drop: Drop, blocks: pa.Table, *, faults: Iterable[Fault], stores: Stores) -> tuple[Short, ...]:
    """What looks short, of each usage day of a drop's good blocks; it is kept for the drop's receipt."""
    bad = pa.array(sorted({fault.account for fault in faults if fault.account}), pa.string())
    found = []
    days = sorted(pc.unique(blocks["usage_date"]).to_pylist())
    for day in days:
        rows = blocks["account"]
        if len(days) > 1:
            rows = rows.filter(pc.equal(blocks["usage_date"], day))
        accounts = _sorted(pa.chunked_array([*rows.cast(pa.string()).chunks, bad]))
        if (short := _look(drop, day, accounts, stores)) is not None:
            found.append(short)
    if found:
        with stores.ledger.write() as tx:
            drops.note(tx, drop.id, shorts=found)
    return tuple(found)


def _look(drop: Drop, day: date, accounts: pa.Array, stores: Stores) -> Short | None:
    with stores.ledger.read() as tx:
        sync = syncs.in_force(tx, drop.partner)
        earlier = loads.day_before(tx, edc=drop.partner, day=day)
        buckets = loads.on_day(tx, edc=drop.partner, day=earlier) if earlier else []
        names = loads.names(tx, edc=drop.partner, day=earlier) if earlier else {}
    held_to, missing = "", accounts[:0]
    for bucket in _alike(drop, accounts, buckets, names):
        before = _sorted(stores.lake.read(bucket.path, columns=("account",))["account"].cast(pa.string()))
        left_out = shortness.left_out(accounts, before)
        if len(left_out) and (not held_to or len(left_out) < len(missing)):
            held_to, missing = bucket.drop_id, left_out
    if earlier is None and sync is not None:
        held_to, missing = sync.id, shortness.left_out(accounts, _one_bucket(sync, stores))
    missing = _still_due(missing, sync, stores)
    missing = _not_loaded(missing, accounts, drop, day, stores)
    if not len(missing):
        return None
    return Short(
        usage_day=day,
        accounts=len(accounts),
        missing=len(missing),
        first_missing=missing[0].as_py(),
        held_to=held_to,
    )


def _alike(drop: Drop, accounts: pa.Array, buckets: list[LakeFile], names: dict[str, str]) -> list[LakeFile]:
    """The buckets of the day before that this may be again, those first that begin alike or are numbered alike."""
    low, high, number = accounts[0].as_py(), accounts[-1].as_py(), drop.name.partition(".")[0][-3:]

    def unlike(bucket: LakeFile) -> tuple[bool, bool, int]:
        numbered = names[bucket.drop_id].partition(".")[0].endswith(number)
        return (bucket.account_low != low, not numbered, -bucket.first_versions)

    able = [
        bucket
        for bucket in buckets
        if bucket.kind == "usage"
        and bucket.first_versions > 0
        and bucket.account_low <= high
        and bucket.account_high >= low
    ]
    return sorted(able, key=unlike)[:_TRIED]


def _one_bucket(sync: Sync, stores: Stores) -> pa.Array:
    """All accounts that the roster has due, if they fit into one file; else nothing can be said."""
    if sync.rows > stores.settings.limits.max_accounts_per_file:
        return pa.array([], pa.string())
    return _due(stores.lake.read(sync.path, columns=_DUE))


_DUE = ("account", "account_status", "ami")


def _due(rows: pa.Table) -> pa.Array:
    active = pc.and_(pc.equal(rows["account_status"].cast(pa.string()), "A"), rows["ami"])
    return _sorted(rows.filter(active)["account"].cast(pa.string()))


def _still_due(missing: pa.Array, sync: Sync | None, stores: Stores) -> pa.Array:
    """Without the accounts that the roster in force does not expect any more."""
    if not len(missing) or sync is None:
        return missing
    ends = {"low": missing[0].as_py(), "high": missing[-1].as_py()}
    return missing.filter(
        pc.is_in(missing, value_set=_due(stores.lake.read(sync.path, columns=_DUE, **ends)))
    )


def _not_loaded(missing: pa.Array, accounts: pa.Array, drop: Drop, day: date, stores: Stores) -> pa.Array:
    """Without those that are loaded of that day already; none at all, if most of the file's own are: then
    it replaces what came, and need not be whole.
    """
    if not len(missing):
        return missing
    low = min(accounts[0].as_py(), missing[0].as_py())
    high = max(accounts[-1].as_py(), missing[-1].as_py())
    with stores.ledger.read() as tx:
        there = [
            file
            for file in loads.on_day(tx, edc=drop.partner, day=day)
            if file.drop_id != drop.id and file.account_low <= high and file.account_high >= low
        ]
    again = pc.is_in(accounts, value_set=missing[:0])
    for file in there:
        loaded = (
            stores.lake.read(file.path, columns=("account",))["account"].cast(pa.string()).combine_chunks()
        )
        missing = missing.filter(pc.invert(pc.is_in(missing, value_set=loaded)))
        again = pc.or_(again, pc.is_in(accounts, value_set=loaded))
    return missing[:0] if 2 * (pc.sum(again).as_py() or 0) >= len(accounts) else missing


def _sorted(accounts: pa.Array | pa.ChunkedArray) -> pa.Array:
    """Each account once."""
    if pc.all(pc.less(accounts.slice(0, max(len(accounts) - 1, 0)), accounts.slice(1))).as_py():
        return accounts.combine_chunks() if isinstance(accounts, pa.ChunkedArray) else accounts
    once = pc.unique(accounts)
    return once.take(pc.array_sort_indices(once))
