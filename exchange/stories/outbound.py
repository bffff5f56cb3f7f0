"""The stories of what was laid before EGSs: of an outbound file, and of a publication."""

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from exchange.stories import given, story
from exchange.stories.story import Moment, Section, Story
from jobs.stores import layout
from jobs.stores.ledger import events, loads, outbox
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.opened import Stores
from jobs.stores.outbound import read_contents
from schemas import receipt


def tell(file: OutboundFile, *, stores: Stores) -> Story:
    """The whole story of an outbound file."""
    manifest = receipt.manifest_name(file.name)
    with stores.ledger.read() as tx:
        timeline = story.moments(events.about(tx, file.publication_id))
        timeline += story.moments(row for row in events.about(tx, file.name) if row["partner"] == file.egs)
        collections = outbox.collections_of(tx, file.id)
    there = stores.mailboxes.whole(file.egs, manifest, "outbound").exists()
    facts: dict[str, Any] = {
        "egs": file.egs,
        "edc": file.edc,
        "sequence": file.sequence,
        "state": file.state,
        "publication": file.publication_id,
        "sync": file.sync_id,
        "bytes": file.bytes,
        "sha256": file.sha256,
        "blocks": file.blocks,
        "intervals": file.intervals,
        "estimated": file.estimated,
        "versions_above_1": file.versions_above_1,
        "usage_days": story.days(file.usage_days),
        "manifest": manifest if there else None,
        "laid_out_at": story.instant(file.laid_out_at),
        "collected_at": story.instant(file.collected_at),
        "withdrawn_at": story.instant(file.withdrawn_at),
        "withdrawn_by": file.withdrawn_by or None,
        "replaces": file.replaces or None,
        "replaced_by": file.replaced_by or None,
        "rewrite_due": file.rewrite_due,
        "expired_at": story.instant(file.expired_at),
    }
    sections = [_collected(collections, file), _from_drops(file, stores=stores)]
    return Story(
        kind="outbound-file",
        subject=file.name,
        summary=_summary(file),
        facts=facts,
        timeline=story.in_order(timeline),
        sections=[section for section in sections if section.rows],
    )


def tell_publication(row: dict[str, Any], *, stores: Stores) -> Story:
    """The whole story of a publication, by its row in the ledger."""
    with stores.ledger.read() as tx:
        files = outbox.of_publication(tx, row["id"])
        timeline = story.moments(events.about(tx, row["id"]))
    timeline += [
        Moment(
            at=file.collected_at,
            event="outbound.collected",
            words=f"{file.egs} has the whole file",
            details={"file": file.name},
        )
        for file in files
        if file.collected_at is not None
    ]
    why = f", to write again what {row['replaces']} withdrew" if row["replaces"] else ""
    facts = {
        "edc": row["edc"],
        "sync": row["sync_id"],
        "recorded_at": receipt.instant(row["at"]),
        "laid_out": row["laid_out"],
        "loads_after": row["after_seq"],
        "loads_through": row["through_seq"],
        "blocks": row["blocks"],
        "replaces_what_was_withdrawn_by": row["replaces"] or None,
    }
    rows = [story.outbound(file) | {"blocks": file.blocks, "bytes": file.bytes} for file in files]
    columns = {"blocks": ">blocks", "bytes": ">bytes", **story.OUTBOUND}
    return Story(
        kind="publication",
        subject=row["id"],
        summary=f"{row['id']} laid {story.blocks(row['blocks'])} of {row['edc']} out, files: {row['files']:,}{why}.",
        facts=facts,
        timeline=story.in_order(timeline),
        sections=[Section(key="files", title="Its files", columns=columns, rows=rows)] if rows else [],
    )


def _summary(file: OutboundFile) -> str:
    held = f"{file.name} holds {story.blocks(file.blocks)} of {file.edc} for {file.egs}"
    if file.state == "withdrawn":
        instead = f", and {file.replaced_by} stands in its place" if file.replaced_by else ""
        after = " after it was collected" if file.collected_at else ""
        return f"{held}: it was withdrawn by {file.withdrawn_by}{after}{instead}."
    if file.state == "expired":
        return f"{held}: it has lain there for long enough and is gone."
    collected = "it was collected whole" if file.collected_at else "it was not collected whole yet"
    return f"{held}: {collected}."


def _collected(collections: list[dict[str, Any]], file: OutboundFile) -> Section:
    return Section(
        key="collections",
        title="Who read it",
        columns={
            "partner": "who",
            "began_at": "from",
            "ended_at": "until",
            "address": "from where",
            "bytes": ">bytes",
            "of": ">of",
            "whole": "whole",
            "key_fingerprint": "key",
        },
        rows=[given.collected(row, file) for row in collections],
    )


def _from_drops(file: OutboundFile, *, stores: Stores) -> Section:
    """Which drops its blocks came with."""
    path = layout.contents_path(file, stores=stores)
    counted: dict[int, int] = {}
    if path.is_file():
        counts = pc.value_counts(read_contents(path)["lake_file_id"])
        assert isinstance(counts, pa.StructArray)
        counted = {one["values"]: one["counts"] for one in counts.to_pylist()}
    with stores.ledger.read() as tx:
        lake_files = loads.by_ids(tx, sorted(counted))
    return Section(
        key="came_from",
        title="Where its blocks came from",
        columns={"drop": "drop", "usage_date": "usage day", "blocks": ">blocks", "path": "lake file"},
        rows=[
            {
                "drop": lake.drop_id,
                "usage_date": lake.usage_date.isoformat(),
                "blocks": counted[lake.id],
                "path": lake.path,
            }
            for lake in sorted(lake_files.values(), key=lambda lake: lake.id)
        ],
    )
