"""Columns: what rows say besides what `rows` looks at, held to what their events say of it, column by column.

What a ledger that was lost and made again has from before is known less well: of that, only what is told.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

from jobs.proofs.finding import ASK, Check, Finding
from jobs.proofs.known import Known
from schemas import file_name, tables
from schemas.drop import IN_INBOUND


def check(known: Known) -> Iterator[Finding]:
    """All of it."""
    yield from _drops(known)
    yield from _loads(known)
    yield from _syncs(known)
    yield from _parts(known)
    yield from _publications(known)
    yield from _outbound(known)


def _drops(known: Known) -> Iterator[Finding]:
    told = known.told
    received = {paper.about for paper in told.papers.values() if paper.name.endswith(".received.json")}
    for row in known.drops:
        wanted: dict[str, Any] = {
            "partner": told.senders.get(row.id, row.partner),
            "in_inbound": row.stage in IN_INBOUND or (row.stage == "received" and row.id not in received),
        }
        end = told.ended.get(row.id)
        wanted["ended_at"] = end.at if end is not None and row.stage != "discarded" else _text(row.ended_at)
        if end is not None and not told.deeds.was_lost:
            said = json.loads(end.details)
            wanted |= {"duplicate_of": said.get("of", ""), "sync_id": said.get("sync", "")}
            wanted |= {"rows_loaded": said.get("rows", 0), "kind": told.kinds.get(row.id, _kind(row))}
        yield from _differs(Check.DROPS, row.id, row, wanted, claim=f"drop:{row.id}")


def _kind(row: Any) -> str:
    """What a drop that was not accepted is, by its name; one that was refused for its name is nothing."""
    parsed = file_name.parse(row.name)
    return str(parsed.kind) if row.kind and isinstance(parsed, file_name.FileName) else ""


def _loads(known: Known) -> Iterator[Finding]:
    """A load is of its drop's sender and instant; loads stand in the order of their events; files are of theirs."""
    ended = known.told.ended
    seqs = {row.drop_id: row.seq for row in known.loads}
    last = 0
    for row in known.loads:
        end = ended.get(row.drop_id)
        if end is None:
            continue  # which is told where drops and loads are counted
        wanted = {
            "edc": end.partner,
            "loaded_at": _text(row.loaded_at) if known.told.deeds.was_lost else end.at,
        }
        yield from _differs(Check.DROPS, row.drop_id, row, wanted)
        if end.id < last and not known.told.deeds.was_lost:
            yield _finding(Check.DROPS, row.drop_id, "its load does not stand where its event does")
        last = end.id
    for file in known.lake_files:
        wanted = {
            "load_seq": seqs.get(file.drop_id, 0),
            "edc": known.told.senders.get(file.drop_id, file.edc),
        }
        day = file.path.partition("usage_date=")[2][:10]
        kind = "affirmed" if file.path.endswith(".affirmed.parquet") else "usage"
        found = {
            "load_seq": file.load_seq,
            "edc": file.edc,
            "usage_date": str(file.usage_date),
            "kind": file.kind,
        }
        for name, stands in (wanted | {"usage_date": day, "kind": kind}).items():
            if found[name] != stands:
                what = f"its {name} is {found[name]} in its row, and it is {stands}"
                yield _finding(Check.LAKE, f"lake: {file.path}", what)


def _syncs(known: Known) -> Iterator[Finding]:
    for row in known.syncs:
        told = known.told.of_syncs.get(row.id, {})
        yield from _differs(Check.SYNCS, row.id, row, told, claim=f"outbound:{row.edc}")
        if not known.told.deeds.was_lost:
            absent = dict.fromkeys(
                ("completed_at", "in_force_at", "superseded_at", "why", "path", "sha256"), ""
            ) | dict.fromkeys(("rows", "accounts", "due", "moved", "share_moved"), 0)
            wanted = {name: none for name, none in absent.items() if name not in told}
            yield from _differs(Check.SYNCS, row.id, row, wanted, claim=f"outbound:{row.edc}")
        if not row.id.startswith(f"S{row.as_of:%y%m%d}-{row.edc}-"):
            yield _finding(Check.SYNCS, row.id, f"its row says it is as of {row.as_of}, of {row.edc}")


def _parts(known: Known) -> Iterator[Finding]:
    """Each part is what its drop brought, or the drop of which it is a duplicate; a sync that was complete has all
    of its parts, any other those that drops brought.
    """
    said_of = {drop_id: json.loads(link.details) for drop_id, link in known.told.ended.items()}
    numbers: dict[str, set[int]] = defaultdict(set)
    for row in known.parts:
        numbers[row.sync_id].add(row.part)
        said = said_of.get(row.drop_id, {})
        said = said_of.get(said.get("of", ""), said)
        if "part" not in said:
            yield _finding(
                Check.SYNCS, row.sync_id, f"its part {row.part} is of {row.drop_id}, which brought none"
            )
            continue
        (path,) = said["lake"]
        wanted = {"part": said["part"], "path": path, "rows": said["rows"]}
        yield from _differs(Check.SYNCS, row.sync_id, row, wanted)
    for row in known.syncs:
        whole = set(range(1, row.parts + 1)) if row.completed_at is not None else set()
        lacking = (known.told.parts.get(row.id, set()) | whole) - numbers[row.id]
        if lacking and not known.told.deeds.was_lost:
            yield _finding(Check.SYNCS, row.id, f"there is no row of its parts {sorted(lacking)}")


def _publications(known: Known) -> Iterator[Finding]:
    told = known.told
    for publication_id in told.published.keys() - {row.id for row in known.publications}:
        yield _finding(Check.SEQUENCE, publication_id, "its event is there, and its row is not")
    for row in known.publications:
        link = told.published.get(row.id)
        if link is None:
            yield _finding(Check.SEQUENCE, row.id, "no event tells of it")
            continue
        said = json.loads(link.details)
        wanted = {name: said[name] for name in ("after_seq", "through_seq", "files", "blocks")}
        wanted |= {
            "edc": link.partner,
            "at": link.at,
            "sync_id": said["sync"],
            "replaces": said.get("replaces", ""),
        }
        wanted["laid_out"] = row.id in told.laid_out or said["files"] == 0
        yield from _differs(Check.SEQUENCE, row.id, row, wanted, claim=f"outbound:{row.edc}")


def _outbound(known: Known) -> Iterator[Finding]:
    edcs = {row.id: row.edc for row in known.publications}
    written_again = Counter((row.egs, row.replaces) for row in known.outbound if row.replaces)
    for row in known.outbound:
        told = known.told.of_files.get((row.egs, row.name), {})
        at = known.told.laid_out.get(row.publication_id, "")
        wanted = {
            "state": "laid-out" if at else "recorded",
            "laid_out_at": _text(row.laid_out_at) if known.told.deeds.was_lost else at,
            "edc": edcs.get(row.publication_id, row.edc),
            "withdrawn_at": "",
            "withdrawn_by": "",
            "expired_at": "",
            "collected_at": "",
        } | told
        yield from _differs(
            Check.SEQUENCE, f"{row.egs}: {row.name}", row, wanted, claim=f"outbound:{row.edc}"
        )
        again = written_again[row.egs, row.name]
        if bool(row.replaced_by) != bool(again) or (row.rewrite_due and (again or not row.withdrawn_at)):
            what = "whether it was written again is not what its successor says"
            yield _finding(Check.SEQUENCE, f"{row.egs}: {row.name}", what)


def _differs(
    check: Check, where: str, row: Any, wanted: Mapping[str, Any], *, claim: str = ""
) -> Iterator[Finding]:
    for name, stands in wanted.items():
        found = getattr(row, name)
        if hasattr(found, "tzinfo") or (found is None and isinstance(stands, str)):
            found = _text(found)
        if found != stands:
            what = f"its {name} is {found or 'nothing'} in its row and {stands or 'nothing'} by its events"
            yield Finding(check=check, where=where, what=what, do=ASK, claim=claim)


def _text(at: Any) -> str:
    return "" if at is None else at.strftime(tables.ISO)


def _finding(check: Check, where: str, what: str) -> Finding:
    return Finding(check=check, where=where, what=what, do=ASK)
