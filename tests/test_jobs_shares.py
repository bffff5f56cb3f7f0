"""Shares: what of a lake file is for whom, rendered a stretch at a time and appended to its file."""

import gzip
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hub_fixtures import CNP, small_night
from jobs.stores.outbound import Drafts, Lists, read_contents
from jobs.stores.shares import To
from schemas import interval_file
from schemas.interval_text import render

DAY = date(2013, 9, 2)
MANY = 20_000  # more than two stretches
TO = [To("champion"), To("keystone", replaces="old.lse.gz"), To("nobody-of-these")]


def blocks(accounts: int) -> pa.Table:
    """A bucket as its EDC sends it, read."""
    bucket = small_night(DAY, accounts=accounts, bucket=accounts, net_metered=0.0).bucket_of(CNP, 0)
    parsed = interval_file.parse(
        bucket.content, stamp="", zone=CNP.zone, channels=frozenset("14"), max_accounts=accounts, latest=DAY
    )
    return parsed.blocks


def committed(some: pa.Table, *, version: int = 1) -> pa.Table:
    """Blocks as a lake file has them."""
    rows = some.drop_columns(["usage_date"])
    return rows.append_column("version", pa.array([version] * len(rows), pa.int32()))


def test_a_file_of_many_stretches_is_shared_out_whole_and_in_its_order(tmp_path: Path) -> None:
    some = blocks(MANY)
    rows = committed(some, version=2)
    owner = np.random.default_rng(2013).integers(-2, 2, len(rows)).astype(np.int32)
    with ThreadPoolExecutor(3) as threads:
        drafts = Drafts(tmp_path / "staging", threads)
        drafts.add(rows, owner, TO, day=DAY, lake_file_id=7)
        drafts.add(rows, owner, TO, day=DAY, lake_file_id=8)
        made = drafts.finish()
    assert [draft.egs for draft in made] == ["champion", "keystone"]
    for place, draft in enumerate(made):
        mine = some.filter(pa.array(owner == place))
        text = render(mine).text.to_pybytes()
        assert gzip.decompress(draft.data.read_bytes()) == 2 * text
        contents = read_contents(draft.contents)
        assert contents["account"].to_pylist() == 2 * mine["account"].to_pylist()
        assert (draft.blocks, draft.versions_above_1) == (2 * len(mine), 2 * len(mine))
        assert draft.intervals == 2 * 96 * len(mine)
        assert draft.estimated == 2 * pc.sum(mine["estimated"]).as_py()
    lists = Lists([draft.contents for draft in made])
    assert lists.lake_files == [7, 8]
    for lake_file in lists.lake_files:
        held = lists.of(lake_file)
        for place in (0, 1):
            mine = pa.Table.from_batches([words for of, words in held if of == place])
            assert mine.column_names == ["account", "channel"]
            assert mine["account"].to_pylist() == some.filter(pa.array(owner == place))["account"].to_pylist()


def test_a_block_can_be_shared_out_to_two_and_left_out_for_others(tmp_path: Path) -> None:
    some = blocks(3)
    with ThreadPoolExecutor(1) as threads:
        drafts = Drafts(tmp_path / "staging", threads)
        owner, row = np.array([0, 1, -1, 1], np.int32), np.array([2, 2, 1, 0])
        drafts.add(committed(some), owner, TO, row=row, day=DAY, lake_file_id=7)
        made = drafts.finish()
    account = some["account"].to_pylist()
    listed = [read_contents(draft.contents)["account"].to_pylist() for draft in made]
    assert listed == [[account[2]], [account[2], account[0]]]
    assert len(list((tmp_path / "staging").iterdir())) == 4  # a file and a list for each of the two
