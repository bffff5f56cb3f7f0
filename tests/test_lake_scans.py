"""A question reads what its plan wants, and answers as if it had read everything."""

from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import event

from config.home import Home
from hub_fixtures import CNP, Hub, morning
from jobs.stores import conditions, scans, views
from jobs.stores.conditions import AllOf, AnyOf, Compared
from jobs_fixtures import Cut, send, send_sync
from schemas.sample import EGSS

DAY, EARLIER, OTHER_YEAR = date(2013, 9, 2), date(2013, 9, 1), date(2012, 9, 2)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with a few days of two accounts, later versions among them, published to their EGS."""
    hub = Hub(Home(tmp_path_factory.mktemp("scans") / "hub"), morning(DAY))
    send_sync(hub, dict.fromkeys(("A1", "B2"), EGSS[0].duns))
    for day in (OTHER_YEAR, EARLIER, DAY):
        send(hub, Cut(account="A1", day=day), Cut(account="B2", day=day, wh=7))
        hub.on(minutes=5)
    send(hub, Cut(account="A1", day=DAY, wh=200, stamp="20130904000000"))
    send(hub, Cut(account="A1", day=EARLIER, wh=300, stamp="20130801000000"))
    hub.upload(CNP.id, "957877905IntervalData20130903041530999.lse", b"nothing of that kind\n")
    hub.sweep()
    yield hub
    hub.close()


QUESTIONS = [
    "select count(*) from events",
    "select count(*) from drops where stage = 'loaded'",
    "select id, stage, faults from drops order by arrived_at desc, id limit 2",
    "select id from drops order by ended_at limit 3",
    "select length(name) as id from drops order by id limit 2",
    "select id as name from drops order by name desc limit 2",
    "select id, length(name) as n from drops order by n, id limit 2",
    "select distinct stage from drops limit 9",
    "select count(*) from (from drops limit 3)",
    "select count(*) from (from usage_current limit 4)",
    "select count(*) from (from usage_current limit 2 offset 3)",
    "select count(*) from (from intervals limit 500)",
    "select name from events where \"at\" >= '2013-09-03T10:05Z' and partner = 'cnp'",
    "select name from events where \"at\"::date = '2013-09-03' limit 1000",
    "select name, about from events where about like 'D1309%' or about is null",
    "select id from drops where name ilike '%.LSE' and not in_inbound and bytes in (21, 22, 5000)",
    "select id from drops where id in ('D130903-00001', 'D130903-00002', 'it''s ( AND')",
    "select id from drops where stage = 'refused' or blocks_loaded + 0 > 1",
    "select d.id, e.name from drops d join events e on e.about = d.id where d.stage = 'refused'",
    "select d.id, e.name from drops d left join events e on e.about = d.id and e.name = 'drop.refused'",
    "select (select max(id) from drops where stage = 'loaded'), (select min(id) from drops)",
    "select id from drops where arrived_at = (select max(arrived_at) from drops)",
    "select id from drops where arrived_at < now() - interval 1 day",
    "select id from drops where stage = 'refused' union all select id from drops where receipt_due",
    "with drops as (select 'mine' as id) select id from drops",
    "select edc, verdict from verdicts where usage_date >= '2013-09-01'",
    "select egs, name, blocks from outbound_files where sequence = 1",
    "select account, version from usage where usage_date = '2013-09-02'",
    "select account, version, wh_total from usage_current where usage_date between '2013-09-01' and '2013-09-02'",
    "select account, version from usage_current where account = 'A1' and year(usage_date) = 2013",
    "select account, version from usage_current where drop_id = 'D130903-00003' or account > 'A9'",
    "select account, version from usage_current where account in ('A1', 'C3') and edc <> 'ppl'",
    "select account, version from usage_current where version > 1",
    "select account, usage_date from usage_current where stamp = (select max(stamp) from usage_current)",
    "select account, version from usage_as_of('2013-09-03T10:12Z') where usage_date <= '2013-09-01'",
    "select sum(wh) from intervals where usage_date = '2013-09-01' and account = 'A1'",
    "select sum(wh), count(*) from intervals where start_utc >= '2013-09-02T20:00Z' and start_utc < '2013-09-03T06:00Z'",
    "select sum(wh), count(*) from intervals where start_local = '2013-09-02 00:00'",
    "select u.account, r.egs_duns from usage_current u join roster r using (edc, account) where usage_date = '2013-09-02'",
    "select a.account from usage_current a join usage b using (account, usage_date) where a.usage_date = '2013-09-02'",
    "from (select id, stage from drops) pivot (count(*) for stage in ('loaded', 'refused'))",
    "describe usage",
    "select column_name, count from (summarize select stage from drops)",
]  # fmt: skip


def _rows(hub: Hub, question: str, *, everything: bool) -> list[str]:
    wanted = scans.EVERYTHING if everything else scans.wanted(question)
    with views._opened(wanted, stores=hub.stores) as lake:
        return sorted(map(repr, lake.sql(question).to_arrow_table().to_pylist()))


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_as_if_everything_had_been_read(hub: Hub, question: str) -> None:
    answer = _rows(hub, question, everything=False)
    assert answer == _rows(hub, question, everything=True)


def _statements(hub: Hub, question: str) -> list[str]:
    """What the ledger is asked for an answer, on one line each."""
    sent: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        sent.append(" ".join(statement.replace('"', "").split()))

    event.listen(hub.stores.ledger.engine, "before_cursor_execute", note)
    try:
        with views.ask(question, stores=hub.stores) as answer:
            assert sum(len(batch) for batch in answer) > 0
    finally:
        event.remove(hub.stores.ledger.engine, "before_cursor_execute", note)
    return sent


@pytest.mark.parametrize(
    ("question", "asked"),
    [
        ("select name from events where about = 'D130903-00001'",
         "SELECT event.name, event.about FROM event WHERE event.about = ?"),
        ("select count(*) from events", "SELECT count(*) AS count_1 FROM event"),
        ("select id from drops order by arrived_at desc limit 2",
         "SELECT drop.id, drop.arrived_at AS arrived_at FROM drop ORDER BY drop.arrived_at DESC LIMIT ? OFFSET ?"),
        ("select version from usage_current where account = 'A1' and usage_date = '2013-09-02'",
         "SELECT lake_file.path FROM lake_file WHERE lake_file.kind = ? AND lake_file.account_low <= ? AND lake_file.account_high >= ? AND lake_file.usage_date = ? ORDER BY lake_file.usage_date, lake_file.id"),
    ],
)  # fmt: skip
def test_the_ledger_is_asked_for_what_is_wanted_and_no_more(hub: Hub, question: str, asked: str) -> None:
    tables = ("event", "drop ", "drop.", "lake_file")
    read = [said for said in _statements(hub, question) if any(f" {name}" in said for name in tables)]
    assert asked in read
    assert len(read) == (2 if "lake_file" in asked else 1)  # those files that hold later versions, too


@pytest.mark.parametrize(
    ("glance", "opened"), [("limit 2", 2), ("limit 1 offset 2", 4), ("limit 1000", 5), ("", 5)]
)
def test_a_glance_at_the_lake_opens_the_files_of_its_latest_days(hub: Hub, glance: str, opened: int) -> None:
    with views.ask(
        f"select len(getvariable('usage_files')) as n from usage_current {glance}", stores=hub.stores
    ) as answer:
        assert {n for batch in answer for n in batch["n"].to_pylist()} == {opened}


A, B = Compared("a", "=", ("x",)), Compared("b", ">=", (date(2013, 9, 2),))


@pytest.mark.parametrize(
    ("said", "read"),
    [
        ("(a = 'x')", A),
        ("((a = 'x') AND (b >= '2013-09-02'::DATE))", AllOf((A, B))),
        ("optional: ((a = 'x') OR (b >= '2013-09-02'::DATE))", AnyOf((A, B))),
        ("((a = 'x') AND (length(c) = 3))", AllOf((A,))),
        ("((a = 'x') OR (length(c) = 3))", None),
        ("(a = 'x') OR (b >= '2013-09-02'::DATE) AND (a = 'x')", None),
        ("(a IN ('x', 'it''s, (so)'))", Compared("a", "in", ("x", "it's, (so)"))),
        ("(a = -3)", Compared("a", "=", (-3,))),
        ("(a < '2013-09-02 10:00:00.5+00'::TIMESTAMP WITH TIME ZONE)",
         Compared("a", "<", (datetime(2013, 9, 2, 10, 0, 0, 500_000, tzinfo=UTC),))),
        ("(a = 'infinity'::DATE)", None),
        ("(a = NULL)", None),
        ("(a != 'x')", None),
        ("(NOT a)", None),
        ("(a IS NULL)", None),
        ("(CAST(a AS DOUBLE) > 1.5)", None),
        ("", None),
    ],
)  # fmt: skip
def test_what_the_planner_writes_is_read_and_what_is_not_understood_narrows_nothing(
    said: str, read: conditions.Condition | None
) -> None:
    assert conditions.read(said) == read


@pytest.mark.parametrize("said", ["((a = 'x') AND (length(c) = 3))", "optional: (a = 'x')"])
def test_a_condition_that_is_loosened_does_not_count_as_exact(said: str) -> None:
    assert conditions.read(said) is not None
    assert conditions.read(said, exactly=True) is None
