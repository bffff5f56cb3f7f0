"""The chain of events: what was changed, taken out, put in or cut off is found, and where; and heads that were kept."""

import contextlib
import hashlib
import json
import re
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.home import Home
from hub_fixtures import CNP, Hub, morning
from jobs.proofs import known
from jobs.steps import publish
from jobs.stores.ledger import Ledger, events
from jobs.stores.ledger.events import Head, Link
from jobs_fixtures import CHAMPION, Cut, send, send_sync
from look_fixtures import DAY, Desk


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Hub:
    """A home after a small night, at rest."""
    hub = Hub(Home(tmp_path_factory.mktemp("chain") / "hub"), morning(DAY))
    send_sync(hub, {"A": CHAMPION.duns})
    send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    hub.close()
    return hub


@pytest.fixture
def desk(
    template: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Desk]:
    """A copy of it."""
    shutil.copytree(template.home.root, tmp_path / "home")
    hub = Hub(Home(tmp_path / "home"), template.now, fresh=False)
    yield Desk(hub, capsys, monkeypatch)
    hub.close()


def _sql(hub: Hub, *statements: str) -> None:
    with contextlib.closing(sqlite3.connect(hub.home.ledger_file, timeout=30)) as ledger:
        for statement in statements:
            ledger.execute(statement)
        ledger.commit()


def _wrong(desk: Desk, *words: str) -> list[tuple[str, str]]:
    """Check and place of each finding of a quick look."""
    said = desk.ask("verify", "--quick", "--json", *words)
    found = [(one["check"], one["where"]) for one in said.json["findings"]]
    assert said.code == (1 if found else 0)
    return found


def _rehash(hub: Hub) -> None:
    """What somebody does who knows how the chain is made: every hash from the first event on, made anew."""
    with hub.stores.ledger.read() as tx:
        links = list(events.links(tx))
    before = ""
    with contextlib.closing(sqlite3.connect(hub.home.ledger_file, timeout=30)) as ledger:
        for link in links:
            before = link.hash_after(before)
            ledger.execute("update event set hash = ? where id = ?", (before, link.id))
        ledger.commit()


def test_the_chain_of_a_night_is_whole(desk: Desk) -> None:
    assert _wrong(desk) == []


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ("update event set at = '2013-09-01T00:00:00.000000Z' where id = 7", {"event 7"}),
        ("update event set partner = 'ppl' where id = 7", {"event 7"}),
        ("update event set details = json_set(details, '$.more', 1) where id = 7", {"event 7"}),
        ("update event set hash = hex(zeroblob(32)) where id = 7", {"event 7", "event 8"}),
        ("delete from event where id = 7", {"event 8"}),
        ("delete from event where id between 7 and 9", {"event 10"}),
        ("delete from event where id = 1", {"event 2"}),
    ],
)
def test_an_event_that_was_changed_or_taken_out_is_found_where_it_was(
    desk: Desk, change: str, found: set[str]
) -> None:
    _sql(desk.hub, change)
    assert {where for check, where in _wrong(desk) if check == "chain"} == found


def test_an_event_that_was_put_in_is_found(desk: Desk) -> None:
    _sql(
        desk.hub,
        "update event set id = -id where id >= 7",
        "update event set id = 1 - id where id < 0",
        "insert into event (id, at, name, partner, about, details, hash) "
        "select 7, at, name, partner, about, details, hash from event where id = 6",
    )
    assert ("chain", "event 7") in _wrong(desk)


def test_events_whose_hashes_were_all_made_anew_are_found_by_a_head_that_was_kept(desk: Desk) -> None:
    kept = desk.ask("verify", "--head").out.strip()
    send(desk.hub, Cut(account="A", day=DAY, wh=7, stamp="20130903101010"))
    assert _wrong(desk, "--expect", kept) == []
    # of what no row tells again
    _sql(desk.hub, "update event set at = '2013-09-03T09:00:00.000000Z' where name = 'circumstances.noted'")
    _rehash(desk.hub)
    assert _wrong(desk) == [("chain", _of_log(desk.hub))]  # by the head that is in the log
    for log in desk.hub.home.logs.glob("*.jsonl"):
        log.write_text("")
    assert _wrong(desk) == []
    assert _wrong(desk, "--expect", kept) == [("chain", f"event {kept.partition(':')[0]}")]


def _of_log(hub: Hub) -> str:
    (sealed,) = hub.events("chain.sealed")
    return f"event {sealed['details']['through']}"


def test_newest_events_that_were_cut_off_are_found_by_a_head_that_was_kept(desk: Desk) -> None:
    kept = desk.ask("verify", "--head").out.strip()
    number = int(kept.partition(":")[0])
    _sql(desk.hub, f"delete from event where id = {number}")
    assert ("chain", f"event {number}") in _wrong(desk, "--expect", kept)
    assert ("chain", f"event {number}") not in _wrong(desk)


def test_a_head_that_is_none_is_usage(desk: Desk) -> None:
    assert desk.ask("verify", "--expect", "7:abc").code == 2


def test_the_hash_of_an_event_can_be_taken_by_hand(desk: Desk) -> None:
    with desk.hub.stores.ledger.read() as tx:
        first, second, *_ = events.links(tx)
    assert first.hash == first.hash_after("")
    assert second == Link(
        2, second.at, second.name, second.partner, second.about, second.details, second.hash
    )
    assert second.hash_after(first.hash) == second.hash


def test_a_transaction_that_is_undone_leaves_the_chain_whole(desk: Desk) -> None:
    hub = desk.hub
    with contextlib.suppress(RuntimeError), hub.stores.ledger.write() as tx:
        events.record(tx, "drop.arrived", at=hub.now, about="D130903-00077", name="x")
        raise RuntimeError
    with hub.stores.ledger.write() as tx:
        events.record(tx, "doors.closed", at=hub.now, sessions=0, late=[])
        events.record(tx, "doors.closed", at=hub.now, sessions=0, late=[])
    assert _wrong(desk) == []


def test_writers_at_once_lengthen_one_chain(tmp_path: Path, hub: Hub) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    ledger.migrate()

    def write() -> None:
        for _ in range(25):
            with ledger.write() as tx:
                events.record(tx, "doors.closed", at=hub.now, sessions=0, late=[])

    writers = [threading.Thread(target=write) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = known.read(ledger, expected={}, whole=True)
    assert (found.head.id, found.broken) == (100, ())
    ledger.close()


def test_each_utc_day_the_head_is_logged_once_and_what_was_changed_is_noted_at_once(hub: Hub) -> None:
    hub.sweep()
    noted = {event["about"] for event in hub.events("config.noted")}
    assert {"config/meterhub.toml", f"config/partners/{CNP.id}.toml"} <= noted
    for _ in range(3):
        hub.on(hours=6)
        hub.sweep()
    hub.add_partner((hub.home.partners / "cnp.toml").read_text() + "# looked through\n", "cnp")
    hub.remove_partner("keystone")
    hub.sweep()
    heads = [line for line in hub.log() if line["event"] == "chain.sealed"]
    assert len(heads) == 2
    with hub.stores.ledger.read() as tx:
        by_number = {link.id: link.hash for link in events.links(tx)}
    assert all(by_number.get(line["through"], "") == line["head"] for line in heads)
    changed = [(event["about"], bool(event["details"]["sha256"])) for event in hub.events("config.noted")]
    assert changed[len(noted) :] == [
        ("config/partners/cnp.toml", True),
        ("config/partners/keystone.toml", False),
    ]


def test_logs_that_are_over_are_sealed_and_one_that_goes_is_said_to_have_gone(hub: Hub) -> None:
    names = [f"meterhub.2913-08-0{day}.jsonl" for day in (1, 2, 3)]  # behind the machine's own days
    for name in names:
        (hub.home.logs / name).write_text('{"event": "hub.started"}\n')
    hub.sweep()
    hub.on(days=1)
    (hub.home.logs / names[0]).unlink()
    hub.sweep()
    first, second = (event["details"]["logs"] for event in hub.events("chain.sealed"))
    assert [name for name in names if first.get(name)] == names[:1]  # the others may be written to still
    assert {name: said for name, said in second.items() if name in names} == {names[0]: ""}


def test_heads_read_as_they_are_printed() -> None:
    assert str(Head(7, "ab")) == "7:ab"
    assert re.fullmatch(r"\d+:[0-9a-f]{64}", str(Head(7, "a" * 64)))
    assert json.loads(json.dumps(str(Head(1, "")))) == "1:"


# ── many rows, bound by one event ──────────────────────────────────────────────────────────────────


def _holding(desk: Desk) -> Hub:
    """Two blocks are held, and given up by two publications of one instant, as older hubs did."""
    hub = desk.hub
    send(hub, Cut(account="N", day=DAY), Cut(account="M", day=DAY), Cut(account="L", day=DAY))
    for nobodys in ([], ["N"], ["N", "M"]):
        hub.on(minutes=10 if nobodys == ["N"] else 0)
        send_sync(hub, {"A": CHAMPION.duns} | dict.fromkeys(nobodys, ""))
        publish.publish(hub.partner(CNP.id), stores=hub.stores, now=hub.now, holds_nobodys=False)
    return hub


def _told(hub: Hub) -> list[tuple[int, dict[str, str]]]:
    with hub.stores.ledger.read() as tx:
        return [
            (link.id, json.loads(link.details)) for link in events.links(tx) if link.name == "blocks.held"
        ]


def test_rows_of_one_event_are_bound_in_any_order_and_none_can_be_changed_or_exchanged(desk: Desk) -> None:
    hub = _holding(desk)
    assert [details["given_up"].partition(":")[0] for _, details in _told(hub)] == ["0", "1", "2"]
    assert _wrong(desk) == []
    _sql(
        hub,
        "update held set account = case account when 'N' then 'M' else 'N' end || 'x' where account <> 'L'",
    )
    _sql(
        hub, "update held set account = replace(account, 'x', '')"
    )  # each has the other's place, and all stands
    assert _wrong(desk) == []
    _sql(hub, "update held set release = 'for no reason' where account = 'N'")
    assert [where.partition(" ")[0] for _, where in _wrong(desk)] == ["held:"]


def test_a_ledger_that_has_sums_of_hashes_from_before_is_held_to_them(desk: Desk) -> None:
    hub = _holding(desk)
    with contextlib.closing(sqlite3.connect(hub.home.ledger_file, timeout=30)) as ledger:
        rows = ledger.execute(
            "select lake_file_id, account, channel, reason, egs_duns, release from held"
        ).fetchall()
        held = [row[:5] for row in rows]
        given_up = {row[1]: (*row[:3], row[5]) for row in rows if row[5]}
        said = [[held, []], [[], [given_up["N"]]], [[], [given_up["M"]]]]
        for (number, details), (one, other) in zip(_told(hub), said, strict=True):
            as_before = {
                "held": _sum(one),
                "given_free": _sum([]),
                "given_up": _sum(other),
                "reheld": _sum([]),
            }
            ledger.execute(
                "update event set details = ? where id = ?", (json.dumps(details | as_before), number)
            )
        ledger.commit()
    _rehash(hub)
    assert _wrong(desk) == []
    _sql(hub, "update held set egs_duns = '1' where account = 'L'")
    assert [where.partition(" ")[0] for _, where in _wrong(desk)] == ["held:"]


def _sum(rows: list[tuple[object, ...]]) -> str:
    """How the first release tallied rows."""
    hashes = [hashlib.sha256("\n".join(map(str, row)).encode()).digest() for row in rows]
    return f"{len(rows)}:{sum(map(int.from_bytes, hashes)) % (1 << 256):064x}"
