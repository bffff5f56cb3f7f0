"""What holds of every roster, however its sync was cut: it is put together and compared stretch by stretch,
and says what one reading of the whole would say.
"""

import tempfile
from collections import Counter
from collections.abc import Callable
from datetime import date
from itertools import pairwise
from pathlib import Path
from typing import Any

import pyarrow as pa
from hypothesis import example, given, settings
from hypothesis import strategies as st

from jobs.rules import due, moves, starts
from jobs.rules.moves import Moves
from jobs.stores import due_blocks, sync_parts
from jobs.stores.lake import Lake
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.rosters import STANDING, Roster, beside, once
from schemas import sync_whole
from schemas.sync_file import ROSTER

TODAY = date(2013, 9, 3)
EGSS = {"799530915": "champion", "148055531": "bluebonnet"}
ACCOUNTS = [f"{k:03}" for k in range(40)]
STARTS = st.sampled_from([date(2013, 1, 1), TODAY, date(2013, 9, 4)])
SUPPLIERS = st.one_of(st.just(("", None)), st.tuples(st.sampled_from([*EGSS, "999888777"]), STARTS))
METER = st.fixed_dictionaries(
    {
        "account_status": st.sampled_from("AAADI"),
        "channels": st.sampled_from(["4", "4;1", "1", "1;4", "7"]),
        "ami": st.booleans(),
    }
)
FEW = settings(max_examples=25, deadline=None)


def row(account: str, duns: str, start: date | None, meter: int, said: dict[str, Any]) -> dict[str, Any]:
    return {
        "account": account, "egs_duns": duns, "egs_name": duns and "AN EGS", "egs_start": start,
        "customer_class": "RES", "load_profile": "P", "bill_cycle": "07", "zip": "77002", "meter": f"M{meter}",
        "meter_multiplier": "1", "interval_seconds": 900,
    } | said  # fmt: skip


@st.composite
def rosters(draw: Callable[..., Any]) -> pa.Table:
    """Rows of a good sync in any order; some accounts have several meters."""
    rows = [
        row(account, duns, start, meter, said)
        for account in draw(st.lists(st.sampled_from(ACCOUNTS), min_size=1, unique=True))
        for duns, start in [draw(SUPPLIERS)]
        for meter, said in enumerate(draw(st.lists(METER, min_size=1, max_size=3)))
    ]
    return pa.Table.from_pylist(draw(st.permutations(rows)), schema=ROSTER)


def kept(rows: pa.Table, cuts: list[int], lake: Lake, *, row_group: int) -> dict[int, str]:
    """The rows as parts in the lake, cut at these places."""
    ends = [0, *sorted({cut % len(rows) for cut in cuts} - {0}), len(rows)]
    paths = {}
    for number, (begin, end) in enumerate(pairwise(ends), 1):
        part = sync_whole.in_order(rows.slice(begin, end - begin))
        path = f"syncs/parts/{number}.parquet"
        paths[number] = lake.write_blocks(part, path=path, metadata={}, row_group=row_group).path
    return paths


def stand(rows: pa.Table) -> list[dict[str, Any]]:
    """How each account stands by the rows, in order."""
    said = {one["account"]: one for one in rows.to_pylist()}
    return [
        {"account": account, "known": True, "egs_duns": said[account]["egs_duns"],
         "egs_start": said[account]["egs_start"]}
        for account in sorted(said)
    ]  # fmt: skip


@FEW
@given(rosters(), st.lists(st.integers(0, 200), max_size=6), st.integers(1, 4), st.integers(1, 30))
def test_parts_in_any_order_are_put_together_an_account_in_one_stretch(
    rows: pa.Table, cuts: list[int], row_group: int, size: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        paths = kept(rows, cuts, lake, row_group=row_group)
        stretches = [sync_whole.assemble(some) for some in sync_parts.stretches(lake, paths, size=size)]
    tables = [one for one in stretches if isinstance(one, pa.Table)]
    assert len(tables) == len(stretches)
    found = [each for one in tables for each in one.to_pylist()]
    assert found == sorted(rows.to_pylist(), key=lambda each: (each["account"], each["meter"]))
    accounts = [set(one["account"].to_pylist()) for one in tables]
    assert sum(map(len, accounts)) == len(set().union(*accounts))


def test_of_parts_that_follow_each_other_no_more_is_held_than_a_stretch_and_a_row_group(
    tmp_path: Path,
) -> None:
    said = {"account_status": "A", "channels": "4", "ami": True}
    rows = [row(f"{k:05}", "799530915", TODAY, 1, said) for k in range(1_000)]
    lake = Lake(tmp_path)
    paths = kept(pa.Table.from_pylist(rows, schema=ROSTER), list(range(100, 1_000, 100)), lake, row_group=20)
    counts = [sum(map(len, some.values())) for some in sync_parts.stretches(lake, paths, size=150)]
    assert (sum(counts), len(counts), max(counts)) == (1_000, 7, 160)


@FEW
@given(rosters(), st.integers(1, 5), st.integers(1, 3))
def test_a_roster_read_by_and_by_has_each_account_once_as_its_rows_say(
    rows: pa.Table, row_group: int, stretch: int
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lake.write_blocks(sync_whole.in_order(rows), path="r.parquet", metadata={}, row_group=row_group)
        found = list(Roster(lake, "r.parquet").stretches(row_groups=stretch))
    assert [each for one in found for each in one.to_pylist()] == stand(rows)
    assert all(one.schema == STANDING for one in found)


@FEW
@given(rosters(), rosters(), st.integers(1, 7), st.integers(1, 7))
def test_what_changes_between_two_rosters_is_the_same_however_they_are_cut(
    old: pa.Table, new: pa.Table, size: int, other: int
) -> None:
    before = pa.Table.from_pylist(stand(old), schema=STANDING)
    after = pa.Table.from_pylist(stand(new), schema=STANDING)
    counted: Counter[tuple[str, str]] = Counter()
    taken, named = 0, []
    for had, has in beside(pieces(before, size), pieces(after, other)):
        changes = moves.between(*(moves.holders(one, egss=EGSS, today=TODAY) for one in (had, has)))
        counted += moves.count(changes)
        named += moves.moved(changes).to_pylist()
        taken += moves.taken(had, has, today=TODAY)
    was, becomes = ({one["account"]: holder(one) for one in stand(rows)} for rows in (old, new))
    both = {
        each: (was.get(each, moves.NOT_THERE), becomes.get(each, moves.NOT_THERE))
        for each in {*was, *becomes}
    }
    assert counted == Counter(both.values())
    assert named == [
        {"account": each, "was": both[each][0], "becomes": both[each][1]}
        for each in sorted(both)
        if both[each][0] != both[each][1]
    ]
    assert taken == sum(both[each][0] != both[each][1] for each in was)
    found = Moves(counted=counted)
    assert (found.before, found.number, found.new) == (len(was), taken, len(both) - len(was))
    for one in found.balances:
        assert (one.before, one.after) == (
            list(was.values()).count(one.holder),
            list(becomes.values()).count(one.holder),
        )
        assert one.after - one.before == one.gains - one.loses


def pieces(rows: pa.Table, size: int) -> list[pa.Table]:
    return [rows.slice(begin, size) for begin in range(0, len(rows), size)]


def holder(said: dict[str, Any]) -> str:
    """In words, and found in another way than the hub's."""
    duns = said["egs_duns"]
    if not duns:
        return "default service"
    if said["egs_start"] > TODAY:
        return f"not yet {EGSS.get(duns, duns)}"
    return EGSS.get(duns, f"unclaimed {duns}")


@FEW
@given(rosters(), st.integers(1, 9))
def test_as_many_blocks_are_counted_as_due_as_the_deadline_names(rows: pa.Table, size: int) -> None:
    whole = sync_whole.in_order(rows)
    of_account = once(whole)["account"].to_pylist()
    some = [set(of_account[begin : begin + size]) for begin in range(0, len(of_account), size)]
    counted = sum(
        due.blocks(whole.filter(pa.array([one in accounts for one in whole["account"].to_pylist()])))
        for accounts in some
    )
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lake.write_blocks(whole, path="r.parquet", metadata={}, row_group=3)
        roster, spill = Roster(lake, "r.parquet"), Path(folder) / "spill"
        for at_once in (1, 1_000_000):  # many ranges of accounts, and one
            held = due_blocks.held(roster, [], lake=lake, spill=spill, size=at_once)
            assert held.expected == counted == len(held.missing)
            keys = list(zip(*held.missing.select(["account", "channel"]).to_pydict().values(), strict=True))
            assert keys == sorted(set(keys))


EVERY = pa.Table.from_pylist(
    [
        row(account, "799530915", None, 1, {"account_status": "A", "channels": "4", "ami": True})
        for account in ACCOUNTS
    ],
    schema=ROSTER,
)


@settings(max_examples=10, deadline=None)
@given(
    rosters(),
    st.lists(st.tuples(st.sampled_from(ACCOUNTS), st.sampled_from("14"), st.booleans()), max_size=30),
)
@example(EVERY, [(account, "4", True) for account in ACCOUNTS])
def test_what_is_due_and_loaded_is_the_same_in_ranges_of_accounts_and_in_one(
    rows: pa.Table, blocks: list[tuple[str, str, bool]]
) -> None:
    loaded = sorted({(account, channel): on_time for account, channel, on_time in blocks}.items())
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(Path(folder))
        lake.write_blocks(sync_whole.in_order(rows), path="r.parquet", metadata={}, row_group=3)
        files = [
            lake_file(lake, f"{number}.parquet", [(*key, on_time) for key, on_time in some])
            for number in (0, 1)  # two files, one between the accounts of the other
            if (some := loaded[number::2])
        ]
        roster, spill = Roster(lake, "r.parquet"), Path(folder) / "spill"
        whole = due_blocks.held(roster, files, lake=lake, spill=spill)
        parted = due_blocks.held(roster, files, lake=lake, spill=spill, size=1)
        assert whole == parted
        came = whole.in_time + whole.late
        assert came + len(whole.missing) == whole.expected
        assert (
            came
            == due_blocks.loaded(roster, files, lake=lake)
            == due_blocks.loaded(roster, files, lake=lake, size=1)
        )
        missing = set(zip(*whole.missing.select(["account", "channel"]).to_pydict().values(), strict=True))
        assert not missing & {key for key, _ in loaded}


def lake_file(lake: Lake, path: str, blocks: list[tuple[str, str, bool]]) -> LakeFile:
    """A file of the lake that holds these blocks: account, channel, whether it came in time."""
    columns = dict(zip(("account", "channel", "on_time"), zip(*blocks, strict=True), strict=True))
    table = pa.table({**columns, "version": pa.array([1] * len(blocks), pa.int32())})
    written = lake.write_blocks(table, path=path, metadata={}, row_group=2)
    return LakeFile(
        drop_id=path, edc="cnp", usage_date=TODAY, kind="usage", path=path, rows=len(blocks),
        first_versions=len(blocks), late=0, account_low=blocks[0][0], account_high=blocks[-1][0],
        version_low=1, version_high=1, bytes=written.bytes, sha256=written.sha256,
    )  # fmt: skip


@FEW
@given(rosters(), rosters(), st.integers(1, 7), st.integers(1, 7))
def test_whose_start_moves_though_its_supplier_stays_is_the_same_however_rosters_are_cut(
    old: pa.Table, new: pa.Table, size: int, other: int
) -> None:
    before = pa.Table.from_pylist(stand(old), schema=STANDING)
    after = pa.Table.from_pylist(stand(new), schema=STANDING)
    found = [
        starts.between(had, has, today=TODAY)
        for had, has in beside(pieces(before, size), pieces(after, other))
    ]
    was = {one["account"]: one for one in stand(old)}
    moved = [
        {
            "account": one["account"],
            "egs_duns": one["egs_duns"],
            "was": had["egs_start"],
            "becomes": one["egs_start"],
        }
        for one in stand(new)
        if (had := was.get(one["account"])) is not None
        and one["egs_duns"]
        and holder(had) == holder(one)
        and had["egs_start"] != one["egs_start"]
    ]
    assert [each for one in found for each in one.to_pylist()] == moved
    counted = {one.egs_duns: one for one in starts.count(found)}
    assert set(counted) == {one["egs_duns"] for one in moved}
    for duns, one in counted.items():
        mine = [each for each in moved if each["egs_duns"] == duns]
        sooner = [each for each in mine if (each["becomes"] or date.max) < (each["was"] or date.max)]
        assert (one.earlier, one.later) == (len(sooner), len(mine) - len(sooner))
        assert {"account": one.account, "egs_duns": duns, "was": one.was, "becomes": one.becomes} in mine
