"""Publications, outbound files, what was held, and verdicts as they were."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime

from sqlalchemy import Connection, Table, select, true

from jobs.stores.ledger.history import Later, Row, Until, Wanted, events_about, rows_of
from schemas import tables


def publications(tx: Connection, later: Later, wanted: Wanted) -> Iterator[Row]:
    recorded, laid_out = later.about("publication.recorded"), later.about("publication.laid_out")
    for row in rows_of(tx, tables.publication, wanted.of(tables.publication.c.edc)):
        if row["id"] not in recorded:
            yield row | ({"laid_out": row["files"] == 0} if row["id"] in laid_out else {})


def outbound_files(tx: Connection, later: Later, wanted: Wanted, publications: set[str]) -> Iterator[Row]:
    laid_out = later.about("publication.laid_out")
    withdrawn = {(row["partner"], row["about"]) for row in later.events["outbound.withdrawn"]}
    expired = {(row["partner"], row["about"]) for row in later.events["outbound.expired"]}
    fetched = {
        (row["partner"], row["about"])
        for row in later.events["outbound.collected"]
        if row["details"]["whole"]
    }
    heirs = {row["about"] for row in later.events["outbound.recorded"]}
    rewritten = {
        row["partner"]: row for row in later.events["publication.recorded"] if row["details"].get("replaces")
    }
    written_again = _last_rewrites(tx, publications)
    file = tables.outbound_file
    for row in rows_of(tx, file, wanted.of(file.c.edc)):
        key = (row["egs"], row["name"])
        if row["publication_id"] not in publications:
            continue
        if key in expired:
            row |= {"expired_at": None, "state": "laid-out" if row["state"] == "expired" else row["state"]}
        if key in withdrawn:
            row |= {"state": "laid-out", "withdrawn_at": None, "withdrawn_by": "", "rewrite_due": False}
        elif row["withdrawn_at"] is not None and row["edc"] in rewritten:
            since = written_again.get(row["edc"])
            is_done = since is not None and row["withdrawn_at"] < since
            row["rewrite_due"] = not is_done and _was_due(tx, key, later.until, row["edc"])
        if row["replaced_by"] in heirs:
            row["replaced_by"] = ""
        if key in fetched and not _was_fetched(tx, key, later.until):
            row["collected_at"] = None
        if row["publication_id"] in laid_out:
            row |= {"state": "recorded", "laid_out_at": None}
        yield row


def _last_rewrites(tx: Connection, publications: set[str]) -> dict[str, datetime]:
    """By EDC, when files that were withdrawn had been written again last, by one of these publications."""
    publication = tables.publication
    found: dict[str, datetime] = {}
    for row in rows_of(tx, publication, publication.c.replaces != ""):
        if row["id"] in publications:
            found[row["edc"]] = max(row["at"], found.get(row["edc"], row["at"]))
    return found


def _was_due(tx: Connection, key: tuple[str, str], until: Until, edc: str) -> bool:
    """Whether a file that was withdrawn by then was still to be written again."""
    event = tables.event
    taken = _of_file(tx, key, "outbound.withdrawn", until)
    if not taken or not taken[0]["details"]["rewrite"]:
        return False
    where = (event.c.name == "publication.recorded") & (event.c.partner == edc)
    between = where & (event.c.id > taken[0]["id"]) & until.earlier
    return not any(row["details"].get("replaces") for row in rows_of(tx, event, between))


def _was_fetched(tx: Connection, key: tuple[str, str], until: Until) -> bool:
    return any(row["details"]["whole"] for row in _of_file(tx, key, "outbound.collected", until))


def _of_file(tx: Connection, key: tuple[str, str], name: str, until: Until) -> list[Row]:
    event = tables.event
    where = (event.c.about == key[1]) & (event.c.partner == key[0]) & (event.c.name == name)
    return list(rows_of(tx, event, where & until.earlier))


def collections(tx: Connection, later: Later, wanted: Wanted) -> Iterator[Row]:
    if wanted.edc:
        return
    rows = list(rows_of(tx, tables.collection, true()))
    yield from rows[: len(rows) - len(later.events["outbound.collected"])]


def held(
    tx: Connection, later: Later, publications: list[Row], lake_files: set[int], wanted: Wanted
) -> Iterator[tuple[Table, list[Row]]]:
    """What was held, and why; held by a publication, and given free by one."""
    held, was = tables.held, tables.held_before
    looked: dict[str, int] = defaultdict(int)
    for one in publications:
        looked[one["edc"]] = max(looked[one["edc"]], one["through_seq"])
    first: dict[str, datetime] = {}
    # By EDC, when withdrawn files were written again, and what was new: what was lost by the one, and what the other
    # found that had been nobody's, is held since.
    rewritten, anew = set(), set()
    for event in later.events["publication.recorded"]:
        if event["details"].get("replaces"):
            rewritten.add((event["partner"], event["at"]))
        else:
            first.setdefault(event["partner"], event["at"])
            anew.add((event["partner"], event["at"]))
    recorded = later.about("publication.recorded")
    before: dict[int, Row] = {}
    kept_before = []
    for row in rows_of(tx, was, true()):
        if row["publication_id"] in recorded:
            before.setdefault(row["held_id"], row)
        else:
            kept_before.append(row)
    file = tables.lake_file
    seq = dict(tx.execute(select(file.c.id, file.c.load_seq).where(wanted.of(file.c.edc))).all())
    rows = []
    for row in rows_of(tx, held, wanted.of(held.c.edc)):
        if row["lake_file_id"] not in lake_files or seq[row["lake_file_id"]] > looked[row["edc"]]:
            continue
        if (row["edc"], row["since"]) in {"unfetched": rewritten, "nobody": anew}.get(row["reason"], ()):
            continue
        at = first.get(row["edc"])
        given_later = row["release"] in recorded if row["release"].startswith("P") else (
            at is not None and row["released_at"] is not None and row["released_at"] >= at
        )  # fmt: skip
        if given_later:
            row |= {"released_at": None, "release": ""}
        if row["id"] in before:
            row |= {name: before[row["id"]][name] for name in ("reason", "egs_duns")}
        rows.append(row)
    there = {row["id"] for row in rows}
    yield held, rows
    yield was, [row for row in kept_before if row["held_id"] in there]


def verdicts(tx: Connection, later: Later, wanted: Wanted) -> Iterator[Row]:
    judged = later.about("deadline.met", "deadline.missed", "deadline.unjudged")
    reported = later.about("deadline.reported")
    for row in rows_of(tx, tables.verdict, wanted.of(tables.verdict.c.edc)):
        about = f"{row['edc']}/{row['usage_date']}"
        if about in judged:
            continue
        if about in reported:
            said = [
                one
                for one in events_about(tx, about, until=later.until, kind="deadline.")
                if "through" in one["details"]
            ]
            details = said[-1]["details"]
            row |= {
                "late": details["late"],
                "missing": details["missing"],
                "reported_seq": details["through"],
            }
        yield row
