"""What stands in the lake for the accounts of a drop's blocks, and no more of it than tells what these become."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from jobs.rules import versions
from jobs.stores.lake import Lake
from jobs.stores.ledger.loads import LakeFile
from schemas import block

_KEYS = pa.schema([block.LAKE.field(name) for name in ("account", "channel", "version", "stamp")])
_TOTALS = _KEYS.append(block.LAKE.field("wh_total"))
_CONTENT = pa.schema([block.LAKE.field(name) for name in block.CONTENT if name != "wh_total"])


def of(files: list[LakeFile], blocks: pa.Table, lake: Lake) -> tuple[pa.Table, pa.Table]:
    """What stands for the accounts of these blocks, and what was affirmed of it. What cannot be the same is
    null but for its key: the total of a day is another in nearly every new version, and all the rest is most of
    what there would be to read.
    """
    accounts = pc.unique(blocks["account"])
    usage = [file.path for file in files if file.kind == "usage"]
    found = lake.look_up(usage, columns=_TOTALS.names, accounts=accounts)
    standing = pa.concat_tables([_TOTALS.empty_table(), *found]).unify_dictionaries()
    alike = pc.unique(standing["account"].filter(pc.is_in(_totals(standing), value_set=_totals(blocks))))
    holding = [
        path
        for path, rows in zip(usage, found, strict=True)
        if pc.any(pc.is_in(rows["account"], value_set=alike)).as_py()
    ]
    read = lake.look_up(holding, columns=_CONTENT.names, accounts=alike)
    content = pa.concat_tables([_CONTENT.empty_table(), *read]).unify_dictionaries().combine_chunks()
    wanted = pc.is_in(standing["account"], value_set=alike).to_numpy().astype(np.bool_)
    content = content.take(pa.array(np.cumsum(wanted) - 1, mask=~wanted))
    for name in _CONTENT.names:
        standing = standing.append_column(name, content[name])
    others = [file.path for file in files if file.kind == "affirmed"]
    again = lake.look_up(others, columns=_KEYS.names, accounts=accounts)
    return standing, pa.concat_tables([_KEYS.empty_table(), *again]).unify_dictionaries()


def _totals(blocks: pa.Table) -> pa.Array:
    """Account and total of each block in one word."""
    account, total = blocks["account"].cast(pa.string()), blocks["wh_total"].cast(pa.string())
    joined = pc.binary_join_element_wise(account, total, versions.BETWEEN)
    return joined.combine_chunks() if isinstance(joined, pa.ChunkedArray) else joined


def share_keys(files: list[LakeFile], blocks: pa.Table, lake: Lake) -> bool:
    """Whether any file holds an account and channel of these blocks."""
    accounts, keys = pc.unique(blocks["account"]), versions.key(blocks)
    theirs = lake.look_up([file.path for file in files], columns=("account", "channel"), accounts=accounts)
    return any(pc.any(pc.is_in(versions.key(rows), value_set=keys)).as_py() for rows in theirs)
