"""The ledger: its tables and migrations, what its rows must never be, its words, and who waits for whom."""

import ast
import inspect
import itertools
import re
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import func, insert, select, text, update
from sqlalchemy.exc import IntegrityError, StatementError

from config.home import Home
from hub_fixtures import CNP, PATIENCE, Hub, morning
from interruption_fixtures import FORKS
from jobs import pipeline
from jobs.stores import ledger as ledger_store
from jobs.stores.ledger import Ledger, drops, events
from jobs_fixtures import CHAMPION, Cut, interval_name, send, send_sync
from schemas import tables
from schemas.drop import ENDED, IN_INBOUND, LIFE, UNDER_WAY, IllegalMoveError, Outcome, Stage, check_move
from schemas.event import EVENTS

ROOT = Path(__file__).resolve().parent.parent
DAY = date(2013, 9, 2)
NOW = morning(DAY)
NONE = "\N{EN DASH}"  # in the table of the way


# ── tables ───────────────────────────────────────────────────────────────────────────────────────


def test_the_migrations_build_the_tables_to_the_letter(tmp_path: Path) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    assert ledger.migrate()
    with ledger.read() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, tables.metadata) == []
    assert not ledger.migrate()
    built = _definitions(tmp_path / "ledger.sqlite")
    meant = tmp_path / "meant.sqlite"
    other = Ledger(f"sqlite:///{meant}")
    with other.write() as tx:
        tables.metadata.create_all(tx)
    assert built == _definitions(meant)  # constraints and partial indexes too
    ledger.close()
    other.close()


def _definitions(file: Path) -> dict[str, list[str]]:
    """Of each table and index the words it is defined by; the order of constraints says nothing."""
    sql = sqlite3.connect(file)
    rows = sql.execute("select name, sql from sqlite_master where sql is not null").fetchall()
    sql.close()
    return {
        name: sorted(re.findall(r"[\w'-]+|[^\s\w]", said)) for name, said in rows if name != "alembic_version"
    }


@pytest.mark.parametrize("version", ["0001", "0002"])
def test_a_ledger_of_an_earlier_release_comes_up_with_its_rows(tmp_path: Path, version: str) -> None:
    ledger = Ledger(f"sqlite:///{tmp_path}/ledger.sqlite")
    config = Config()
    config.set_main_option("script_location", str(ROOT / "schemas" / "migrations"))
    with ledger.write() as tx:
        config.attributes["connection"] = tx
        command.upgrade(config, version)
        for statement in _OF_A_RELEASE.split(";"):
            tx.exec_driver_sql(statement)
    assert ledger.migrate()
    assert _definitions(tmp_path / "ledger.sqlite").keys() >= {"uq_held_open", "ix_held_block"}
    block = {"edc": "cnp", "lake_file_id": 1, "account": "A", "channel": "4", "since": NOW}
    with ledger.write() as tx:
        held, before = tables.held, tables.held_before
        rows = tx.execute(select(held.c.id, held.c.reason, held.c.release).order_by(held.c.id)).all()
        assert rows == [(3, "suspense", "P130903-00001"), (7, "late", "")]
        assert tx.execute(select(before.c.held_id, before.c.reason)).all() == [(7, "unclaimed")]
        assert tx.execute(select(tables.drop.c.id, tables.drop.c.blocks_outranked)).all() == [("D1", 0)]
        assert tx.exec_driver_sql("pragma foreign_key_check").all() == []
        tx.execute(insert(held).values(block | {"reason": "unfetched"}))  # again, the first being over
        assert tx.execute(select(func.max(held.c.id))).scalar_one() == 8
        tx.execute(insert(held).values(block | {"account": "C", "reason": "nobody"}))
    with pytest.raises(IntegrityError), ledger.write() as tx:
        tx.execute(insert(held).values(block | {"reason": "unfetched"}))  # once at a time
    with ledger.write() as tx:
        config.attributes["connection"] = tx
        command.downgrade(config, "0002")
        assert tx.execute(select(held.c.id).order_by(held.c.id)).scalars().all() == [3, 7, 8]
        command.downgrade(config, "0001")
        assert tx.execute(select(held.c.id).order_by(held.c.id)).scalars().all() == [3, 7]
    ledger.close()


_OF_A_RELEASE = """
insert into "drop" (id, partner, name, stage, arrived_at, bytes, in_inbound, kind, sha256, receipt_due,
    duplicate_of, sync_id, usage_days, blocks_loaded, blocks_late, blocks_replacing, blocks_unchanged,
    blocks_rejected, intervals_loaded, rows_loaded, suspense, faults, faults_total, checked, shorts)
    values ('D1', 'cnp', 'f', 'loaded', '2013', 1, 0, '', '', 0, '', '', '[]', 2, 0, 0, 0, 0, 192, 0, 0, '[]', 0,
    '[]', '[]');
insert into load (seq, drop_id, edc, loaded_at) values (1, 'D1', 'cnp', '2013');
insert into lake_file (id, load_seq, drop_id, edc, usage_date, kind, path, rows, first_versions, late,
    account_low, account_high, version_low, version_high, bytes, sha256)
    values (1, 1, 'D1', 'cnp', '2013-09-02', 'usage', 'p', 2, 2, 0, 'A', 'B', 1, 1, 9, '');
insert into sync (id, edc, as_of, parts, state, began_at, path, sha256, rows, accounts, due, moved, share_moved, why)
    values ('S1', 'cnp', '2013-09-03', 1, 'in-force', '2013', '', '', 0, 0, 0, 0, 0, '');
insert into publication (id, edc, sync_id, at, after_seq, through_seq, files, blocks, laid_out, replaces)
    values ('P130903-00001', 'cnp', 'S1', '2013', 0, 1, 0, 0, 1, '');
insert into held (id, edc, lake_file_id, account, channel, reason, egs_duns, since, released_at, "release")
    values (3, 'cnp', 1, 'A', '4', 'suspense', '', '2013', '2013', 'P130903-00001'),
    (7, 'cnp', 1, 'B', '4', 'late', '', '2013', null, '');
insert into held_before (id, held_id, reason, egs_duns, publication_id)
    values (1, 7, 'unclaimed', '9', 'P130903-00001')
"""


def test_the_newest_migration_is_the_one_that_the_ledger_asks_for() -> None:
    config = Config()
    config.set_main_option("script_location", str(ROOT / "schemas" / "migrations"))
    assert ScriptDirectory.from_config(config).get_heads() == [ledger_store.HEAD]


def _open(root: Path, start: Any) -> None:
    start.wait()
    ledger = Ledger(f"sqlite:///{root}/ledger.sqlite")
    ledger.migrate()
    with ledger.read() as tx:
        tx.execute(select(tables.drop)).all()
    ledger.close()


def test_processes_that_open_a_new_ledger_at_once_build_it_once(tmp_path: Path) -> None:
    start = FORKS.Barrier(4)
    children = [FORKS.Process(target=_open, args=(tmp_path, start)) for _ in range(4)]
    for child in children:
        child.start()
    for child in children:
        child.join(PATIENCE)
    assert [child.exitcode for child in children] == [0] * 4


def test_sqlite_writes_ahead_and_waits_for_the_disk(hub: Hub) -> None:
    with hub.stores.ledger.read() as tx:
        pragmas = [tx.execute(text(f"pragma {name}")).scalar_one() for name in
                   ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")]  # fmt: skip
    assert pragmas == ["wal", 2, 1, 60_000]


def test_a_reader_never_waits_for_the_writer_nor_sees_what_is_not_committed(hub: Hub) -> None:
    drop = hub.arrive(CNP.id, interval_name(hub), b"")
    with hub.stores.ledger.write() as writing:
        drops.note(writing, drop.id, suspense=7)
        with hub.stores.ledger.read() as reading:
            assert drops.get(reading, drop.id).suspense == 0
    with hub.stores.ledger.read() as reading:
        before = drops.get(reading, drop.id)
        with hub.stores.ledger.write() as writing:  # nor does the writer wait for a reader
            drops.note(writing, drop.id, suspense=8)
        assert drops.get(reading, drop.id) == before  # which sees one state to its end
    assert hub.drop(drop.id).suspense == 8


def test_writers_wait_for_each_other_and_lose_nothing(hub: Hub) -> None:
    drop = hub.arrive(CNP.id, interval_name(hub), b"")

    def count() -> None:
        for _ in range(25):
            with hub.stores.ledger.write() as tx:
                drops.note(tx, drop.id, suspense=drops.get(tx, drop.id).suspense + 1)

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hub.drop(drop.id).suspense == 100


def test_a_transaction_that_raises_changes_nothing_and_logs_nothing(hub: Hub) -> None:
    drop = hub.arrive(CNP.id, interval_name(hub), b"")
    lines = len(hub.log())
    with pytest.raises(IllegalMoveError), hub.stores.ledger.write() as tx:  # noqa: PT012 - the first is undone
        drops.move(tx, drop, Stage.RECEIVED, at=hub.now, say={"sha256": "", "bytes": 0})
        drops.move(tx, drop, Stage.LOADED, at=hub.now, say={})
    assert hub.drop(drop.id) == drop
    assert len(hub.log()) == lines
    assert [event["name"] for event in hub.events(about=drop.id)] == ["drop.arrived"]


def test_what_must_never_be_the_tables_refuse(hub: Hub) -> None:
    send_sync(hub, {"A": CHAMPION.duns})
    drop = send(hub, Cut(account="A", day=DAY))
    hub.sweep()
    with hub.stores.ledger.read() as tx:
        load = tx.execute(select(tables.load)).mappings().one()
        sync = dict(tx.execute(select(tables.sync)).mappings().one())
        file = dict(tx.execute(select(tables.outbound_file)).mappings().one())
        held = dict(tx.execute(select(tables.lake_file)).mappings().one())
    refused: list[Any] = [
        insert(tables.load).values(drop_id=drop.id, edc=CNP.id, loaded_at=hub.now),  # loaded twice
        insert(tables.load).values(drop_id="D000000-00000", edc=CNP.id, loaded_at=hub.now),  # of no drop
        insert(tables.sync).values(**sync | {"id": "S1"}),  # two in force
        insert(tables.outbound_file).values(**file | {"id": 99, "name": "other"}),  # a number twice
        insert(tables.outbound_file).values(**file | {"id": 99, "sequence": 2}),  # a name twice
        insert(tables.lake_file).values(**held | {"id": 99}),
        update(tables.outbound_file).values(state="lost"),
        update(tables.sync).values(state="perhaps"),
        update(tables.lake_file).values(account_low="B"),  # above account_high
        update(tables.drop).values(stage="arrived"),  # with an outcome
        insert(tables.claim).values([{"key": "k", "owner": "a", "since": hub.now}] * 2),
    ]
    for statement in refused:
        with pytest.raises(IntegrityError), hub.stores.ledger.write() as tx:
            tx.execute(statement)
    assert load["seq"] == 1


def test_an_instant_without_a_zone_is_refused(hub: Hub) -> None:
    with pytest.raises(StatementError, match="time zone"), hub.stores.ledger.write() as tx:
        tx.execute(update(tables.drop).values(arrived_at=hub.now.replace(tzinfo=None)))


def test_instants_sort_as_text(hub: Hub) -> None:
    kind = tables.Instant()
    instants = [hub.now + timedelta(microseconds=k) for k in (0, 1, 999_999, 1_000_000, 10**9, 10**14)]
    written = [kind.process_bind_param(at, hub.stores.ledger.engine.dialect) for at in instants]
    assert written == sorted(written)
    assert [kind.process_result_value(said, hub.stores.ledger.engine.dialect) for said in written] == instants


# ── the life of a drop ───────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(("was", "to"), list(itertools.product(Stage, Stage)))
def test_a_drop_moves_as_its_life_allows_or_not_at_all(hub_of_stages: Hub, was: Stage, to: Stage) -> None:
    hub = hub_of_stages
    name = f"{was}-{to}"
    with hub.stores.ledger.write() as tx:
        drop = drops.begin(tx, partner=CNP.id, name=name, stage=Stage.ARRIVED, at=hub.now, size=0)
        tx.execute(update(tables.drop).where(tables.drop.c.id == drop.id).values(stage=str(was)))
        drop = drops.get(tx, drop.id)
    say = dict.fromkeys(EVENTS[f"drop.{to}"].fields, "x")
    if to in LIFE[was].next:
        check_move(drop.id, was, to)
        with hub.stores.ledger.write() as tx:
            moved = drops.move(tx, drop, to, at=hub.now, say=say)
        assert (moved.stage, moved.ended_at) == (to, hub.now if to in ENDED else None)
        return
    with pytest.raises(IllegalMoveError, match=f"{drop.id} is {was} and cannot become {to}"):
        check_move(drop.id, was, to)
    with pytest.raises(IllegalMoveError), hub.stores.ledger.write() as tx:
        drops.move(tx, drop, to, at=hub.now, say=say)
    assert hub.drop(drop.id) == drop
    assert [event["name"] for event in hub.events(about=drop.id)] == ["drop.arrived"]


@pytest.fixture(scope="module")
def hub_of_stages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    hub = Hub(Home(tmp_path_factory.mktemp("stages") / "hub"), NOW)
    yield hub
    hub.end()


def test_every_stage_is_reached_and_every_end_is_one() -> None:
    reached = {Stage.INCOMPLETE, Stage.MISNAMED, Stage.ARRIVED}  # where a drop can begin
    for _ in Stage:
        reached |= {to for stage in reached for to in LIFE[stage].next}
    assert reached == set(LIFE) == set(Stage)
    assert {Stage.LOADED, Stage.REFUSED, Stage.DUPLICATE, Stage.DISCARDED} == ENDED
    assert {Stage.ARRIVED, Stage.RECEIVED, Stage.ACCEPTED} == UNDER_WAY
    assert not IN_INBOUND & ENDED


def test_a_stage_is_changed_by_a_move_only(hub: Hub) -> None:
    drop = hub.arrive(CNP.id, interval_name(hub), b"")
    with pytest.raises(ValueError, match="by move"), hub.stores.ledger.write() as tx:
        drops.note(tx, drop.id, stage="loaded")


def test_the_hundred_thousandth_drop_of_a_day_and_the_next_have_numbers_of_their_own(hub: Hub) -> None:
    with hub.stores.ledger.write() as tx:
        first = drops.begin(tx, partner=CNP.id, name="a", stage=Stage.ARRIVED, at=hub.now, size=0)
        drops.put(tx, replace(first, id=f"{first.id[:-5]}99999", name="b"))
        ids = [
            drops.begin(tx, partner=CNP.id, name=name, stage=Stage.ARRIVED, at=hub.now, size=0).id
            for name in ("c", "d", "e")
        ]
    assert [one.rpartition("-")[2] for one in (first.id, *ids)] == ["00001", "100000", "100001", "100002"]


def test_who_was_quicker_is_not_overruled(hub: Hub) -> None:
    drop = hub.arrive(CNP.id, interval_name(hub), b"x")
    hub.schedule.wake(drop.id)
    with pytest.raises(IllegalMoveError), hub.stores.ledger.write() as tx:
        drops.move(tx, drop, Stage.RECEIVED, at=hub.now, say={})
    assert hub.drop(drop.id).outcome is Outcome.REJECTED


# ── the way of a drop ────────────────────────────────────────────────────────────────────────────


def rows_of_the_way() -> list[list[str]]:
    """The rows of the first table in jobs/README.md."""
    lines = (ROOT / "jobs" / "README.md").read_text(encoding="utf-8").splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    table = list(itertools.takewhile(lambda line: line.startswith("|"), lines[first:]))
    head, rule, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in table)
    assert head == ["step", "who causes it", "reads", "writes", "next", "event"]
    assert set("".join(rule)) <= set("-: ")
    return rows


def test_the_way_of_a_drop_is_told_as_it_is_gone() -> None:
    rows = rows_of_the_way()
    assert [row[0] for row in rows] == [step.__name__ for step in pipeline.WAY]
    for step in pipeline.WAY:
        assert step.__module__ == f"jobs.steps.{step.__name__}"
    stages = [row[4] for row in rows if row[4] != NONE]
    assert [Stage(stage) for stage in stages] == [Stage.RECEIVED, Stage.ACCEPTED, Stage.LOADED]
    for step, *_, following, event in rows:
        assert event in EVENTS or event == NONE, step
        if following != NONE:
            assert event == f"drop.{following}"


def test_each_step_is_one_file_with_one_public_function_of_its_name() -> None:
    for step in pipeline.WAY:
        file = inspect.getsourcefile(step)  # a module of its name, or the package
        assert file is not None
        module = ast.parse(Path(file).read_text(encoding="utf-8"))
        public = [
            node.name for node in module.body if isinstance(node, ast.FunctionDef) and node.name[0] != "_"
        ]
        assert step.__name__ in public
    steps = ROOT / "jobs" / "steps"
    named = {path.stem for path in steps.glob("*.py")} | {
        path.parent.name for path in steps.glob("*/__init__.py")
    }
    named -= {"__init__"}
    told = set(
        re.findall(r"\(steps/(\w+)(?:\.py|/)\)", (ROOT / "jobs" / "README.md").read_text(encoding="utf-8"))
    )
    assert named == told | {step.__name__ for step in pipeline.WAY}


# ── the vocabulary ───────────────────────────────────────────────────────────────────────────────


def modules() -> Iterator[tuple[str, ast.Module]]:
    for package in ("exchange", "jobs", "config"):
        for path in sorted((ROOT / package).rglob("*.py")):
            yield str(path.relative_to(ROOT)), ast.parse(path.read_text(encoding="utf-8"))


def words_of(node: ast.expr) -> list[str]:
    """The words that an expression can be."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.IfExp):
        return words_of(node.body) + words_of(node.orelse)
    return []


def emitted() -> Iterator[tuple[str, str]]:
    """Where an event is recorded or logged under a word that stands there."""
    for path, module in modules():
        for call in (node for node in ast.walk(module) if isinstance(node, ast.Call)):
            name = call.func.attr if isinstance(call.func, ast.Attribute) else ""
            owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
            said: list[ast.expr] = [word.value for word in call.keywords if word.arg == "event"]
            if name == "record" and len(call.args) > 1:
                said.append(call.args[1])
            elif name in {"info", "warning", "error", "exception"} and owner.split(".")[-1].endswith("log"):
                said.append(call.args[0])
            for word in (word for expression in said for word in words_of(expression)):
                yield f"{path}:{call.lineno}", word


def test_every_event_that_is_emitted_is_in_the_vocabulary() -> None:
    assert [(where, word) for where, word in emitted() if word not in EVENTS] == []


def test_every_event_of_the_vocabulary_is_emitted() -> None:
    words = {word for _, word in emitted()} | {f"drop.{stage}" for stage in Stage}
    constants = {
        node.value
        for _, module in modules()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    assert set(EVENTS) - words - constants == set()
    assert all(re.fullmatch(r"[a-z]+\.[a-z]+(_[a-z]+)*", name) for name in EVENTS)
    assert all(event.meaning for event in EVENTS.values())


def test_an_event_of_no_vocabulary_is_refused(hub: Hub) -> None:
    with pytest.raises(ValueError, match="no such event"), hub.stores.ledger.write() as tx:
        events.record(tx, "drop.eaten", at=hub.now)


def test_each_stage_has_its_event() -> None:
    assert {f"drop.{stage}" for stage in Stage} <= set(EVENTS)
