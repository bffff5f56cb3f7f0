"""Whom an account's blocks were given to: which files carried them, who fetched those, and what was held back."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from sqlalchemy import Connection

from exchange.stories import story
from exchange.stories.story import Section
from jobs.stores import layout
from jobs.stores.ledger import outbox, traces
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.opened import Stores
from jobs.stores.outbound import blocks_of
from schemas import receipt


def followed(
    account: str, mine: Collection[int], lake_files: Mapping[int, LakeFile], *, stores: Stores
) -> tuple[Section, Section]:
    """What of an account's blocks in these lake files was held and why; which files carried them to whom."""
    with stores.ledger.read() as tx:
        holds = traces.holds(tx, mine, account=account)
        seqs = {(lake_files[file_id].edc, lake_files[file_id].load_seq) for file_id in mine}
        publications = {one for edc, seq in seqs for one in traces.of_load(tx, edc=edc, seq=seq)}
        publications |= {hold.release for hold in holds if hold.release}
        files = traces.files_of(tx, publications)
        rows = [row for file in files for row in _in_file(tx, account, file, set(mine), stores=stores)]
    return _held(holds, lake_files), _carried(rows)


def _in_file(
    tx: Connection, account: str, file: OutboundFile, mine: set[int], *, stores: Stores
) -> Iterator[dict[str, Any]]:
    path = layout.contents_path(file, stores=stores)
    if not path.is_file():  # a publication that was cut off is not laid out yet
        return
    blocks = blocks_of(path, account)
    if not len(blocks):
        return
    reads = [collected(row, file) for row in outbox.collections_of(tx, file.id)]
    for row in blocks.to_pylist():
        if row["lake_file_id"] in mine:
            yield {
                "usage_date": row["usage_date"].isoformat(),
                "channel": row["channel"],
                "version": row["version"],
                **story.outbound(file),
                "publication": file.publication_id,
                "sync": file.sync_id,
                "bytes": file.bytes,
                "withdrawn_by": file.withdrawn_by or None,
                "expired_at": story.instant(file.expired_at),
                "collections": reads,
            }


def collected(row: Mapping[str, Any], file: OutboundFile) -> dict[str, Any]:
    """What is told of somebody's reading a file: a row of schemas.tables.collection."""
    return {
        "partner": row["partner"],
        "began_at": receipt.instant(row["began_at"]),
        "ended_at": receipt.instant(row["ended_at"]),
        "address": row["address"],
        "bytes": row["bytes"],
        "of": file.bytes,
        "whole": row["whole"],
        "key_fingerprint": row["key_fingerprint"],
        "session": row["session"],
    }


def _carried(rows: list[dict[str, Any]]) -> Section:
    return Section(
        key="carried",
        title="Who was given what",
        columns={"usage_date": "usage day", "channel": "channel", "version": ">version", **story.OUTBOUND},
        rows=sorted(
            rows, key=lambda row: (row["usage_date"], row["channel"], row["version"], row["egs"], row["file"])
        ),
    )


def _held(holds: list[traces.Hold], lake_files: Mapping[int, LakeFile]) -> Section:
    return Section(
        key="held",
        title="What was held back",
        columns=story.HELD,
        rows=[
            {
                "usage_date": lake_files[hold.lake_file_id].usage_date.isoformat(),
                "blocks": hold.blocks,
                "reason": hold.reason,
                "egs_duns": hold.egs_duns or None,
                "since": receipt.instant(hold.since),
                "released_at": story.instant(hold.released_at),
                "release": hold.release or None,
            }
            for hold in holds
        ],
    )
