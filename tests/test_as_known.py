"""Promise 6: what was known at an instant can be asked for later, and the answer is the one that was given then."""

import json
import threading
from datetime import date, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from config.home import Home
from exchange import tonight
from hub_fixtures import CNP, LONG, Hub, morning
from jobs import pipeline
from jobs.clock import StandingClock
from jobs.stores import views
from jobs.stores.as_known import as_known
from jobs.stores.ledger import claims
from jobs.stores.ledger import loads as loads_of
from jobs.stores.opened import Stores
from jobs_fixtures import (
    BLUEBONNET,
    CHAMPION,
    KEYSTONE,
    STRANGER_DUNS,
    Cut,
    Row,
    interval_name,
    lse,
    send,
    send_sync,
)
from look_fixtures import Desk
from schemas import tables
from schemas.drop import Drop
from sync_fixtures import read

DAY = date(2013, 9, 2)
ACCOUNTS = ("A", "B", "C")
TABLES = (
    tables.drop, tables.load, tables.lake_file, tables.sync, tables.sync_part, tables.publication,
    tables.outbound_file, tables.held, tables.held_before, tables.collection, tables.verdict, tables.event,
)  # fmt: skip

loads = st.tuples(st.just("load"), st.sampled_from(ACCOUNTS), st.integers(1, 9), st.integers(1, 4))
rosters = st.tuples(
    st.just("sync"),
    st.lists(st.sampled_from([CHAMPION.duns, BLUEBONNET.duns, STRANGER_DUNS, ""]), min_size=3, max_size=3),
)
pauses = st.tuples(st.just("pause"), st.sampled_from([1, 20, 60 * 14]))
others = st.sampled_from([("collect",), ("parts",), ("bad",)])
nights = st.lists(st.one_of(loads, loads, rosters, pauses, pauses, others), min_size=4, max_size=7)


def do(hub: Hub, act: tuple[Any, ...], number: int) -> None:
    """One thing that happens, and whatever follows from it."""
    match act:
        case ("load", account, wh, hour):
            cut = Cut(account=account, day=DAY, wh=wh, stamp=f"201309030{hour}{number % 60:02}00")
            send(hub, cut)
        case ("sync", owners):
            send_sync(hub, [Row(account=one, duns=duns) for one, duns in zip(ACCOUNTS, owners, strict=True)])
        case ("parts",):
            send_sync(hub, [Row(account="A", meter=f"M{number}")], parts=2)
        case ("bad",):
            hub.upload(
                CNP.id, f"{CNP.duns}IntervalData20130903050000{number % 1000:03}.lse", b"no\n" * number
            )
        case ("collect",):
            for file in hub.files(CHAMPION.id)[-1:]:
                if file.state == "laid-out":
                    read(hub, CHAMPION, file.name)
        case ("pause", minutes):
            hub.on(minutes=minutes)
    hub.sweep()


def known(stores: Stores, now: datetime) -> str:
    """What is known: tonight, all that the ledger says, which readings count, and whose they are."""
    said: dict[str, Any] = {"tonight": tonight.as_json(tonight.look(stores=stores, now=now, day=DAY))}
    with stores.ledger.read() as tx:
        for table in TABLES:
            rows = tx.execute(select(table).order_by(*table.primary_key))
            said[table.name] = [row._asdict() for row in rows]
    for name in ("usage_current", "roster"):
        with views.ask(f"from {name} order by all", stores=stores) as answer:
            said[name] = [row for batch in answer for row in batch.to_pylist()]
    return json.dumps(said, default=str, indent=1)


@settings(max_examples=40 if LONG else 2)
@given(acts=nights)
def test_what_was_known_then_is_the_same_whenever_it_is_asked(acts: list[tuple[Any, ...]]) -> None:
    with TemporaryDirectory() as folder:
        hub = Hub(Home(Path(folder) / "hub"), morning(DAY), "[sync]\nbrake = 0.5\n")
        send_sync(hub, dict.fromkeys(ACCOUNTS, CHAMPION.duns))
        asked: dict[datetime, str] = {}
        for number, act in enumerate(acts, 1):
            hub.on(seconds=1)
            do(hub, act, number)
            asked[hub.now] = known(hub.stores, hub.now)
        hub.on(days=1)
        hub.sweep()
        for at, answer in asked.items():
            with as_known(hub.stores, at, now=hub.now) as then:
                assert known(then, at) == answer
        hub.end()


@pytest.fixture
def desk(hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return Desk(hub=hub, capsys=capsys, monkeypatch=monkeypatch)


def test_commands_tell_what_was_known_and_what_changed_since(desk: Desk) -> None:
    hub = desk.hub
    send_sync(hub, {"A": CHAMPION.duns, "B": KEYSTONE.duns})
    send(hub, Cut(account="A", day=DAY, wh=100), Cut(account="B", day=DAY, wh=100))
    hub.on(minutes=5)
    hub.sweep()
    before = hub.now
    hub.on(minutes=5)
    replacement = send(
        hub, Cut(account="A", day=DAY, wh=150, stamp="20130903090000"), Cut(account="C", day=DAY, wh=1)
    )
    send_sync(hub, {"A": CHAMPION.duns, "B": CHAMPION.duns})
    hub.on(minutes=20)
    then = before.isoformat()
    asked = desk.ask(
        "query",
        "--as-known-at",
        then,
        "select account, version, wh_total from usage_current order by all",
        "--json",
    )
    assert [tuple(row.values()) for row in asked.json] == [("A", 1, 9600), ("B", 1, 9600)]
    asked = desk.ask(
        "query", "--as-known-at", then, "select account, egs_duns from roster order by all", "--json"
    )
    assert asked.json[1] == {"account": "B", "egs_duns": KEYSTONE.duns}
    told = desk.ask("status", "--as-known-at", then, "--json")
    assert (told.code, told.json["at"]) == (0, "2013-09-03T10:05:00Z")
    assert told.json["edcs"][0]["first_versions"] == 2
    assert "As known at" in desk.ask("status", "--as-known-at", then).out
    changed = desk.ask("diff", "2013-09-02", "--from", then, "--to", hub.now.isoformat(), "--json").json
    assert [(row["account"], row["version_before"], row["version_after"], row["kwh_change"]) for row in changed] == [
        ("A", 1, 2, "4.800"), ("C", None, 1, "0.096"),
    ]  # fmt: skip
    assert {row["drop_after"] for row in changed} == {replacement.id}
    assert (
        "2 blocks changed, by 1 drop: +4.896 kWh in all."
        in desk.ask("diff", "2013-09-02", "--from", then, "--to", hub.now.isoformat()).out
    )
    assert desk.ask("diff", "2013-09-02", "--from", then, "--json").json == changed  # until now
    assert desk.ask("diff", "2013-09-02", "--from", then, "--to", then).out == "Nothing changed.\n"
    told = desk.ask("diff", "2013-09-05", "--from", then, "--to", then)
    assert (told.code, "there is something of 2013-09-02" in told.err) == (3, True)


def test_an_instant_to_come_cannot_be_asked_for(desk: Desk) -> None:
    later = (desk.hub.now + timedelta(hours=1)).isoformat()
    for words in (("status",), ("query", "from drops")):
        told = desk.ask(*words, "--as-known-at", later)
        assert told.code == 1
        assert "is still to come" in told.err
    assert desk.ask("status", "--as-known-at", "yesterday").code == 2
    assert desk.ask("diff", "2013-09-02", "--from", later, "--to", desk.hub.now.isoformat()).code == 2


def test_an_instant_that_is_hardly_over_waits_for_what_began_before_it(hub: Hub) -> None:
    """A load says the instant at which it began to be committed; it may end after somebody asks."""
    send_sync(hub, {"A": CHAMPION.duns})
    drop = hub.arrive(CNP.id, interval_name(hub), lse([Cut(account="A", day=DAY)]))
    asked_at = hub.now + timedelta(seconds=1)
    found: list[int] = []
    begun = threading.Event()

    def ask() -> None:
        begun.set()
        with as_known(hub.stores, asked_at, now=asked_at) as then, then.ledger.read() as tx:
            found.append(len(loads_of.paths(tx, kind="usage")))

    with claims.claimed(hub.stores.ledger, f"drop:{drop.id}", owner=hub.stores.owner, now=hub.now):
        asking = threading.Thread(target=ask)
        asking.start()
        begun.wait()
        load(hub, drop)
        assert found == []
    asking.join()
    assert found == [1]


def load(hub: Hub, drop: Drop) -> None:
    """The load itself, under a claim that is held."""
    edc = hub.partner(CNP.id)
    clock = StandingClock(hub.now)
    drop, parsing = pipeline.take_in(drop, edc, stores=hub.stores, clock=clock)
    pipeline.load(drop, parsing, edc, stores=hub.stores, clock=clock)
