"""Holds a home to the model of what must have become of everything that was sent, and to its own ledger."""

import gzip
import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime

import pyarrow.parquet as pq
from sqlalchemy import Connection

from exchange.torture.world import Key, Sent, World
from jobs.proofs import home as proofs
from jobs.proofs.home import Proof
from jobs.proofs.place import Place
from jobs.stores.ledger import HEAD, drops, events, loads, outbox
from jobs.stores.ledger.events import Head
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.drop import ENDED, Drop, Stage

_FINAL = ("accepted", "partial", "rejected", "duplicate")


def judge(world: World, stores: Stores) -> list[str]:
    """What is not as it must be, in words; nothing, when all is."""
    sent = [file for land in world.territories.values() for file in land.sent]
    with stores.ledger.read() as tx:
        known = drops.listed(tx, limit=1_000_000)
        paths = loads.paths(tx, kind="usage")
    return [
        *_of_drops(sent, known, stores),
        *_of_the_lake(sent, paths, stores),
        *_of_suppliers(sent, world, stores),
    ]


def _of_drops(sent: list[Sent], known: list[Drop], stores: Stores) -> Iterator[str]:
    """Every file that was sent is loaded once, refused or a duplicate, with the receipts of that."""
    by_name: dict[str, list[Drop]] = defaultdict(list)
    for drop in known:
        by_name[drop.name].append(drop)
        if drop.stage not in ENDED and drop.stage not in {Stage.MISNAMED, Stage.INCOMPLETE}:
            yield f"{drop.id} ({drop.name}) is {drop.stage}, and nobody goes on with it"
    loaded = Counter(drop.sha256 for drop in known if drop.stage is Stage.LOADED)
    for file in sent:
        # Who sends once more what the hub has in hand is refused at the end; what it sent waits to be discarded.
        mine = [drop for drop in by_name[file.name] if drop.stage not in {Stage.DISCARDED, Stage.INCOMPLETE}]
        if not mine:
            yield f"{file.name} was sent, and there is no drop of it"
        if file.kind != "bad" and loaded[file.sha256] != 1:
            yield f"{file.name} is loaded {loaded[file.sha256]} times"
        for drop in mine:
            wanted = {Stage.REFUSED} if file.kind == "bad" else {Stage.LOADED, Stage.DUPLICATE}
            if drop.stage not in wanted or drop.sha256 != file.sha256:
                yield f"{drop.id} ({file.name}, {file.kind}) is {drop.stage} with {drop.sha256[:8]}"
    for partner in {drop.partner for drop in known}:
        names = [path.name for path in stores.mailboxes.folder(partner, "receipts").iterdir()]
        finals = Counter(
            name.rsplit(".", 3)[1] for name in names if name.endswith(tuple(f".{w}.json" for w in _FINAL))
        )
        for drop in known:
            ended = drop.stage in {Stage.LOADED, Stage.REFUSED, Stage.DUPLICATE}
            if drop.partner == partner and ended and finals[drop.id] != 1:
                finals_of = [name for name in names if drop.id in name]
                yield f"{drop.id} ({drop.name}) has the receipts {finals_of}"


def _of_the_lake(sent: list[Sent], paths: list[str], stores: Stores) -> Iterator[str]:
    """Every block that was sent lies in the lake once."""
    wanted = {key for file in sent for key in file.blocks}
    found: Counter[Key] = Counter()
    for path in paths:
        day = path.partition("usage_date=")[2][:10].replace("-", "")
        rows = pq.read_table(stores.lake.root / path, columns=["account", "stamp"], partitioning=None)
        for row in rows.to_pylist():
            found[row["account"], day, row["stamp"]] += 1
    for key in sorted(wanted ^ set(found)):
        yield f"the block {key} was {'sent, and is not' if key in wanted else 'never sent, and is'} in the lake"
    for key, count in found.items():
        if count > 1:
            yield f"the block {key} is {count} times in the lake"


def _of_suppliers(sent: list[Sent], world: World, stores: Stores) -> Iterator[str]:
    """No EGS sees an account of someone else's; what is current was given once, to whoever had the account then."""
    given: Counter[Key] = Counter()
    for egs in world.egss:
        folder = stores.mailboxes.folder(egs.id, "outbound")
        manifests = [json.loads(path.read_text()) for path in folder.glob(f"*{receipt.MANIFEST}")]
        numbers = sorted(manifest["sequence"] for manifest in manifests)
        if numbers != list(range(1, len(numbers) + 1)):
            yield f"{egs.id} has the sequence numbers {numbers}"
        with stores.ledger.read() as tx:
            # What the hub did not know to be fetched when it took it back is given again: it may have died before it
            # was told, or be told a moment later.
            again = {
                one.name
                for one in outbox.listed(tx, egs=egs.id)
                if one.withdrawn_at and _was_unknown(tx, one.name, egs.id)
            }
        held = {name: data for name, data in world.taken[egs.id].items() if name not in again}
        for manifest in manifests:
            path = folder / manifest["file"]
            if not path.exists():
                if not manifest.get("withdrawn"):
                    yield f"{egs.id} has a manifest of {path.name}, and not the file"
                continue
            held[path.name] = path.read_bytes()
            if hashlib.sha256(held[path.name]).hexdigest() != manifest["sha256"]:
                yield f"{path.name} of {egs.id} is not what its manifest says"
            for account in {key[0] for key in _blocks(held[path.name])}:
                if world.owner(account) != egs.id:
                    yield f"{path.name} lies before {egs.id} with {account}, which is {world.owner(account)}'s"
        given.update(key for data in held.values() for key in _blocks(data))
    yield from (f"the block {key} was given {count} times" for key, count in given.items() if count > 1)
    current: dict[tuple[str, str], str] = {}
    for account, day, stamp in (key for file in sent for key in file.blocks):
        current[account, day] = max(stamp, current.get((account, day), ""))
    for (account, day), stamp in current.items():
        if given[account, day, stamp] != 1:
            yield f"the block {account}, {day}, {stamp} is current, and was given {given[account, day, stamp]} times"


def _was_unknown(tx: Connection, name: str, egs: str) -> bool:
    """Whether a file that was taken back was to be written again, since nobody was known to have fetched it."""
    told = (one for one in events.about(tx, name) if one["name"] == "outbound.withdrawn")
    return any(one["details"]["rewrite"] for one in told if one["partner"] == egs)


def _blocks(packed: bytes) -> Iterator[Key]:
    """The blocks of an outbound file, by splitting lines."""
    account = day = ""
    for line in gzip.decompress(packed).decode().splitlines():
        fields = line.split(",", 4)
        if fields[0] == "00000001":
            account, day = fields[1], fields[3][:8]
        elif fields[0] == "00000004":
            yield account, day, fields[1]


def prove(stores: Stores, heads: Sequence[Head], *, now: datetime) -> Proof:
    """What `meterhub verify` finds of the home at rest. `heads`: of the chain, after each round before."""
    place = Place(home=stores.home, settings=stores.settings, partners=stores.partners.current(), now=now)
    expected = dict.fromkeys(heads, "a head of a round before")
    return proofs.verify(stores.ledger, place, version=HEAD, expected=expected)


def wrong(proof: Proof) -> list[str]:
    """What a proof found, in words. Settings are as they were laid out, so nothing of them may be wrong either."""
    return [f"meterhub verify: {one.where}: {one.what}" for one in (*proof.findings, *proof.unfinished)]
