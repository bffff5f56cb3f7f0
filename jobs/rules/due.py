"""What is due each night by a roster: every channel of an active account that has an AMI meter."""

import pyarrow as pa
import pyarrow.compute as pc


def blocks(rows: pa.Table) -> int:
    """How many blocks a night should bring of these rows of a roster (schemas.sync_file.ROSTER), sorted by
    account, no account of which has rows elsewhere. A channel that several meters of an account have is one.
    """
    rows = rows.select(["account", "account_status", "ami", "channels"])
    some = rows.filter(pc.and_(pc.equal(rows["account_status"].cast(pa.string()), "A"), rows["ami"]))
    channels = some["channels"].cast(pa.string())
    counted = pc.add(pc.count_substring(channels, ";"), 1)
    account = some["account"]
    again = pc.equal(account[1:], account[:-1])
    if not pc.any(again, min_count=0).as_py():
        return int(pc.sum(counted).as_py() or 0)
    each = pc.split_pattern(channels, ";").combine_chunks()
    of = account.take(pc.list_parent_indices(each))
    return len(
        pa.table({"account": of, "channel": pc.list_flatten(each)})
        .group_by(["account", "channel"])
        .aggregate([])
    )
