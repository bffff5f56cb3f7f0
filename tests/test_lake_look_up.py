"""Looking accounts up in files of the lake gives what reading all of them would."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hub_fixtures import CNP, Hub
from jobs.stores.lake import Lake
from jobs.stores.outbound import blocks_of
from jobs.stores.shares import CONTENTS
from jobs_fixtures import CHAMPION, Cut, found, interval_name, lse, send, send_sync
from schemas.drop import Outcome

DAY = date(2013, 9, 2)
ACCOUNTS = st.lists(st.sampled_from([f"A{k:02}" for k in range(40)]), max_size=40)


def file(accounts: list[str]) -> pa.Table:
    """A row for each, some with two."""
    names = pa.array(sorted([*set(accounts), *accounts[::3]]), pa.string())
    places = pa.array(range(len(names)), pa.int64())
    return pa.table({"account": names, "channel": names.dictionary_encode(), "n": places})


@given(
    kept=st.lists(ACCOUNTS, min_size=1, max_size=4), asked=ACCOUNTS, row_group=st.sampled_from([1, 2, 7, 50])
)
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@pytest.mark.parametrize("columns", [("account",), ("n",), ("channel", "account", "n")])
def test_rows_of_accounts_are_found_as_by_reading_all(
    columns: tuple[str, ...], kept: list[list[str]], asked: list[str], row_group: int, tmp_path: Path
) -> None:
    lake, tables = Lake(tmp_path), [file(accounts) for accounts in kept]
    for number, table in enumerate(tables):
        lake.write_blocks(table, path=f"{number}.parquet", metadata={}, row_group=row_group)
    paths = [f"{number}.parquet" for number in range(len(tables))]
    looked_up = lake.look_up(paths, columns=columns, accounts=pa.array(asked, pa.string()))
    for table, rows in zip(tables, looked_up, strict=True):
        wanted = [row for row in table.to_pylist() if row["account"] in asked]
        assert rows.column_names == list(columns)
        assert rows.to_pylist() == [{name: row[name] for name in columns} for row in wanted]


def test_nothing_is_looked_up_in_no_files(tmp_path: Path) -> None:
    assert Lake(tmp_path).look_up([], columns=("account",), accounts=pa.array(["A"])) == []


def test_a_replacement_of_accounts_of_many_buckets_knows_what_is_new_of_each(
    make_hub: Callable[..., Hub],
) -> None:
    hub = make_hub()
    send_sync(hub, dict.fromkeys((f"A{k}" for k in range(6)), CHAMPION.duns))
    cuts = [Cut(account=f"A{k}", day=DAY, stamp="20130903010000", wh=100 + k) for k in range(6)]
    send(hub, *cuts[:3])
    send(hub, *cuts[3:5])
    same, later = "20130903010000", "20130903020000"
    # Of the same sum as it was, in other intervals.
    moved = (
        lse([replace(cuts[3], stamp=later)])
        .replace(b",0.103,", b",0.104,", 1)
        .replace(b",0.103,", b",0.102,", 1)
    )
    sent = lse([replace(cuts[0], stamp=later), replace(cuts[1], stamp=later, wh=7)]) + moved
    sent += lse([replace(cuts[4], stamp=same), cuts[5]])
    drop = hub.upload(CNP.id, interval_name(hub), sent)
    assert drop.outcome is Outcome.ACCEPTED
    assert (drop.blocks_loaded, drop.blocks_replacing, drop.blocks_unchanged) == (3, 2, 2)
    hub.on(minutes=15)
    hub.sweep()
    readings = {(account, stamp): values for account, _, _, stamp, values in found(hub, CHAMPION.id)}
    assert readings["A3", later][:3] == ("0.104", "0.102", "0.103")
    assert {account for account, stamp in readings if stamp == later} == {"A1", "A3"}


def test_an_account_between_two_that_were_affirmed_together_is_new(make_hub: Callable[..., Hub]) -> None:
    hub = make_hub()
    send_sync(hub, dict.fromkeys(("A", "B", "C"), CHAMPION.duns))
    first, third = (Cut(account=account, day=DAY, stamp="20130903010000") for account in "AC")
    send(hub, first)
    send(hub, third)
    again = send(hub, *(replace(cut, stamp="20130903020000") for cut in (first, third)))
    assert again.blocks_unchanged == 2
    between = send(hub, Cut(account="B", day=DAY, stamp="20130903010000"))
    assert (between.outcome, between.blocks_loaded, between.blocks_replacing) == (Outcome.ACCEPTED, 1, 0)


def test_the_blocks_of_an_account_are_found_in_every_batch_of_a_list(tmp_path: Path) -> None:
    rows = [
        {
            "account": account,
            "channel": "4",
            "usage_date": date(2013, 9, day),
            "version": 1,
            "lake_file_id": day,
        }
        for day in (1, 2, 3)
        for account in ("7", "8", "9")
    ]
    listed = pa.Table.from_pylist(rows, schema=CONTENTS)
    path = tmp_path / "champion.0.arrow"
    with pa.ipc.new_file(str(path), CONTENTS, options=pa.ipc.IpcWriteOptions(compression="zstd")) as written:
        for begin in (0, 3, 6):
            written.write_table(listed.slice(begin, 3))
    assert blocks_of(path, "8").to_pylist() == [row for row in rows if row["account"] == "8"]
    assert len(blocks_of(path, "80")) == 0
    assert blocks_of(path, "80").schema == CONTENTS
