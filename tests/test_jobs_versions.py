"""Versions: stacks of blocks, held to a model that is written down without arrays."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from config.home import Home
from hub_fixtures import CNP, LONG, PATIENCE, Hub
from interruption_fixtures import FORKS
from jobs import pipeline
from jobs.clock import StandingClock
from jobs.rules import versions
from jobs.stores.ledger import loads
from jobs_fixtures import CHAMPION, Cut, found, interval_name, lse, send, send_sync
from look_fixtures import Desk
from schemas import block
from schemas.drop import Stage

DAY = date(2013, 9, 2)
ACCOUNTS = ["A", "A-1", "B"]


def stamp(number: int) -> str:
    return f"201309030{number}0000"


@dataclass
class Stack:
    """One account, channel and day as formats.md, section 1, has it."""

    versions: list[tuple[str, int]] = field(default_factory=list)  # stamp as last affirmed, content
    current: int = -1

    def push(self, stamp: str, content: int) -> str:
        """What becomes of a block: `first`, `replacing` or `unchanged`."""
        if self.current >= 0 and self.versions[self.current][1] == content:
            said, _ = self.versions[self.current]
            self.versions[self.current] = (max(said, stamp), content)
            return "unchanged"
        self.versions.append((stamp, content))
        if self.current < 0 or stamp >= self.versions[self.current][0]:
            self.current = len(self.versions) - 1
        return "replacing" if len(self.versions) > 1 else "first"


pushes = st.lists(
    st.dictionaries(
        st.sampled_from(ACCOUNTS), st.tuples(st.integers(1, 5), st.integers(0, 2)), min_size=1, max_size=3
    ),
    min_size=1,
    max_size=8,
)


# ── the rule ─────────────────────────────────────────────────────────────────────────────────────


def table(rows: Iterable[tuple[str, str, int]]) -> pa.Table:
    """Blocks (schemas.block.FIELDS) of account, stamp and content; the content stands in one interval."""
    listed = [
        dict.fromkeys(block.FIELDS.names, "")
        | {
            "account": account, "channel": "4", "usage_date": DAY, "interval_seconds": 900, "stamp": stamp,
            "wh": [1, 2, content, 4], "status": "AAAA", "wh_total": 7 + content, "estimated": 0, "line": 1,
        }
        for account, stamp, content in rows
    ]  # fmt: skip
    return pa.Table.from_pylist(listed, schema=block.FIELDS)


@given(pushes)
@settings(max_examples=2000 if LONG else 150, deadline=None)
def test_the_rule_stacks_as_the_model_does(batches: list[dict[str, tuple[int, int]]]) -> None:
    model: dict[str, Stack] = {}
    stood: list[tuple[str, str, int, int]] = []  # account, stamp, content, version
    said_again: list[tuple[str, str, int]] = []  # account, stamp, version
    for batch in batches:
        rows = [(account, stamp(number), content) for account, (number, content) in batch.items()]
        standing = table((a, s, c) for a, s, c, _ in stood).append_column(
            "version", pa.array([v for *_, v in stood], pa.int32())
        )
        affirmed = table((a, s, 0) for a, s, _ in said_again).append_column(
            "version", pa.array([v for *_, v in said_again], pa.int32())
        )
        got = versions.stack(new=table(rows), standing=standing, affirmed=affirmed)
        for at, (account, said, content) in enumerate(rows):
            stack = model.setdefault(account, Stack())
            before = stack.versions[stack.current] if stack.current >= 0 else None
            outcome = stack.push(said, content)
            assert got.first[at] == (outcome == "first")
            assert got.unchanged[at] == (outcome == "unchanged")
            if outcome == "unchanged":
                assert before is not None
                assert got.version[at] == stack.current + 1
                assert got.affirms[at] == (said > before[0])
                if got.affirms[at]:
                    said_again.append((account, said, int(got.version[at])))
            else:
                assert got.version[at] == len(stack.versions)
                assert got.outranked[at] == (stack.current != len(stack.versions) - 1)
                assert not got.affirms[at]
                stood.append((account, said, content, int(got.version[at])))


@given(st.lists(st.text(alphabet="AB.-_09az", min_size=1, max_size=4), unique=True, min_size=1))
def test_keys_sort_as_accounts_do(accounts: list[str]) -> None:
    rows = [(account, channel) for account in sorted(accounts) for channel in ("1", "4")]
    keys = versions.key(
        pa.table({"account": [a for a, _ in rows], "channel": [c for _, c in rows]})
    ).to_pylist()
    assert keys == sorted(keys)
    assert len(set(keys)) == len(rows)


@pytest.mark.parametrize("name", block.CONTENT)
def test_whatever_is_content_makes_a_version_when_it_changes(name: str) -> None:
    before = table([("A", stamp(1), 0)])
    standing = before.append_column("version", pa.array([1], pa.int32()))
    changed: dict[str, Any] = {
        "wh": [1, 2, 9, 4], "status": "AAEA", "interval_seconds": 1800, "wh_total": 9, "estimated": 1,
    }  # fmt: skip
    row = before.to_pylist()[0] | {name: changed.get(name, "other"), "stamp": stamp(2)}
    new = pa.Table.from_pylist([row], schema=block.FIELDS)
    nothing = table([]).append_column("version", pa.array([], pa.int32()))
    got = versions.stack(new=new, standing=standing, affirmed=nothing)
    assert (got.version.tolist(), got.unchanged.tolist()) == ([2], [False])
    same = versions.stack(new=before, standing=standing, affirmed=nothing)
    assert (same.version.tolist(), same.unchanged.tolist(), same.affirms.tolist()) == ([1], [True], [False])


def test_neither_the_stamp_nor_the_place_in_the_file_is_content() -> None:
    assert set(block.FIELDS.names) - set(block.CONTENT) == {
        "account",
        "channel",
        "usage_date",
        "stamp",
        "line",
    }


# ── the lake ─────────────────────────────────────────────────────────────────────────────────────


def lake(hub: Hub) -> dict[str, list[tuple[int, str, int, bool]]]:
    """By account: version, stamp, first reading, outranked, of all committed blocks, by version."""
    with hub.stores.ledger.read() as tx:
        files = [file for file in loads.on_day(tx, edc=CNP.id, day=DAY) if file.kind == "usage"]
    held: dict[str, list[tuple[int, str, int, bool]]] = {}
    for file in files:
        for row in pq.read_table(hub.stores.lake.root / file.path, partitioning=None).to_pylist():
            held.setdefault(row["account"], []).append(
                (row["version"], row["stamp"], row["wh"][0], row["outranked"])
            )
    return {account: sorted(rows) for account, rows in held.items()}


@given(batches=pushes)
@settings(
    max_examples=150 if LONG else 8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_the_lake_holds_what_the_model_does(
    batches: list[dict[str, tuple[int, int]]], make_hub: Callable[..., Hub]
) -> None:
    hub = make_hub()
    send_sync(hub, dict.fromkeys(ACCOUNTS, CHAMPION.duns))
    model: dict[str, Stack] = {}
    laid_out: list[tuple[str, str, int]] = []
    for number, batch in enumerate(batches):
        cuts = [Cut(account=a, day=DAY, stamp=stamp(n), wh=100 + c) for a, (n, c) in sorted(batch.items())]
        before = {account: stack.current for account, stack in model.items()}
        outcomes = [model.setdefault(c.account, Stack()).push(c.stamp, c.wh) for c in cuts]
        # empty rows at the end make the same cuts other bytes, and so no duplicate
        drop = hub.upload(CNP.id, interval_name(hub), lse(cuts) + b"\n" * number)
        assert drop.blocks_loaded == len(cuts) - outcomes.count("unchanged")
        new = [model[c.account] for c, one in zip(cuts, outcomes, strict=True) if one == "replacing"]
        outranked = sum(stack.current != len(stack.versions) - 1 for stack in new)
        assert (drop.blocks_replacing, drop.blocks_outranked) == (len(new) - outranked, outranked)
        assert drop.blocks_unchanged == outcomes.count("unchanged")
        hub.on(minutes=15)
        hub.sweep()
        for cut in cuts:
            stack = model[cut.account]
            if stack.current != before.get(cut.account):
                laid_out.append((cut.account, cut.stamp, cut.wh))
    assert {a: [(v, s[1]) for v, s in enumerate(stack.versions, 1)] for a, stack in model.items()} == {
        account: [(version, wh) for version, _, wh, _ in rows] for account, rows in lake(hub).items()
    }
    for account, rows in lake(hub).items():
        highest = max(version for version, _, _, outranked in rows if not outranked)
        assert highest == model[account].current + 1
    assert [(a, s, v[0]) for a, _, _, s, v in found(hub, CHAMPION.id)] == [
        (account, said, f"{wh / 1000:.3f}".rstrip("0")) for account, said, wh in laid_out
    ]


def test_an_old_cut_sent_late_is_stacked_and_never_current(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    new = Cut(account="A", day=DAY, stamp=stamp(5), wh=5)
    first = send(hub, new)
    hub.sweep()
    hub.on(minutes=15)
    drop = send(hub, Cut(account="A", day=DAY, stamp=stamp(2), wh=2))
    assert (drop.blocks_loaded, drop.blocks_replacing, drop.blocks_outranked) == (1, 0, 1)
    said = hub.receipt(drop)
    assert (said["blocks_loaded"], said["blocks_replacing"], said["blocks_outranked"]) == (1, 0, 1)
    told = hub.events("drop.loaded", about=drop.id)[0]["details"]
    assert (told["blocks_replacing"], told["blocks_outranked"]) == (0, 1)
    assert "blocks_outranked" not in hub.receipt(first)
    hub.sweep()
    assert found(hub, CHAMPION.id) == [new.read(CNP)]
    assert lake(hub)["A"] == [(1, stamp(5), 5, False), (2, stamp(2), 2, True)]


def test_a_cut_between_a_cut_and_its_affirmation_never_is_current(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    first = Cut(account="A", day=DAY, stamp=stamp(1), wh=1)
    send(hub, first)
    assert send(hub, first.again(stamp=stamp(4))).blocks_unchanged == 1
    send(hub, first.again(stamp=stamp(3), wh=3))
    hub.sweep()
    assert found(hub, CHAMPION.id) == [first.read(CNP)]
    hub.on(minutes=15)
    after = first.again(stamp=stamp(4), wh=4)  # of two of the same stamp the later commit is current
    send(hub, after)
    hub.sweep()
    assert found(hub, CHAMPION.id)[1:] == [after.read(CNP)]


def test_what_was_current_once_and_comes_again_is_a_version_of_its_own(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    for number, wh in ((1, 1), (2, 2), (3, 1)):
        drop = send(hub, Cut(account="A", day=DAY, stamp=stamp(number), wh=wh))
        assert drop.blocks_loaded == 1
    assert [version for version, *_ in lake(hub)["A"]] == [1, 2, 3]


def test_an_empty_stamp_is_that_of_the_files_name(hub: Hub) -> None:
    text = Cut(account="A", day=DAY).text(CNP).replace("00000004,20130903041530,M", "00000004,,M")
    hub.upload(CNP.id, f"{CNP.duns}IntervalData20130903044444001.lse", text.encode())
    assert lake(hub)["A"] == [(1, "20130903044444", 100, False)]


def test_channels_and_days_are_stacks_of_their_own(hub: Hub) -> None:
    cuts = [Cut(account="A", day=DAY, channel=channel) for channel in ("4", "1")]
    cuts += [Cut(account="A", day=DAY - timedelta(days=1))]
    assert send(hub, *cuts).blocks_loaded == 3
    drop = send(hub, *[cut.again(wh=9) for cut in cuts[1:]])
    assert (drop.blocks_replacing, drop.blocks_loaded) == (2, 2)


# ── side by side ─────────────────────────────────────────────────────────────────────────────────

MANY = [f"K{k:03}" for k in range(40)]


def contested(number: int) -> list[Cut]:
    """The cuts of a drop that shares most of its accounts with others."""
    return [
        Cut(account=a, day=DAY, stamp=stamp(number % 9), wh=number + 1) for a in MANY[number : number + 30]
    ]


def check_stacks(hub: Hub, drops: int) -> None:
    held = lake(hub)
    for account, rows in held.items():
        pushed = sum(account in {cut.account for cut in contested(k)} for k in range(drops))
        assert [version for version, *_ in rows] == list(range(1, pushed + 1)), account
        standing = -1
        for _, said, _, outranked in rows:
            assert outranked == (int(said[9]) < standing)
            standing = max(standing, int(said[9]))
    with hub.stores.ledger.read() as tx:
        ids = [file.id for file in loads.on_day(tx, edc=CNP.id, day=DAY)]
    assert len(ids) == drops


def test_threads_that_commit_overlapping_drops_give_each_version_once(hub: Hub) -> None:
    arrived = [hub.arrive(CNP.id, interval_name(hub), lse(contested(k))) for k in range(8)]
    start = threading.Barrier(4)

    def work(mine: list[str]) -> None:
        start.wait()
        for drop_id in mine:
            pipeline.advance(drop_id, stores=hub.stores, clock=StandingClock(hub.now))

    threads = [threading.Thread(target=work, args=([d.id for d in arrived[k::4]],)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {hub.drop(drop.id).stage for drop in arrived} == {Stage.LOADED}
    check_stacks(hub, 8)


def _sweep(root: Path, now: datetime, start: Any) -> None:
    hub = Hub(Home(root), now, fresh=False)
    start.wait()
    hub.sweep()
    hub.close()


def test_processes_that_sweep_one_home_at_once_load_each_drop_once(hub: Hub) -> None:
    send_sync(hub, dict.fromkeys(MANY, CHAMPION.duns))
    arrived = [hub.arrive(CNP.id, interval_name(hub), lse(contested(k))) for k in range(8)]
    start = FORKS.Barrier(3)
    children = [FORKS.Process(target=_sweep, args=(hub.home.root, hub.now, start)) for _ in range(3)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
        assert child.exitcode == 0
    hub.sweep()  # a drop that one had claimed as another passed it by
    assert {hub.drop(drop.id).stage for drop in arrived} == {Stage.LOADED}
    check_stacks(hub, 8)
    assert len(hub.events("drop.loaded")) == 9
    assert hub.stores.mailboxes.folder(CNP.id, "inbound").exists()
    assert not list(hub.stores.mailboxes.folder(CNP.id, "inbound").iterdir())
    sequences = [file.sequence for file in hub.files(CHAMPION.id)]
    assert sequences == list(range(1, len(sequences) + 1))
    current = {account: max(row for row in rows if not row[3]) for account, rows in lake(hub).items()}
    last = {reading[0]: reading[4][0] for reading in found(hub, CHAMPION.id)}
    hub.on(minutes=15)
    hub.sweep()
    last |= {reading[0]: reading[4][0] for reading in found(hub, CHAMPION.id)}
    assert last == {account: f"{row[2] / 1000:g}" for account, row in current.items()}


def test_status_and_explain_tell_a_correction_that_was_outranked_apart(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY, stamp=stamp(5), wh=5))
    send(hub, Cut(account="A", day=DAY, stamp=stamp(7), wh=7))
    drop = send(hub, Cut(account="A", day=DAY, stamp=stamp(2), wh=2))
    hub.sweep()
    desk = Desk(hub, capsys, monkeypatch)
    (cnp,) = [one for one in desk.ask("status", "--json").json["edcs"] if one["edc"] == CNP.id]
    assert (cnp["first_versions"], cnp["replacing"], cnp["outranked"]) == (1, 1, 1)
    assert "1 replacing, 1 outranked by a later stamp" in " ".join(desk.ask("status").out.split())
    (listed,) = [one for one in desk.ask("drops", "--json").json if one["id"] == drop.id]
    assert (listed["blocks_replacing"], listed["blocks_outranked"]) == (0, 1)
    (story,) = desk.ask("explain", "A", "--edc", CNP.id, "--json").json
    assert [(one["version"], one["current"], one["outranked"]) for one in story["versions"]] == [
        (1, False, False), (2, True, False), (3, False, True),
    ]  # fmt: skip
    said = [one["outranked"] for one in story["timeline"] if "outranked" in one]
    assert said == ["a version with a later stamp stood: this one is kept, and never counted"]
