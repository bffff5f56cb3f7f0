"""Which rows of a lake file are current: what a later load stacked upon them stands in files of its own."""

import pyarrow as pa
import pyarrow.compute as pc

from jobs.rules import versions
from jobs.stores.ledger import loads
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.opened import Stores
from jobs.stores.shares import COLUMNS


def which(file: LakeFile, rows: pa.Table, *, through: int, stores: Stores) -> versions.Bools:
    """Whether each row of a lake file is the current version, by the loads up to `through`: it was not outranked
    when it was committed, and no later commit stacked one upon it that was not, either.
    """
    current: versions.Bools = ~rows["outranked"].to_numpy()
    with stores.ledger.read() as tx:
        touching = loads.on_day(
            tx, edc=file.edc, day=file.usage_date, low=file.account_low, high=file.account_high
        )
    stacking = [
        later
        for later in touching
        if later.kind == "usage" and later.version_high > 1 and file.load_seq < later.load_seq <= through
    ]
    keys, accounts = (versions.key(rows), pc.unique(rows["account"])) if stacking else (None, None)
    for later in stacking:
        columns = ("account", "channel", "outranked")
        stacked = stores.lake.read_accounts(later.path, columns=columns, accounts=accounts)
        stacked = stacked.filter(pc.invert(stacked["outranked"]))
        current &= ~pc.is_in(keys, value_set=versions.key(stacked)).to_numpy(zero_copy_only=False)
    return current


def rows_of(file: LakeFile, keys: pa.Array, *, stores: Stores) -> pa.Table:
    """The rows of a lake file that have these keys (`versions.key`)."""
    accounts = pc.unique(pc.list_element(pc.split_pattern(keys, versions.BETWEEN, max_splits=1), 0))
    rows = stores.lake.read_accounts(file.path, columns=COLUMNS, accounts=accounts)
    return rows.filter(pc.is_in(versions.key(rows), value_set=keys))
