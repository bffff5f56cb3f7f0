"""The load of a day, done again: of each EDC what was received, loaded, published and judged from one
deadline to the next, in a scratch home, and held to what there is.
"""

import multiprocessing
import secrets
import shutil
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import structlog
from sqlalchemy import Connection, func, select

from jobs import executor
from jobs.replay import compare, held_then, hold, load, scratch
from jobs.replay.acts import Act, Judge, Load, Publish, Recorded, Row, Settle
from jobs.replay.compare import Difference
from jobs.replay.doing import World, do
from jobs.replay.load import Task, Turns
from jobs.replay.scratch import Place
from jobs.replay.window import Replayed, Window
from jobs.stores import circumstances
from jobs.stores.ledger.history import Wanted
from jobs.stores.opened import Stores
from schemas import tables

_FEW = 2  # loads that are done in this process; for more, it is worth starting others


Told = Callable[[int, int], None]  # acts that are done, of how many


def replay(
    found: Sequence[Window], *, stores: Stores, keep: Path | None = None, told: Told = lambda _done, _of: None
) -> list[Replayed]:
    """Do the windows again, side by side, and hold what comes of it to what there is."""
    root = keep or stores.home.staging / f"replay-{secrets.token_hex(4)}"
    places = {window.edc.id: Place(root / window.edc.id, stores.archive.root) for window in found}
    total, done = sum(len(window.acts) + 1 for window in found), Counter[str]()

    def one_done() -> None:
        done["acts"] += 1
        told(done["acts"], total)

    try:
        scratch.make_empty(root / "empty.sqlite")
        with _silence(), _workers(found, places, stores) as (pool, turns), ThreadPoolExecutor() as drivers:
            begun = [
                drivers.submit(_replay, window, places[window.edc.id], stores, pool, turns, one_done)
                for window in found
            ]
            return [one.result() for one in begun]
    finally:
        scratch.forget(root)
        (root / "empty.sqlite").unlink(missing_ok=True)
        if keep is None:
            shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _silence() -> Iterator[None]:
    before = structlog.get_config()
    compare.be_silent()
    try:
        yield
    finally:
        structlog.configure(**before)


@contextmanager
def _workers(
    found: Sequence[Window], places: Mapping[str, Place], stores: Stores
) -> Iterator[tuple[Executor, Mapping[str, Turns]]]:
    """Where loads are done, and the turns of each EDC."""
    context = multiprocessing.get_context("forkserver")
    turns = {
        str(places[window.edc.id].root): Turns(context.Condition(), context.Value("q", 0)) for window in found
    }
    loads = sum(isinstance(act, Load) for window in found for act in window.acts)
    load.lend(turns)
    if loads <= _FEW or executor.workers(stores.settings) == 1:
        yield executor.Inline(), turns
        return
    settings = replace(stores.settings, executor="local")
    with executor.make_executor(settings, prepare=load.prepare, given=(turns,)) as pool:
        yield pool, turns


def _replay(
    window: Window,
    place: Place,
    stores: Stores,
    pool: Executor,
    turns: Mapping[str, Turns],
    one_done: Callable[[], None],
) -> Replayed:
    replayed = Replayed(edc=window.edc.id, day=window.day, begin=window.begin, end=window.end)
    world = _prepare(window, place, stores, replayed)
    mine = turns[str(place.root)]
    try:
        stopped = _do_all(window, world, pool, mine, replayed, one_done)
    finally:
        mine.pass_on(len(window.acts))  # whoever waits still, waits for nothing any more
    if stopped is None:
        hold.hold(window, world, replayed)
    else:
        replayed.differences.append(stopped)
    one_done()
    return replayed


def _prepare(window: Window, place: Place, stores: Stores, replayed: Replayed) -> World:
    """The scratch home as of the window's begin."""
    loads = [act for act in window.acts if isinstance(act, Load)]
    acts = [*window.acts, *([window.verdict] if window.verdict else [])]
    under = {act.under for act in acts if isinstance(act, Load | Settle | Publish | Judge)}
    with stores.ledger.read() as tx:
        last = _last_circumstances(tx, window.until)
        withdrawn = _withdrawn_since(tx, window)
        days = held_then.days_of(tx, edc=window.edc.id, seqs=[act.seq for act in loads], files=withdrawn)
        twins = _twins(tx, window.edc.id)
    drops = twins | {act.drop_id for act in acts if isinstance(act, Load | Recorded)}
    wanted = Wanted(edc=window.edc.id, days=days | {window.day}, drops=drops)
    scratch.lay_out(place, stores, under={*under, last} - {""})
    held_then.put(place, stores, edc=window.edc.id, until=window.after, wanted=wanted)
    for name in sorted(under):
        replayed.notes += _other_software(stores, name)
    return World(place, stores, edc=window.edc.id, under=last, wanted=wanted, twins=twins)


def _other_software(stores: Stores, name: str) -> list[str]:
    with stores.ledger.read() as tx:
        then = circumstances.noted(tx, name)["software"]
    now = circumstances.software()
    return [
        f"{one} was {then.get(one, 'not there')} then and is {now.get(one, 'not there')} now"
        for one in sorted(then.keys() | now.keys())
        if then.get(one) != now.get(one)
    ]


def _last_circumstances(tx: Connection, until: int) -> str:
    event = tables.event
    where = (event.c.name == "circumstances.noted") & (event.c.id <= until)
    query = select(event.c.about).where(where).order_by(event.c.id.desc()).limit(1)
    return tx.execute(query).scalar_one_or_none() or ""


def _withdrawn_since(tx: Connection, window: Window) -> list[Row]:
    """The outbound files that may be written again in the window."""
    file = tables.outbound_file
    since, until = window.begin - timedelta(days=1), window.end
    where = (file.c.edc == window.edc.id) & file.c.withdrawn_at.between(since, until)
    return [dict(row) for row in tx.execute(select(file).where(where)).mappings()]


def _twins(tx: Connection, edc: str) -> frozenset[str]:
    """The drops whose bytes came more than once, of an EDC."""
    drop = tables.drop
    twice = (
        select(drop.c.sha256)
        .where((drop.c.partner == edc) & (drop.c.sha256 != ""))
        .group_by(drop.c.sha256)
        .having(func.count() > 1)
    )
    query = select(drop.c.id).where((drop.c.partner == edc) & drop.c.sha256.in_(twice))
    return frozenset(tx.execute(query).scalars())


def _do_all(
    window: Window,
    world: World,
    pool: Executor,
    turns: Turns,
    replayed: Replayed,
    one_done: Callable[[], None],
) -> Difference | None:
    """All acts in their order. Loads are begun ahead of their turn, as many as there are workers. The answer is
    the act that could not be done again, at which all ends.
    """
    many = 1 if isinstance(pool, executor.Inline) else executor.workers(world.real.settings) + 1
    waiting = [(turn, act) for turn, act in enumerate(window.acts) if isinstance(act, Load)]
    begun: dict[int, Future[load.Done]] = {}
    for turn, act in enumerate(window.acts):
        turns.pass_on(turn)
        inline = isinstance(pool, executor.Inline)
        while waiting and len(begun) < many and (not inline or waiting[0][0] == turn):
            ahead, one = waiting.pop(0)
            begun[ahead] = pool.submit(load.load, _task(world, one, ahead, replayed))
        try:
            if isinstance(act, Load):
                _take(begun.pop(turn).result(), act, world, replayed)
            else:
                do(act, world)
                replayed.counts[type(act).__name__.lower()] += 1
        except Exception as error:  # noqa: BLE001 - whatever stops it is what differs, and is told
            return Difference("step", _named(act), "as it was", f"{type(error).__name__}: {error}")
        one_done()
    return None


def _named(act: Act) -> str:
    """An act in words."""
    kind = type(act).__name__.lower()
    about = next(
        (getattr(act, key) for key in ("drop_id", "sync_id", "ids", "name") if hasattr(act, key)), ""
    )
    return f"{kind} {' '.join(about) if isinstance(about, list) else about}".rstrip()


def _task(world: World, act: Load, turn: int, replayed: Replayed) -> Task:
    with world.real.ledger.read() as tx:
        query = select(tables.drop).where(tables.drop.c.id == act.drop_id)
        row = dict(tx.execute(query).mappings().one())
    return Task(
        place=world.place,
        act=act,
        turn=turn,
        row=row,
        alone=act.drop_id in world.twins,
        lake=world.real.lake.root,
        same_software=not replayed.notes,
    )


def _take(done: load.Done, act: Load, world: World, replayed: Replayed) -> None:
    replayed.differences += done.differences
    replayed.counts["drops"] += 1
    replayed.counts["blocks"] += done.blocks
    replayed.counts["lake_files"] += done.lake_files
    if not done.again:
        held_then.put_recorded(world.place, world.real, drop_id=act.drop_id)
        world.left_out.add(act.drop_id)
