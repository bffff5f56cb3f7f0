"""The lake in SQL: what is current, what was, one row an interval; and that asking can do no harm."""

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.errors import RefusedError
from config.home import Home
from hub_fixtures import CNP, PPL, Hub, morning, small_night
from jobs.stores import views
from jobs.stores.view_columns import VIEWS
from jobs_fixtures import CHAMPION, Cut, send, send_sync
from schemas.block import LAKE
from schemas.drop import Stage
from schemas.usage_day import UsageDay

DAY = date(2013, 9, 2)
EARLIER = date(2013, 9, 1)


def ask(hub: Hub, question: str) -> list[tuple[Any, ...]]:
    """The rows of an answer."""
    with views.ask(question, stores=hub.stores) as answer:
        return [tuple(row.values()) for batch in answer for row in batch.to_pylist()]


@pytest.fixture(scope="module")
def long_lived(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub for tests that change nothing, or only what concerns accounts of their own."""
    hub = Hub(Home(tmp_path_factory.mktemp("views") / "hub"), morning(date(2013, 9, 5)))
    send(hub, Cut(account="A7", day=DAY))
    yield hub
    hub.close()


def refusal(hub: Hub, question: str) -> str:
    with pytest.raises(RefusedError) as refused:
        ask(hub, question)
    return refused.value.message


# ── What is current ──────────────────────────────────────────────────────────────────────────────

Key = tuple[str, str, date]


@dataclass
class Stack:
    """The versions of one account, channel and day as formats.md tells it: a list, and what was affirmed."""

    versions: list[tuple[str, int]] = field(
        default_factory=list
    )  # stamp and content; the place is the version
    affirmed: list[tuple[str, int]] = field(default_factory=list)  # stamp and version

    def current(self) -> int:
        stamped = [(stamp, place) for place, (stamp, _) in enumerate(self.versions, 1)]
        return max(stamped + self.affirmed)[1]

    def push(self, stamp: str, content: int) -> None:
        if self.versions and self.versions[self.current() - 1][1] == content:
            self.affirmed.append((stamp, self.current()))
        else:
            self.versions.append((stamp, content))


STAMPS = ("20130903040000", "20130903050000", "20130904040000", "20130905040000")
CUTS = st.builds(
    Cut,
    account=st.sampled_from(["1", "2", "10"]),
    channel=st.sampled_from(["4", "1"]),
    day=st.sampled_from([DAY, EARLIER]),
    stamp=st.sampled_from(STAMPS),
    wh=st.integers(0, 2),
    seconds=st.just(3600),
)
DROPS = st.lists(
    st.lists(CUTS, min_size=1, max_size=6, unique_by=lambda cut: (cut.account, cut.channel, cut.day)),
    min_size=1,
    max_size=5,
)
EXAMPLE = itertools.count()


@settings(max_examples=8, deadline=None)
@given(drops=DROPS)
def test_what_is_current_now_and_at_any_instant_is_what_counting_by_hand_gives(
    long_lived: Hub, drops: list[list[Cut]]
) -> None:
    hub, mark = long_lived, f"E{next(EXAMPLE)}-"
    stacks: dict[Key, Stack] = {}
    told: dict[datetime, set[tuple[Any, ...]]] = {}
    for cuts in drops:
        hub.on(minutes=1)
        own = [cut.again(account=mark + cut.account) for cut in cuts]
        drop = send(hub, *own)
        assert drop.stage in (Stage.LOADED, Stage.DUPLICATE)
        for cut in own if drop.stage is Stage.LOADED else ():
            stacks.setdefault((cut.account, cut.channel, cut.day), Stack()).push(cut.stamp, cut.wh)
        told[hub.now] = {_row(key, stack, stack.current()) for key, stack in stacks.items()}
    columns = "account, channel, usage_date, version, stamp, wh_total"
    mine = f"where starts_with(account, '{mark}')"
    now = f"select {columns} from usage_current {mine}"
    assert sorted(ask(hub, now)) == sorted(told[hub.now])
    then = [f"select '{at}' as at, {columns} from usage_as_of('{at.isoformat()}') {mine}" for at in told]
    expected = sorted((str(at), *row) for at, rows in told.items() for row in rows)
    assert sorted(ask(hub, " union all ".join(then))) == expected
    every = {_row(key, stack, v) for key, stack in stacks.items() for v in range(1, len(stack.versions) + 1)}
    assert sorted(ask(hub, f"select {columns} from usage {mine}")) == sorted(every)


def _row(key: Key, stack: Stack, version: int) -> tuple[Any, ...]:
    stamp, wh = stack.versions[version - 1]
    return (*key, version, stamp, wh * 24)


def test_an_old_file_sent_late_says_that_it_was_outranked_and_hides_nothing(hub: Hub) -> None:
    cut = Cut(account="7", day=DAY, wh=5, stamp="20130903050000")
    send(hub, cut)
    send(hub, cut.again(wh=4, stamp="20130903040000"))
    assert ask(hub, "select version, outranked from usage order by version") == [(1, False), (2, True)]
    assert ask(hub, "select version, wh[1] from usage_current") == [(1, 5)]


def test_an_affirmation_outranks_what_comes_with_a_stamp_between(hub: Hub) -> None:
    cut = Cut(account="7", day=DAY, wh=5, stamp="20130903040000")
    send(hub, cut)
    hub.on(minutes=1)
    assert send(hub, cut.again(stamp="20130903060000")).blocks_unchanged == 1
    hub.on(minutes=1)
    send(hub, cut.again(wh=4, stamp="20130903050000"))
    assert ask(hub, "select version from usage_current") == [(1,)]


def test_what_was_not_committed_is_not_seen(hub: Hub) -> None:
    send(hub, Cut(account="7", day=DAY))
    (file,) = hub.stores.lake.root.glob("usage/*/*.parquet")
    (file.parent / "cnp.D130903-09999.parquet").write_bytes(file.read_bytes())
    assert ask(hub, "select count(*) from usage") == [(1,)]


# ── The columns ──────────────────────────────────────────────────────────────────────────────────


def test_energy_is_exact_in_watt_hours_and_in_kilowatt_hours(hub: Hub) -> None:
    send(hub, Cut(account="7", day=DAY, wh=999_999_999), Cut(account="8", day=DAY, wh=155))
    asked = "select wh[1], kwh[96], len(kwh), list_sum(kwh) from usage_current order by account desc"
    assert ask(hub, asked) == [
        (155, Decimal("0.155"), 96, Decimal("14.880")),
        (999_999_999, Decimal("999999.999"), 96, Decimal("95999999.904")),
    ]


def test_nothing_that_a_lake_file_holds_is_kept_from_those_who_ask(hub: Hub) -> None:
    assert {*LAKE.names, "usage_date", "kwh"} == set(VIEWS["usage"].columns)
    send(hub, Cut(account="7", day=DAY, status="E"))
    with views.ask("from usage", stores=hub.stores) as answer:
        (row,) = [row for batch in answer for row in batch.to_pylist()]
    assert row["status"] == "E" * 96
    assert (row["estimated"], row["meter_multiplier"], row["zone_name"]) == (96, "1", "CST6CDT")
    assert row["received_at"] == row["loaded_at"] == hub.now


@pytest.mark.parametrize("loaded", [False, True], ids=["empty", "loaded"])
def test_the_views_are_what_the_help_says_they_are_on_an_empty_lake_too(hub: Hub, loaded: bool) -> None:
    if loaded:
        night = small_night(DAY)
        hub.send(*night.syncs(), *night.buckets(), night.replacement(CNP, accounts=3))
        hub.sweep()
    kinds = sorted({kind for view in VIEWS.values() for kind in view.columns.values()})
    with views.ask(f"select {', '.join(f'null::{kind}' for kind in kinds)}", stores=hub.stores) as answer:
        types = dict(zip(kinds, answer.types, strict=True))
    for name, view in VIEWS.items():
        called = name.replace("(instant)", "('2013-09-03T10:00:00Z')")
        with views.ask(f"from {called} limit 3", stores=hub.stores) as answer:
            rows = sum(len(batch) for batch in answer)
            said = dict(zip(answer.columns, answer.types, strict=True))
        assert said == {column: types[kind] for column, kind in view.columns.items()}, name
        assert (rows > 0) == (loaded and name not in {"collections", "held", "verdicts"}), name
    listed = {name for (name,) in ask(hub, "show tables")}
    assert listed == {name for name in VIEWS if "(" not in name}


def test_the_ledger_is_asked_in_the_same_words(hub: Hub) -> None:
    send_sync(hub, {"7": CHAMPION.duns, "9": "999888777"})
    good = send(hub, Cut(account="7", day=DAY), Cut(account="8", day=DAY), Cut(account="9", day=DAY))
    bad = hub.upload("cnp", "957877905IntervalData20130903041500999.lse", b"nothing of the kind\n")
    hub.sweep()
    asked = (
        "select id, usage_days, faults[1].line, arrived_at from drops where kind = 'IntervalData' order by id"
    )
    assert ask(hub, asked) == [
        (good.id, [DAY], None, hub.now),
        (bad.id, [], bad.faults[0].line, hub.now),
    ]
    assert ask(hub, "select account, reason, egs_duns from held order by account") == [
        ("8", "suspense", ""),
        ("9", "unclaimed", "999888777"),
    ]
    assert ask(hub, "select egs, blocks, usage_days from outbound_files") == [("champion", 1, [DAY])]
    asked = f"select name, details->>'bytes' from events where about = '{bad.id}' order by id limit 1"
    assert ask(hub, asked) == [("drop.arrived", "20")]
    asked = "select edc, sync_id, account, ami from roster order by account"
    assert ask(hub, asked) == [("cnp", "S130903-cnp-1", "7", True), ("cnp", "S130903-cnp-1", "9", True)]


# ── Intervals ────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("day", "count"),
    [(date(2013, 3, 10), 92), (DAY, 96), (date(2013, 11, 3), 100)],
    ids=["spring", "ordinary", "autumn"],
)
def test_each_interval_begins_when_it_does_in_both_zones(
    make_hub: Callable[..., Hub], day: date, count: int
) -> None:
    hub = make_hub(now=morning(day))
    night = small_night(day, accounts=5, bucket=5)
    hub.send(*night.syncs(), *night.buckets())
    for edc in (CNP, PPL):
        rows = ask(
            hub,
            "select account, channel, list(start_utc order by interval), list(start_local order by interval), "
            "list(interval order by interval), sum(intervals.wh), sum(intervals.kwh), any_value(wh_total), "
            "count(*) filter (intervals.status = 'E'), any_value(estimated) "
            "from intervals join usage_current using (edc, account, channel, usage_date) "
            f"where edc = '{edc.id}' group by account, channel",
        )
        starts = UsageDay(day, edc.zone).interval_starts(900)
        assert len(starts) == count
        assert len(rows) >= 5
        for _, _, utc, local, numbers, wh, kwh, total, estimated, of_block in rows:
            assert [at.astimezone(UTC) for at in utc] == starts
            assert local == [at.astimezone(edc.zone).replace(tzinfo=None) for at in starts]
            assert numbers == list(range(1, count + 1))
            assert wh == total == kwh * 1000
            assert estimated == of_block


@pytest.mark.parametrize("seconds", [900, 1800, 3600])
def test_intervals_of_every_legal_length_are_a_row_each(make_hub: Callable[..., Hub], seconds: int) -> None:
    day = date(2013, 11, 3)
    hub = make_hub(now=morning(day))
    send(hub, Cut(account="7", day=day, seconds=seconds))
    rows = ask(hub, "select start_utc from intervals order by interval")
    assert [at for (at,) in rows] == UsageDay(day, CNP.zone).interval_starts(seconds)


def test_intervals_are_those_of_the_current_version(hub: Hub) -> None:
    send(hub, Cut(account="7", day=DAY, wh=1))
    send(hub, Cut(account="7", day=DAY, wh=2, stamp="20130904000000"))
    assert ask(hub, "select distinct wh, status from intervals") == [(2, "A")]


def test_a_question_about_one_day_opens_the_files_of_that_day_alone(hub: Hub) -> None:
    for day in (DAY, EARLIER, date(2013, 8, 31)):
        send(hub, Cut(account="7", day=day))
        send(hub, Cut(account="7", day=day, wh=1, stamp="20130904000000"))
    opened = "any_value(len(getvariable('usage_files'))), any_value(len(getvariable('later_files')))"
    assert ask(hub, f"select {opened} from intervals where usage_date = date '{DAY}'") == [(2, 1)]
    assert ask(hub, f"select {opened} from intervals") == [(6, 3)]


# ── No harm ──────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "question",
    [
        "select * from read_text('{home}/config/meterhub.toml')",
        "select * from read_csv('/etc/passwd')",
        "select * from read_blob('{home}/state/ledger.sqlite')",
        "select * from glob('{home}/**')",
        "select * from read_parquet('{home}/state/lake/usage/*/*.parquet')",
        "select * from read_parquet('{home}/state/lake/uncommitted.parquet')",
        "select * from '{home}/state/lake/uncommitted.parquet'",
        "select * from read_parquet('https://example.com/a.parquet')",
        "select * from parquet_metadata('{home}/state/lake/uncommitted.parquet')",
        "select * from sniff_csv('{home}/config/meterhub.toml')",
        "select * from home",  # a variable of the test's
        "with gone as (delete from kept.drops returning *) select * from gone",
        "with new as (insert into kept.drops select * from kept.drops returning *) select * from new",
        "create table mine as select 1",
        "insert into drops select * from drops",
        "update kept.drops set stage = 'loaded'",
        "drop view usage",
        "copy (select 1) to '{home}/out.csv'",
        "copy (select 1) to '{file}' (use_tmp_file false)",
        "explain analyze copy (select 1) to '{file}' (use_tmp_file false)",
        "explain (analyze) copy (select 1) to '{file}' (use_tmp_file false)",
        "explain copy (select 1) to '{file}' (use_tmp_file false)",
        "attach '{home}/state/ledger.sqlite'",
        "attach '{home}/out.db'",
        "export database '{home}/out'",
        "install httpfs",
        "load sqlite",
        "set allowed_paths = ['/']",
        "set enable_external_access = true",
        "set variable usage_files = ['/etc/passwd']",
        "reset lock_configuration",
        "pragma database_list",
        "call enable_logging()",
        "create secret (type s3)",
        "begin; commit",
        "rollback",
        "select 1; drop view usage",
        "",
        "   ",
        "-- nothing",
    ],
)
def test_a_question_reads_nothing_but_the_lake_and_changes_nothing(long_lived: Hub, question: str) -> None:
    hub, home = long_lived, long_lived.home.root
    file = min(hub.stores.lake.root.glob("usage/*/*.parquet"))
    (hub.stores.lake.root / "uncommitted.parquet").write_bytes(file.read_bytes())
    before = _contents(home)
    assert refusal(hub, question.format(home=home, file=file))
    assert _contents(home) == before


def _contents(home: Path) -> dict[str, bytes]:
    """What every file holds that a question must not touch."""
    files = [path for path in home.rglob("*") if path.is_file() and "ledger.sqlite-" not in path.name]
    return {str(path): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("select * from dropz", "Did you mean"),
        ("selct 1", 'syntax error at or near "selct"'),
        ("select acount from usage", "account"),
        ("select 'a'::integer from range(9)", "Could not convert string 'a'"),
        ("select account::integer from usage", "Could not convert string"),
        ("select 1; select 2", "found 2 statements; wanted: one question"),
    ],
)
def test_a_question_that_cannot_be_answered_is_refused_in_words(
    long_lived: Hub, question: str, words: str
) -> None:
    assert words in refusal(long_lived, question)


@pytest.mark.parametrize(
    "question",
    ["describe usage", "summarize drops", "show tables", "values (1)", "from syncs", "explain select 1",
     "with a as (select 1) select * from a", "(select 1) union all (select 2);",
     "pivot drops on stage in ('loaded') using count(*) group by partner"],
)  # fmt: skip
def test_every_form_of_a_question_is_answered(long_lived: Hub, question: str) -> None:
    with views.ask(question, stores=long_lived.stores) as answer:
        assert isinstance(answer.schema, pa.Schema)
        assert list(answer) is not None


def test_an_edc_that_is_a_partner_no_more_keeps_its_intervals_without_their_starts(hub: Hub) -> None:
    send(hub, Cut(account="7", day=DAY))
    hub.remove_partner("cnp")
    assert ask(hub, "select count(*), count(start_utc), sum(wh) from intervals") == [(96, 0, 9600)]
