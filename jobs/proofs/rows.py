"""The ledger against itself: each drop at one end with its papers, syncs as their events say, numbers without gaps."""

from collections import Counter, defaultdict
from collections.abc import Iterator

from jobs.proofs.finding import ASK, Check, Finding
from jobs.proofs.known import Known

_ENDINGS = ("accepted", "partial", "rejected", "duplicate")
_COUNTED = (
    "blocks_loaded", "blocks_late", "blocks_replacing", "blocks_outranked", "blocks_unchanged", "intervals_loaded",
)  # fmt: skip
_SYNC_STATES = {
    "sync.begun": {"forming"},
    "sync.completed": {"complete"},
    "sync.assembled": {"withdrawing"},
    "sync.approved": {"withdrawing"},
    "sync.held": {"held"},
    "sync.refused": {"refused"},
    "sync.enforced": {"in-force"},
    "sync.superseded": {"superseded"},
    "sync.rejected": {"rejected"},
    "sync.outdated": {"older"},
}


def check(known: Known) -> Iterator[Finding]:
    """All of it."""
    yield from drops_agree_with_their_events(known)
    yield from drops_have_their_papers(known)
    yield from loads_have_their_files(known)
    yield from syncs_agree_with_their_events(known)
    yield from numbers_have_no_gap(known)
    yield from publications_have_their_files(known)


def drops_agree_with_their_events(known: Known) -> Iterator[Finding]:
    """A drop's stage, hash, name and counts are those its events tell of, and every drop told of is there."""
    told, rows = known.told, {row.id: row for row in known.drops}
    for drop_id in told.stages.keys() - rows.keys():
        yield _of_drop(drop_id, "its events are there, and its row is not")
    for drop_id, row in rows.items():
        stage = told.stages.get(drop_id)
        if stage != row.stage:
            yield _of_drop(drop_id, f"its row says {row.stage}, its last event {stage or 'nothing'}")
        if row.sha256 != told.received.get(drop_id, ""):
            yield _of_drop(drop_id, "the hash in its row is not the one that was told when it was received")
        if row.name != told.names.get(drop_id, row.name):
            yield _of_drop(drop_id, f"its row names {row.name}, its events {told.names[drop_id]}")
        said = told.counts.get(drop_id, {})
        for name in _COUNTED if "blocks_loaded" in said else ():
            if (wanted := said.get(name, 0)) != (found := getattr(row, name)):
                yield _of_drop(drop_id, f"{name} is {found} in its row and {wanted} in its event")


def drops_have_their_papers(known: Known) -> Iterator[Finding]:
    """A drop that was received has its first receipt; one at its end has one final receipt, and no other."""
    final = defaultdict(list)
    received = set()
    for paper in known.told.papers.values():
        ending = paper.name.rpartition(f".{paper.about}.")[2].removesuffix(".json")
        if ending in _ENDINGS:
            final[paper.about].append(ending)
        elif ending == "received":
            received.add(paper.about)
    for row in known.drops:
        if row.sha256 and not row.in_inbound and row.id not in received:
            yield _of_drop(row.id, "no event tells of its first receipt")
        if row.stage in ("loaded", "refused", "duplicate") and not row.receipt_due:
            if final[row.id] != [row.outcome]:
                told = ", ".join(final[row.id]) or "none"
                yield _of_drop(row.id, f"its outcome is {row.outcome}; final receipts told of: {told}")
        elif final[row.id]:
            yield _of_drop(row.id, f"it is {row.stage}, and has the final receipt {', '.join(final[row.id])}")


def loads_have_their_files(known: Known) -> Iterator[Finding]:
    """Each load's files are those that its event names, with those hashes, and every load is a loaded drop's."""
    rows = {row.path: row.sha256 for row in known.lake_files}
    bound = {path: sha256 for path, sha256 in known.told.lake.items() if path.startswith("usage/")}
    for path in rows.keys() | bound.keys():
        if rows.get(path) != bound.get(path):
            what = (
                "an event names it, and no row does"
                if path not in rows
                else "its row is there, and no event names it"
                if path not in bound
                else "the hash in its row is not the one that its event has"
            )
            yield Finding(check=Check.LAKE, where=f"lake: {path}", what=what, do=ASK)
    loaded = {row.id for row in known.drops if row.stage == "loaded" and not row.sync_id}
    for drop_id in loaded ^ {row.drop_id for row in known.loads}:
        yield _of_drop(drop_id, "loaded drops and loads are not the same")


def syncs_agree_with_their_events(known: Known) -> Iterator[Finding]:
    """A sync's state is the one its last event brought it to; one of an EDC is in force at most."""
    for row in known.syncs:
        event = known.told.syncs.get(row.id, "")
        if row.state not in _SYNC_STATES.get(event, set()):
            what = f"its row says {row.state}, its last event {event or 'nothing'}"
            yield Finding(check=Check.SYNCS, where=row.id, what=what, do=ASK, claim=f"outbound:{row.edc}")
    for sync_id in known.told.syncs.keys() - {row.id for row in known.syncs}:
        yield Finding(
            check=Check.SYNCS, where=sync_id, what="its events are there, and its row is not", do=ASK
        )
    for edc, count in Counter(row.edc for row in known.syncs if row.state == "in-force").items():
        if count > 1:
            yield Finding(check=Check.SYNCS, where=edc, what=f"{count} syncs are in force", do=ASK)


def numbers_have_no_gap(known: Known) -> Iterator[Finding]:
    """The sequence numbers of each EGS are 1, 2, 3 …, and its files are those that were recorded."""
    by_egs = defaultdict(list)
    for row in known.outbound:
        by_egs[row.egs].append(row.sequence)
    for egs, numbers in sorted(by_egs.items()):
        first = known.told.first_numbers.get(egs, 1)
        missing = sorted(set(range(first, max(numbers) + 1)) - set(numbers))
        if missing or len(set(numbers)) != len(numbers):
            said = ", ".join(map(str, missing[:5])) or "a number comes twice"
            what = f"of the numbers {first} to {max(numbers)} there lack: {said}"
            yield Finding(check=Check.SEQUENCE, where=egs, what=what, do=ASK)
    rows = {(row.egs, row.name): row for row in known.outbound}
    for egs, name in rows.keys() ^ known.told.sent.keys():
        there = (
            "a row is there, and no event" if (egs, name) in rows else "an event names it, and no row does"
        )
        yield Finding(check=Check.SEQUENCE, where=f"{egs}: {name}", what=there, do=ASK)
    for key in rows.keys() & known.told.sent.keys():
        row, told = rows[key], known.told.sent[key]
        for name in ("sha256", "bytes", "blocks", "sequence"):
            if getattr(row, name) != told[name]:
                what = f"{name} is {getattr(row, name)} in its row and {told[name]} in its event"
                yield Finding(check=Check.SEQUENCE, where=f"{row.egs}: {row.name}", what=what, do=ASK)


def publications_have_their_files(known: Known) -> Iterator[Finding]:
    """As many files and blocks as a publication counted, its files have."""
    files, blocks = Counter[str](), Counter[str]()
    for row in known.outbound:
        files[row.publication_id] += 1
        blocks[row.publication_id] += row.blocks
    for row in known.publications:
        if (files[row.id], blocks[row.id]) != (row.files, row.blocks):
            what = (
                f"it counted {row.files} files with {row.blocks} blocks; there are {files[row.id]} with "
                f"{blocks[row.id]}"
            )
            yield Finding(check=Check.SUMS, where=row.id, what=what, do=ASK)


def _of_drop(drop_id: str, what: str) -> Finding:
    return Finding(check=Check.DROPS, where=drop_id, what=what, do=ASK, claim=f"drop:{drop_id}")
