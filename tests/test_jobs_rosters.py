"""A roster read at once and a roster read by and by say the same."""

from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest

from jobs.stores.lake import Lake
from jobs.stores.rosters import Roster

EARLY, LATE = date(2013, 1, 1), date(2099, 1, 1)
# Of an account with several meters the first row speaks, wherever a row group ends.
ROWS = [
    ("1", "A", EARLY),
    ("2", "A", LATE),
    ("2", "A", EARLY),
    ("2", "A", EARLY),
    ("3", "", None),
    ("4", "B", EARLY),
    ("4", "B", LATE),
]


@pytest.mark.parametrize("row_group", [1, 2, 3, 10])
@pytest.mark.parametrize("count", [0, 1, len(ROWS)])
def test_a_roster_read_by_and_by_says_what_it_says_of_each_account(
    row_group: int, count: int, tmp_path: Path
) -> None:
    columns = {
        "account": pa.array([row[0] for row in ROWS[:count]], pa.string()),
        "egs_duns": pa.array([row[1] for row in ROWS[:count]], pa.string()),
        "egs_start": pa.array([row[2] for row in ROWS[:count]], pa.date32()),
    }
    lake = Lake(tmp_path)
    lake.write_blocks(pa.table(columns), path="roster.parquet", metadata={}, row_group=row_group)
    roster = Roster(lake, "roster.parquet")
    accounts = pa.array(sorted({row[0] for row in ROWS[:count]}), pa.string())
    found = [row for stretch in roster.stretches() for row in stretch.to_pylist()]
    assert [row.pop("account") for row in found] == accounts.to_pylist()
    assert found == roster.standing_of(accounts).to_pylist()
