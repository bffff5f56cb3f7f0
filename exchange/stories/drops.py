"""The story of a drop: who sent what, each stage and when, what is wrong with it, and where its blocks went."""

from collections import Counter
from dataclasses import replace

import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection

from exchange.stories import story
from exchange.stories.story import Moment, Section, Story
from jobs.stores import layout
from jobs.stores.ledger import events, failures, loads, syncs, traces
from jobs.stores.ledger.failures import Failure
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.opened import Stores
from jobs.stores.outbound import read_contents
from schemas import receipt
from schemas.drop import LIFE, Drop, Outcome, Stage
from schemas.fault import deciding


def tell(drop: Drop, *, stores: Stores) -> Story:
    """The whole story of a drop."""
    sender = stores.partners.current().get(drop.partner)
    with stores.ledger.read() as tx:
        timeline = story.moments(events.about(tx, drop.id))
        lake_files = loads.of_drop(tx, drop.id)
        carried = _carried(tx, lake_files, stores=stores)
        holds = traces.holds(tx, [file.id for file in lake_files])
        sync = syncs.get(tx, drop.sync_id) if drop.sync_id else None
        failed, waits = failures.of(tx, drop.id), failures.waits(tx, drop.id)
    timeline = _resumed(timeline)
    timeline += [moment for file, blocks in carried for moment in moments_of(file, blocks)]
    counts = (
        "blocks_loaded",
        "blocks_late",
        "blocks_replacing",
        "blocks_outranked",
        "blocks_unchanged",
        "blocks_rejected",
    )
    facts = {
        "sender": drop.partner,
        "sender_name": sender.name if sender else None,
        "file": drop.name,
        "file_kind": drop.kind or None,
        "bytes": drop.bytes,
        "sha256": drop.sha256 or None,
        "stage": str(drop.stage),
        "outcome": str(drop.outcome) if drop.outcome else None,
        "means": LIFE[drop.stage].means,
        "failed": None if failed is None else _failed(failed),
        "waits": None if waits is None else f"{waits.why}; every sweep tries it again",
        "arrived_at": story.instant(drop.arrived_at),
        "ended_at": story.instant(drop.ended_at),
        "duplicate_of": drop.duplicate_of or None,
        "sync": drop.sync_id or None,
        "sync_state": sync.state if sync else None,
        "rows_loaded": drop.rows_loaded if sync else None,
        "usage_days": story.days(drop.usage_days),
        **(
            {
                **{name: getattr(drop, name) for name in (*counts, "intervals_loaded")},
                "accounts_unknown_when_loaded": drop.suspense,
            }
            if not sync
            else {}
        ),
        "faults_total": drop.faults_total,
        "checksums_that_agree": list(drop.checked) or None,
        "looks_short": [receipt.short(one) for one in drop.shorts] or None,
        "receipts": _receipts(drop, stores=stores),
    }
    sections = [_faults(drop), _versions(lake_files), _went(carried), _holds(holds, lake_files)]
    return Story(
        kind="drop",
        subject=drop.id,
        summary=_summary(drop),
        facts=facts,
        timeline=story.in_order(timeline),
        sections=[section for section in sections if section.rows],
    )


def _failed(failure: Failure) -> str:
    """How often the next step has failed, why, and when it is tried again."""
    times = "once" if failure.times == 1 else f"{failure.times} times"
    then = "the next sweep tries it again"
    if failure.parked_at is not None:
        then = f"it is parked: meterhub retry {failure.about}"
    return f"{times}, at {receipt.instant(failure.last_at)} the last time: {failure.why}; {then}"


_RESUMED = "its sender went on with the upload: resumed"


def _resumed(timeline: list[Moment]) -> list[Moment]:
    """A drop that had broken off, or was whole, and is incomplete with the same bytes, was resumed."""
    told: list[Moment] = []
    for one in timeline:
        before = told[-1] if told else None
        if (
            before is not None
            and one.event == "drop.incomplete"
            and before.event in {"drop.incomplete", "drop.misnamed"}
            and before.words != _RESUMED
            and one.details.get("bytes") == before.details.get("bytes")
        ):
            told.append(replace(one, words=_RESUMED))
        else:
            told.append(one)
    return told


def moments_of(file: OutboundFile, blocks: int) -> list[Moment]:
    """What happened to an outbound file, told of `blocks` of those in it."""
    words = (
        (file.laid_out_at, "outbound.laid_out", f"{story.blocks(blocks)} of it laid before {file.egs}"),
        (file.collected_at, "outbound.collected", f"{file.egs} has the whole file"),
        (
            file.withdrawn_at,
            "outbound.withdrawn",
            f"it was taken back from {file.egs} by {file.withdrawn_by}",
        ),
        (file.expired_at, "outbound.expired", f"it had lain before {file.egs} for long enough"),
    )
    return [
        Moment(at=at, event=event, words=said, details={"file": file.name})
        for at, event, said in words
        if at is not None
    ]


def unknown_then(drop: Drop) -> str:
    """How many of a drop's accounts no roster named when it was loaded; they may be known by now."""
    return f"{drop.suspense:,} account{'' if drop.suspense == 1 else 's'} unknown when it was loaded"


def _summary(drop: Drop) -> str:
    came = f"{drop.id} is {drop.name}, which {drop.partner} sent"
    if drop.stage is Stage.LOADED and drop.sync_id:
        return f"{came}: a part of {drop.sync_id}."
    if drop.stage is Stage.LOADED:
        part = f", {drop.blocks_rejected:,} refused" if drop.outcome is Outcome.PARTIAL else ""
        unknown = f", {unknown_then(drop)}" if drop.suspense else ""
        return f"{came}: {story.blocks(drop.blocks_loaded)} of it loaded{part}{unknown}."
    if drop.stage is Stage.REFUSED:
        return f"{came}: it was refused, {deciding(drop.faults).message if drop.faults else 'for no fault known'}."
    if drop.stage is Stage.DUPLICATE:
        return f"{came}: the same bytes had come before, as {drop.duplicate_of}."
    return f"{came}: it is {drop.stage}."


def _carried(tx: Connection, lake_files: list[LakeFile], *, stores: Stores) -> list[tuple[OutboundFile, int]]:
    """The outbound files that hold blocks of these lake files, each with how many."""
    usage = [file for file in lake_files if file.kind == "usage"]
    if not usage:
        return []
    publications = set(traces.of_load(tx, edc=usage[0].edc, seq=usage[0].load_seq))
    publications |= {hold.release for hold in traces.holds(tx, [file.id for file in usage]) if hold.release}
    mine = pa.array([file.id for file in usage], pa.int64())
    found = []
    for file in traces.files_of(tx, publications):
        path = layout.contents_path(file, stores=stores)
        if path.is_file():  # a publication that was cut off is not laid out yet
            blocks = pc.sum(pc.is_in(read_contents(path)["lake_file_id"], value_set=mine)).as_py() or 0
            found += [(file, blocks)] if blocks else []
    return found


def _receipts(drop: Drop, *, stores: Stores) -> list[str]:
    """The names of the drop's receipts that lie in its sender's receipts/."""
    names = [receipt.received_name(drop), receipt.faults_name(drop), receipt.discarded_name(drop)]
    if drop.outcome is not None:
        names.insert(1, receipt.final_name(drop))
    return [name for name in names if stores.mailboxes.whole(drop.partner, name, "receipts").exists()]


def _faults(drop: Drop) -> Section:
    more = f"the first {len(drop.faults)} of {drop.faults_total:,}; all are in {receipt.faults_name(drop)}"
    return Section(
        key="faults",
        title="What is wrong with it",
        columns={
            "line": ">line",
            "account": "account",
            "code": "code",
            "column": "column",
            "found": "found",
            "wanted": "wanted",
        },
        rows=[receipt.fault(fault) for fault in drop.faults],
        note=more if drop.faults_total > len(drop.faults) else "",
    )


def _versions(lake_files: list[LakeFile]) -> Section:
    """What it put into the lake."""
    return Section(
        key="lake_files",
        title="What it put into the lake",
        columns={
            "usage_date": "usage day",
            "kind": "",
            "blocks": ">blocks",
            "first_versions": ">first versions",
            "late": ">late",
            "versions": "versions",
            "path": "file",
        },
        rows=[
            {
                "id": file.id,
                "usage_date": file.usage_date.isoformat(),
                "kind": file.kind,
                "blocks": file.rows,
                "first_versions": file.first_versions,
                "late": file.late,
                "versions": f"{file.version_low} to {file.version_high}",
                "bytes": file.bytes,
                "path": file.path,
            }
            for file in lake_files
        ],
    )


def _went(carried: list[tuple[OutboundFile, int]]) -> Section:
    return Section(
        key="went_to",
        title="Where its blocks went",
        columns={"blocks": ">blocks", **story.OUTBOUND},
        rows=[story.outbound(file) | {"blocks": blocks} for file, blocks in carried],
    )


def _holds(holds: list[traces.Hold], lake_files: list[LakeFile]) -> Section:
    """What of it was not published at once, and what became of that."""
    day = {file.id: file.usage_date.isoformat() for file in lake_files}
    count: Counter[tuple[str, str, str, str, str | None, str]] = Counter()
    for hold in holds:
        since, released = receipt.instant(hold.since), story.instant(hold.released_at)
        count[day[hold.lake_file_id], hold.reason, hold.egs_duns, since, released, hold.release] += (
            hold.blocks
        )
    keys = ("usage_date", "reason", "egs_duns", "since", "released_at", "release")
    return Section(
        key="held",
        title="What was held back",
        columns=story.HELD,
        rows=[dict(zip(keys, key, strict=True)) | {"blocks": blocks} for key, blocks in count.items()],
    )
