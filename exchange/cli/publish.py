"""`meterhub publish`: what is new is laid before its suppliers now, not at the next quarter of an hour."""

from collections import defaultdict
from typing import Any

import click

from config.errors import RefusedError
from config.partners import Partner
from exchange.cli import opened, options, show
from exchange.cli.options import Asked
from jobs.steps import publish as step
from jobs.stores.ledger import drops, holds, loads, outbox
from jobs.stores.opened import Stores


@options.command("publish", "meterhub publish", "meterhub publish --release D130904-00007")
@click.option(
    "--release",
    multiple=True,
    metavar="DROP",
    help="Give its late blocks free, where deadline.late holds them; may be given several times.",
)
def command(asked: Asked, *, release: tuple[str, ...]) -> int:
    """Lay all that is new before its suppliers, now.

    Exit code 3 if anything is withheld: its EDC has no sync in force, or too old a one.
    """
    with opened.stores(asked) as stores:
        _require_held(release, stores)
        answer = [_publish(edc, release, asked, stores) for edc in opened.edcs(stores)]
    rows = [
        (
            one["edc"],
            one["outcome"],
            file["egs"],
            file["name"],
            file["sequence"],
            f"{file['blocks']:,}",
            file["replaces"],
        )
        for one in answer
        for file in one["files"] or [dict.fromkeys(("egs", "name", "sequence", "replaces")) | {"blocks": 0}]
    ]
    columns = ("EDC", "", "EGS", "file", ">sequence", ">blocks", "replaces")
    asked.show(
        answer, show.table(columns, rows) if rows else "No EDC is among the partners.", *_held_back(answer)
    )
    return 3 if any(one["outcome"] == "withheld" and one["waiting"] for one in answer) else 0


def _publish(edc: Partner, release: tuple[str, ...], asked: Asked, stores: Stores) -> dict[str, Any]:
    began = asked.clock()
    with stores.ledger.read() as tx:
        before = {file.id for file in outbox.laid_out_since(tx, began)}

    def work() -> step.Published | step.NothingNew | step.Withheld | None:
        outcome = step.publish(edc, stores=stores, now=asked.clock(), release=release)
        return None if isinstance(outcome, step.Busy) else outcome

    outcome = opened.when_free(work)
    with stores.ledger.read() as tx:
        since = sorted(outbox.laid_out_since(tx, began), key=lambda file: (file.egs, file.sequence))
        files = [file for file in since if file.edc == edc.id and file.id not in before]
        held: dict[str, int] = defaultdict(int)
        for (reason, _), count in holds.counts(tx, edc.id).items():
            held[reason] += count
    withheld = isinstance(outcome, step.Withheld)
    return {
        "edc": edc.id,
        "outcome": "withheld" if withheld else "laid out" if files else "nothing new",
        "why": outcome.why if isinstance(outcome, step.Withheld) else None,
        "waiting": outcome.waiting if isinstance(outcome, step.Withheld) else False,
        "files": [
            {
                "egs": file.egs,
                "name": file.name,
                "sequence": file.sequence,
                "blocks": file.blocks,
                "usage_days": file.usage_days,
                "replaces": file.replaces or None,
            }
            for file in files
        ],
        "held": dict(held),
    }


def _held_back(answer: list[dict[str, Any]]) -> list[str]:
    said = []
    for one in answer:
        if one["why"]:
            waits = "blocks wait for it" if one["waiting"] else "nothing waits for it"
            said.append(f"{one['edc']}: {one['why']}; {waits}")
        held = [f"{count:,} {reason}" for reason, count in sorted(one["held"].items())]
        if held:
            said.append(f"{one['edc']}: held back: {', '.join(held)}")
    return said


def _require_held(release: tuple[str, ...], stores: Stores) -> None:
    """Raise RefusedError unless each of these drops has late blocks that are held."""
    for drop_id in release:
        with stores.ledger.read() as tx:
            try:
                drop = drops.get(tx, drop_id)
            except KeyError:
                raise RefusedError(
                    "no-such-drop", f"there is no drop {drop_id}", "see them with: meterhub drops"
                ) from None
            files = {file.id for file in loads.of_drop(tx, drop_id)}
            held = [
                one for one in holds.held(tx, edc=drop.partner, reason="late") if one.lake_file_id in files
            ]
        if not held:
            raise RefusedError("nothing-held", f"no late block of {drop_id} is held")
