"""The story of an account: whose it is, every version of each usage day, who was given which, what is held."""

from collections.abc import Iterator
from datetime import date, datetime
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from config.partners import Partner
from exchange.stories import story
from exchange.stories.story import Moment, Section, Story
from jobs.rules import ownership
from jobs.rules.ownership import Nobody
from jobs.stores import layout
from jobs.stores.ledger import loads, syncs, traces
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.outbound import read_contents
from jobs.stores.rosters import Roster
from schemas import receipt
from schemas.sync_file import ROSTER
from schemas.usage_day import local_date

DAYS = 31  # usage days that are told of, the latest, if no other number is asked for
_COLUMNS = (
    "account", "channel", "version", "stamp", "received_at", "loaded_at", "drop_id", "on_time", "outranked",
    "interval_seconds", "wh_total", "estimated",
)  # fmt: skip
_WHY = {
    Nobody.SUSPENSE: "nobody: the sync in force does not name the account (suspense)",
    Nobody.DEFAULT_SERVICE: "nobody: default service",
    Nobody.NOT_YET: "nobody yet: the supplier that is named starts later",
    Nobody.UNCLAIMED: "an EGS that is no partner (unclaimed)",
}


def tell(account: str, edc: Partner, *, days: int, stores: Stores, now: datetime) -> Story | None:
    """The whole story of an EDC's account, of its latest usage days; None when nothing is known of it.

    `days`: of how many of the latest usage days whose files may hold the account; 0: of all.
    """
    with stores.ledger.read() as tx:
        sync = syncs.in_force(tx, edc.id)
        candidates = [file for file in loads.holding(tx, account) if file.edc == edc.id]
    meters = [] if sync is None else _meters(account, sync, stores=stores)
    latest = sorted({file.usage_date for file in candidates}, reverse=True)
    chosen = latest[:days] if days else latest
    versions = sorted(
        _versions(account, [file for file in candidates if file.usage_date in set(chosen)], stores=stores),
        key=lambda row: (row["usage_date"], row["channel"], row["version"]),
    )
    if not meters and not versions:
        return None
    lake_files = {file.id: file for file in candidates}
    held, carried = _followed(account, versions, lake_files, stores=stores)
    record = (
        "nobody: no sync is in force"
        if sync is None
        else _of_record(account, edc, sync, stores=stores, now=now)
    )
    facts = {
        "edc": edc.id,
        "of_record": record,
        "sync": None if sync is None else sync.id,
        "sync_as_of": None if sync is None else sync.as_of.isoformat(),
        "days_told_of": len(chosen),
        "days_older": len(latest) - len(chosen),
    }
    sections = [_meters_section(meters), _days(versions, older=len(latest) - len(chosen)), carried, held]
    return Story(
        kind="account",
        subject=account,
        summary=f"{account} is an account of {edc.id}; of record for it is {record}.",
        facts=facts,
        timeline=story.in_order(_timeline(versions, carried)),
        sections=[section for section in sections if section.rows],
    )


def _meters(account: str, sync: Sync, *, stores: Stores) -> list[dict[str, Any]]:
    """What the sync in force says of the account, a row a meter."""
    rows = stores.lake.read_accounts(sync.path, columns=ROSTER.names, accounts=pa.array([account]))
    return [
        {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]


def _of_record(account: str, edc: Partner, sync: Sync, *, stores: Stores, now: datetime) -> str:
    egss = stores.partners.current().egss
    assert edc.zone is not None
    owners = ownership.of_record(
        standing=Roster(stores.lake, sync.path).standing_of(pa.array([account])),
        egs_duns=[egs.duns for egs in egss],
        today=local_date(now, edc.zone),
    )
    place, duns = int(owners.place[0]), owners.duns[0].as_py()
    said = egss[place].id if place >= 0 else _WHY[Nobody(place)]
    return f"{said}, DUNS {duns}" if duns else said


def _versions(account: str, files: list[LakeFile], *, stores: Stores) -> Iterator[dict[str, Any]]:
    """Every version of the account's blocks in these files; which is current, and who affirmed it when."""
    wanted = pa.array([account])
    by_day = sorted(files, key=lambda file: (file.usage_date, file.id))
    for day, group in groupby(by_day, key=lambda file: file.usage_date):
        found: list[dict[str, Any]] = []
        affirmed: dict[tuple[str, int], list[str]] = {}
        for file in group:
            columns = _COLUMNS if file.kind == "usage" else _COLUMNS[:4]
            for row in stores.lake.read_accounts(file.path, columns=columns, accounts=wanted).to_pylist():
                if file.kind == "usage":
                    found.append(row | {"file": file})
                else:
                    affirmed.setdefault((row["channel"], row["version"]), []).append(row["stamp"])
        top: dict[str, int] = {}
        for row in found:
            if not row["outranked"]:
                top[row["channel"]] = max(top.get(row["channel"], 0), row["version"])
        for row in found:
            yield {
                "usage_date": day.isoformat(),
                "channel": row["channel"],
                "version": row["version"],
                "current": row["version"] == top.get(row["channel"]),
                "stamp": row["stamp"],
                "affirmed": affirmed.get((row["channel"], row["version"]), []),
                "received_at": receipt.instant(row["received_at"]),
                "loaded_at": receipt.instant(row["loaded_at"]),
                "drop": row["drop_id"],
                "on_time": row["on_time"],
                "kwh": row["wh_total"] / 1000,
                "estimated": row["estimated"],
                "lake_file_id": row["file"].id,
            }


def _followed(
    account: str, versions: list[dict[str, Any]], lake_files: dict[int, LakeFile], *, stores: Stores
) -> tuple[Section, Section]:
    """What was held of the account and why; which files carried which of its versions to whom."""
    mine = {row["lake_file_id"] for row in versions}
    with stores.ledger.read() as tx:
        holds = traces.holds(tx, mine, account=account)
        publications = {
            publication
            for file_id in mine
            for publication in traces.of_load(
                tx, edc=lake_files[file_id].edc, seq=lake_files[file_id].load_seq
            )
        }
        files = traces.files_of(tx, publications | {hold.release for hold in holds if hold.release})
    rows = [row for file in files for row in _in_file(account, file, mine, stores=stores)]
    carried = Section(
        key="carried",
        title="Who was given what",
        columns={"usage_date": "usage day", "channel": "channel", "version": ">version", **story.OUTBOUND},
        rows=sorted(rows, key=lambda row: (row["usage_date"], row["channel"], row["version"], row["egs"])),
    )
    held = Section(
        key="held",
        title="What was held back",
        columns={
            "usage_date": "usage day",
            "blocks": ">blocks",
            "reason": "why",
            "egs_duns": "EGS DUNS",
            "since": "since",
            "released_at": "released",
            "release": "by, or why never",
        },
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
    return held, carried


def _in_file(account: str, file: OutboundFile, mine: set[int], *, stores: Stores) -> Iterator[dict[str, Any]]:
    path = layout.contents_path(file, stores=stores)
    if not path.exists():  # a publication that was cut off is not laid out yet
        return
    contents = read_contents(path)
    rows = contents.filter(pc.equal(contents["account"], account)).to_pylist()
    for row in rows:
        if row["lake_file_id"] in mine:
            yield {
                "usage_date": row["usage_date"].isoformat(),
                "channel": row["channel"],
                "version": row["version"],
                **story.outbound(file),
            }


def _meters_section(meters: list[dict[str, Any]]) -> Section:
    return Section(
        key="meters",
        title="What the sync in force says",
        columns={
            "egs_duns": "EGS DUNS",
            "egs_name": "EGS",
            "egs_start": "since",
            "account_status": "status",
            "customer_class": "class",
            "meter": "meter",
            "channels": "channels",
            "interval_seconds": ">seconds",
            "ami": "AMI",
            "zip": "ZIP",
        },
        rows=meters,
    )


def _days(versions: list[dict[str, Any]], *, older: int) -> Section:
    return Section(
        key="versions",
        title="Its usage days",
        columns={
            "usage_date": "usage day",
            "channel": "channel",
            "version": ">version",
            "current": "current",
            "stamp": "EDC's stamp",
            "affirmed": "affirmed",
            "received_at": "arrived",
            "drop": "drop",
            "on_time": "on time",
            "kwh": ">kWh",
            "estimated": ">estimated",
        },
        rows=versions,
        note=f"{older:,} older usage days are not told of; --days 0 tells of all" if older else "",
    )


def _timeline(versions: list[dict[str, Any]], carried: Section) -> Iterator[Moment]:
    for row in versions:
        which = f"version {row['version']} of {row['usage_date']}, channel {row['channel']}"
        details = {"drop": row["drop"]}
        arrived = datetime.fromisoformat(row["received_at"])
        yield Moment(at=arrived, event="drop.arrived", words=f"{which}, came", details=details)
    for given in carried.rows:
        which = f"version {given['version']} of {given['usage_date']}, channel {given['channel']}"
        for key, event, words in (
            ("laid_out_at", "outbound.laid_out", f"{which}, was laid before {given['egs']}"),
            ("collected_at", "outbound.collected", f"{given['egs']} has {which}"),
            ("withdrawn_at", "outbound.withdrawn", f"{which}, was taken back from {given['egs']}"),
        ):
            if given[key]:
                at = datetime.fromisoformat(given[key])
                yield Moment(at=at, event=event, words=words, details={"file": given["file"]})
