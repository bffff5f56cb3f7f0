"""Rosters: what a meter data sync says, one Parquet file a sync, sorted by account."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc

from jobs.stores.lake import Lake

ROW_GROUP = 20_000
_OWNERSHIP = ("account", "egs_duns", "egs_start")


class Roster:
    """The roster of one sync, read by ranges of accounts."""

    def __init__(self, lake: Lake, path: str) -> None:
        self._lake = lake
        self.path = path

    @property
    def file(self) -> Path:
        return self._lake.root / self.path

    def standing_of(self, accounts: pa.Array | pa.ChunkedArray) -> pa.Table:
        """For each account: `known` (bool), `egs_duns` (string, null when unknown), `egs_start`
        (date32, null when unknown or not said), in the order asked.
        """
        if len(accounts) == 0:
            return _standing(pa.table({name: [] for name in _OWNERSHIP}), accounts)
        ends = pc.min_max(accounts)
        rows = self._lake.read(
            self.path, columns=_OWNERSHIP, low=ends["min"].as_py(), high=ends["max"].as_py()
        )
        return _standing(rows, accounts)

    def standings(self) -> Iterator[tuple[pa.Array, pa.Table]]:
        """All accounts, each once, and how they stand (as `standing_of` has it), stretch by stretch."""
        last = None
        for rows in self._lake.row_groups(self.path, columns=_OWNERSHIP):
            account = rows["account"].cast(pa.string()).combine_chunks()
            if not len(account):
                continue
            # Sorted, so that an account's meters stand together; the first one speaks for it.
            first = pc.not_equal(account[1:], account[:-1])
            new = pa.concat_arrays([pa.array([account[0].as_py() != last]), first])
            last = account[-1].as_py()
            yield (
                account.filter(new),
                pa.table(
                    {
                        "known": pa.repeat(True, pc.sum(new).as_py() or 0),
                        "egs_duns": rows["egs_duns"].cast(pa.string()).filter(new),
                        "egs_start": rows["egs_start"].cast(pa.date32()).filter(new),
                    }
                ),
            )

    def accounts(self) -> pa.Table:
        """All of it: account, egs_duns, egs_start and egs_name, each account once."""
        rows = self._lake.read(self.path, columns=(*_OWNERSHIP, "egs_name"))
        account = rows["account"].cast(pa.string()).combine_chunks()
        again = pc.equal(account[1:], account[:-1])  # sorted, so that its meters stand together
        return rows.filter(pa.concat_arrays([pa.array([True][: len(rows)]), pc.invert(again)]))


def _standing(rows: pa.Table, accounts: pa.Array | pa.ChunkedArray) -> pa.Table:
    account = rows["account"].cast(pa.string()).combine_chunks()
    places = pc.index_in(accounts.cast(pa.string()), value_set=account)
    if isinstance(places, pa.ChunkedArray):
        places = places.combine_chunks()
    return pa.table(
        {
            "known": pc.is_valid(places),
            "egs_duns": rows["egs_duns"].cast(pa.string()).take(places),
            "egs_start": rows["egs_start"].cast(pa.date32()).take(places),
        }
    )


def moved_accounts(before: Roster, after: Roster, *, today: date) -> int:
    """How many accounts of `before` have another EGS, or none, in `after`; one that starts later is none."""
    query = """
        with old as (
            select distinct account, egs_duns, coalesce(egs_start > $today, false) as later
            from read_parquet($before)
        ), new as (
            select distinct account, egs_duns, coalesce(egs_start > $today, false) as later
            from read_parquet($after)
        )
        select count(*) from old left join new using (account)
        where new.egs_duns is distinct from old.egs_duns or new.later is distinct from old.later
    """
    with duckdb.connect() as sql:
        given = {"before": str(before.file), "after": str(after.file), "today": today}
        row = sql.execute(query, given).fetchone()
    assert row is not None
    return int(row[0])


def due_blocks(roster: Roster) -> int:
    """How many blocks a night should bring: the channels of active accounts with an AMI meter."""
    with duckdb.connect() as sql:
        return len(due(sql, roster))


def due(sql: duckdb.DuckDBPyConnection, roster: Roster) -> duckdb.DuckDBPyRelation:
    """One row for each account and channel that is due each night: account, channel, meter, zip."""
    query = """
        select account, channel, min(meter) as meter, min(zip) as zip
        from (select account, meter, zip, unnest(string_split(channels, ';')) as channel
              from read_parquet($roster) where account_status = 'A' and ami)
        group by account, channel
    """
    return sql.sql(query, params={"roster": str(roster.file)})
