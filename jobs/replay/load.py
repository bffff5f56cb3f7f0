"""A drop is taken along its way again. This runs in worker processes, several drops at a time.

Reading and parsing are done side by side; what a load becomes depends on those before it, so each waits for
its turn before it looks at the ledger in order to write.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from multiprocessing.sharedctypes import Synchronized
from multiprocessing.synchronize import Condition
from pathlib import Path

from sqlalchemy import update

from jobs import pipeline
from jobs.replay import compare
from jobs.replay.acts import Load, Row
from jobs.replay.compare import Difference
from jobs.replay.scratch import ArchiveChangedError, Numbers, Place, ScratchLedger
from jobs.steps import finish
from jobs.stores.ledger import drops, taken_in
from jobs.stores.opened import Stores
from schemas import tables
from schemas.drop import Drop, Stage

_RECEIVED = ".received.json"


class Turns:
    """Whose turn it is to write, of the acts of one EDC by their place; shared with worker processes."""

    def __init__(self, condition: "Condition", place: "Synchronized[int]") -> None:
        self._condition = condition
        self._place = place

    def wait(self, place: int) -> None:
        with self._condition:
            self._condition.wait_for(lambda: self._place.value >= place)

    def pass_on(self, place: int) -> None:
        with self._condition:
            self._place.value = place
            self._condition.notify_all()


_turns: dict[str, Turns] = {}


def prepare(turns: Mapping[str, Turns]) -> None:
    """Get a worker process ready."""
    compare.be_silent()
    lend(turns)


def lend(turns: Mapping[str, Turns]) -> None:
    """Let loads of this process know the turns, by scratch home."""
    _turns.update(turns)


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """One load: where, when it is its turn, and what it is held to. `alone`: the same bytes came more than
    once, so that it matters which came first.
    """

    place: Place
    act: Load
    turn: int
    row: Row  # of schemas.tables.drop
    alone: bool
    lake: Path  # the hub's
    same_software: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What came of it. `again`: whether it could be done again at all."""

    again: bool
    differences: tuple[Difference, ...] = ()
    lake_files: int = 0
    blocks: int = 0


def load(task: Task) -> Done:
    """Take the drop along its way, and hold its lake files to the hub's."""
    try:
        return _load(task)
    except ArchiveChangedError as error:
        where = f"{task.act.drop_id}, {task.row['name']}"
        return Done(again=False, differences=(Difference("archive", where, error.wanted, error.found),))
    except FileNotFoundError as error:
        if task.row["sha256"] not in str(error):
            raise
        where = f"{task.act.drop_id}, {task.row['name']}"
        return Done(
            again=False, differences=(Difference("archive", where, task.row["sha256"], "no such file"),)
        )


def _load(task: Task) -> Done:
    act, turns = task.act, _turns[str(task.place.root)]
    wait = partial(turns.wait, task.turn)
    numbers = Numbers(load=act.seq, lake_file=act.lake_file_id)
    gated = ScratchLedger(task.place.ledger_url, turn=wait, numbers=numbers)
    with task.place.opened(act.under) as stores:
        clock = Clock(stores, act)
        drop = _begin(task, stores)
        if task.alone:
            wait()
        sender = stores.partners.current().get(drop.partner)
        drop, parsing = pipeline.take_in(drop, sender, stores=stores, clock=clock)
        if drop.stage is Stage.ACCEPTED and sender is not None:
            with task.place.opened(act.under, gated) as ordered:
                drop = pipeline.load(drop, parsing, sender, stores=ordered, clock=clock)
            drop = _remark(task, drop, stores)
        if drop.receipt_due:
            drop = finish.finish(drop, sender=sender, stores=stores, now=clock())
        files = compare.lake_files(stores, drop_id=drop.id)
        differences = tuple(compare.lake(stores, files, real=task.lake, same_software=task.same_software))
    return Done(again=True, differences=differences, lake_files=len(files), blocks=drop.blocks_loaded)


def _begin(task: Task, stores: Stores) -> Drop:
    """The drop as it was when it had been received; and the checksums that its sender laid beside it."""
    told = task.act.told
    received = next(one for one in told if one["name"] == "drop.received")
    named = [one["details"]["name"] for one in told if "name" in one["details"]]
    drop = Drop(
        id=task.act.drop_id,
        partner=received["partner"],
        name=named[-1] if named else task.row["name"],
        stage=Stage.RECEIVED,
        arrived_at=taken_in.arrived_at([one for one in told if one["id"] < received["id"]]),
        bytes=received["details"]["bytes"],
        in_inbound=True,
        sha256=received["details"]["sha256"],
    )
    with stores.ledger.write() as tx:
        drops.put(tx, drop)
    for name, digest in task.act.checksums.items():
        stores.mailboxes.whole(drop.partner, name).write_text(f"{digest}\n")
    return drop


def _remark(task: Task, drop: Drop, stores: Stores) -> Drop:
    """What looked short when it was loaded went by what had come until then, at whatever moment: it is taken
    as it was said.
    """
    with stores.ledger.write() as tx:
        tx.execute(update(tables.drop).where(tables.drop.c.id == drop.id).values(shorts=task.row["shorts"]))
        return drops.get(tx, drop.id)


class Clock:
    """Shows the instant at which the drop went on from where it stands now, when that was done first."""

    def __init__(self, stores: Stores, act: Load) -> None:
        self._stores = stores
        self._act = act

    def __call__(self) -> datetime:
        with self._stores.ledger.read() as tx:
            drop = drops.get(tx, self._act.drop_id)
        end: datetime = self._act.end["at"]
        if drop.stage is Stage.RECEIVED and drop.in_inbound:
            return self._at("receipt.laid", _RECEIVED) or self._at("drop.received") or end
        if drop.stage is Stage.RECEIVED:
            return self._at("drop.accepted") or end
        if drop.stage is Stage.ACCEPTED:
            return end
        return self._at("receipt.laid", f".{drop.outcome}.json") or end

    def _at(self, name: str, ending: str = "") -> datetime | None:
        """When an event of this name was told of the drop, or of a receipt of it that ends so."""
        for one in self._act.told:
            if one["name"] == name and (not ending or one["details"]["file"].endswith(ending)):
                at: datetime = one["at"]
                return at
        return None
