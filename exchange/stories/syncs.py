"""The story of a meter data sync: its parts, when it said who may see what, and what it took back."""

from collections.abc import Mapping

from exchange.stories import story
from exchange.stories.story import Section, Story
from jobs.stores.ledger import drops, events, outbox, syncs
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from schemas import receipt


def became(sync: Sync, end: Mapping[str, str]) -> str:
    """Why a sync is in the state it is: what speaks against it or, once nothing did, what became of that.
    `end`: of it, by syncs.ends.
    """
    if sync.state not in {"withdrawing", "in-force", "superseded"}:
        return sync.why
    held = f"was held: {sync.why}" if sync.why else ""
    approved = f"approved by {end['approved_by']}" if "approved_by" in end else ""
    replaced = f"superseded by {end['superseded_by']}" if "superseded_by" in end else ""
    return "; ".join(one for one in (held, approved, replaced) if one)


def tell(sync: Sync, *, stores: Stores) -> Story:
    """The whole story of a sync."""
    with stores.ledger.read() as tx:
        timeline = story.moments(events.about(tx, sync.id))
        parts = [(part, drops.get(tx, part.drop_id)) for part in syncs.parts_of(tx, sync.id)]
        withdrawn = outbox.withdrawn_by(tx, sync.id, edc=sync.edc)
        why = became(sync, syncs.ends(tx, [sync]).get(sync.id, {}))
    facts = {
        "edc": sync.edc,
        "as_of": sync.as_of.isoformat(),
        "state": sync.state,
        "why": why or None,
        "parts_wanted": sync.parts,
        "accounts": sync.accounts,
        "due_each_night": sync.due,
        "moved": sync.moved,
        "share_moved": round(sync.share_moved, 6),
        "completed_at": story.instant(sync.completed_at),
        "in_force_at": story.instant(sync.in_force_at),
        "superseded_at": story.instant(sync.superseded_at),
        "roster": sync.path or None,
    }
    sections = [
        Section(
            key="parts",
            title="Its parts",
            columns={
                "part": ">part",
                "drop": "drop",
                "file": "file",
                "rows": ">rows",
                "arrived_at": "arrived",
            },
            rows=[
                {
                    "part": part.part,
                    "drop": drop.id,
                    "file": drop.name,
                    "rows": part.rows,
                    "arrived_at": receipt.instant(drop.arrived_at),
                }
                for part, drop in parts
            ],
        ),
        Section(
            key="withdrawn",
            title="What it took back",
            columns={"blocks": ">blocks", **story.OUTBOUND},
            rows=[story.outbound(file) | {"blocks": file.blocks} for file in withdrawn],
        ),
    ]
    return Story(
        kind="sync",
        subject=sync.id,
        summary=f"{sync.id} is what {sync.edc} said as of {sync.as_of}; it is {sync.state}{f': {why}' if why else ''}.",
        facts=facts,
        timeline=story.in_order(timeline),
        sections=[section for section in sections if section.rows],
    )
