"""The story of an account: whose it is and was, every version of each usage day, who was given which, what is held."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby
from typing import Any

import pyarrow as pa

from config.partners import Partner
from exchange.stories import archived, given, of_record, story
from exchange.stories.story import Moment, Section, Story
from jobs.stores.ledger import drops, loads, syncs
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from schemas import receipt
from schemas.drop import Drop
from schemas.sync_file import ROSTER
from schemas.usage_day import local_date

DAYS = 31  # usage days that are told of, the latest, if no other number is asked for
_AFFIRMED = ("account", "channel", "version", "stamp")
_COLUMNS = (
    *_AFFIRMED, "received_at", "loaded_at", "drop_id", "on_time", "outranked", "interval_seconds", "status",
    "wh_total", "estimated", "line",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Of which usage days an account's story is told: of one; or of so many, the latest (0: of all)."""

    days: int = DAYS
    day: date | None = None

    def chosen(self, there: Iterable[date]) -> list[date]:
        """Of the days there are, those that are told of, the latest first."""
        latest = sorted(set(there), reverse=True)
        if self.day is not None:
            return [day for day in latest if day == self.day]
        return latest[: self.days] if self.days else latest


def tell(account: str, edc: Partner, *, span: Span, stores: Stores, now: datetime) -> Story | None:
    """The whole story of an EDC's account, of some of its usage days; None when nothing is known of it."""
    with stores.ledger.read() as tx:
        sync = syncs.in_force(tx, edc.id)
        candidates = loads.holding(tx, account, edc=edc.id, day=span.day)
    meters = [] if sync is None else _meters(account, sync, stores=stores)
    there = {file.usage_date for file in candidates}
    chosen = set(span.chosen(there))
    lake_files = {file.id: file for file in candidates if file.usage_date in chosen}
    versions = list(_versions(account, list(lake_files.values()), stores=stores))
    if not meters and not versions:
        return None
    sent = _drops(versions, stores=stores)
    for row in versions:
        row["file"] = sent[row["drop"]].name
    if span.day is not None:
        _hold_to_the_archive(account, versions, sent, edc, stores=stores)
    held, carried = given.followed(
        account, {row["lake_file_id"] for row in versions}, lake_files, stores=stores
    )
    since = None if not (span.days or span.day) else _first(versions)
    ruled = of_record.periods(account, edc, since=since, stores=stores, now=now)
    assert edc.zone is not None
    record = "nobody: no sync is in force"
    if sync is not None:
        record = of_record.said_of(account, sync, local_date(now, edc.zone), stores=stores).words
    nothing = "" if versions or span.day is None else f" Of {span.day} no reading of it is loaded."
    older = len(there) - len(chosen) if span.day is None else 0
    facts = {
        "edc": edc.id,
        "of_record": record,
        "sync": None if sync is None else sync.id,
        "sync_as_of": None if sync is None else sync.as_of.isoformat(),
        "usage_day": None if span.day is None else span.day.isoformat(),
        "days_told_of": len(chosen),
        "days_older": older,
    }
    sections = [
        of_record.section(ruled),
        _days(versions, older=older),
        carried,
        held,
        _meters_section(meters),
    ]
    return Story(
        kind="account",
        subject=account,
        summary=f"{account} is an account of {edc.id}; of record for it is {record}.{nothing}",
        facts=facts,
        timeline=story.in_order(_timeline(ruled, versions, sent, carried, held)),
        sections=[section for section in sections if section.rows],
        in_timeline=("carried", "held"),
    )


def _meters(account: str, sync: Sync, *, stores: Stores) -> list[dict[str, Any]]:
    """What the sync in force says of the account, a row a meter."""
    rows = stores.lake.read_accounts(sync.path, columns=ROSTER.names, accounts=pa.array([account]))
    return [
        {name: value.isoformat() if isinstance(value, date) else value for name, value in row.items()}
        for row in rows.to_pylist()
    ]


def _versions(account: str, files: Sequence[LakeFile], *, stores: Stores) -> Iterator[dict[str, Any]]:
    """Every version of the account's blocks in these files, by day, channel and version; which is current, and with
    which stamps and drops it was affirmed.
    """
    wanted = pa.array([account])
    by_day = sorted(files, key=lambda file: (file.usage_date, file.id))
    for day, group in groupby(by_day, key=lambda file: file.usage_date):
        found: list[dict[str, Any]] = []
        affirmed: dict[tuple[str, int], list[tuple[str, str]]] = {}
        for file in group:
            columns = _COLUMNS if file.kind == "usage" else _AFFIRMED
            for row in stores.lake.read_accounts(file.path, columns=columns, accounts=wanted).to_pylist():
                if file.kind == "usage":
                    found.append(row | {"file_id": file.id})
                else:
                    key = row["channel"], row["version"]
                    affirmed.setdefault(key, []).append((row["stamp"], file.drop_id))
        top: dict[str, int] = {}
        for row in found:
            if not row["outranked"]:
                top[row["channel"]] = max(top.get(row["channel"], 0), row["version"])
        for row in sorted(found, key=lambda row: (row["channel"], row["version"])):
            again = affirmed.get((row["channel"], row["version"]), [])
            yield {
                "usage_date": day.isoformat(),
                "channel": row["channel"],
                "version": row["version"],
                "current": row["version"] == top.get(row["channel"]),
                "outranked": row["outranked"],
                "stamp": row["stamp"],
                "affirmed": [stamp for stamp, _ in again],
                "affirmed_by": [drop for _, drop in again],
                "received_at": receipt.instant(row["received_at"]),
                "loaded_at": receipt.instant(row["loaded_at"]),
                "drop": row["drop_id"],
                "file": "",
                "line": row["line"],
                "on_time": row["on_time"],
                "kwh": row["wh_total"] / 1000,
                "intervals": len(row["status"]),
                "estimated": row["estimated"],
                "lake_file_id": row["file_id"],
            }


def _drops(versions: Sequence[dict[str, Any]], *, stores: Stores) -> dict[str, Drop]:
    """The drops that versions came with, or were affirmed by."""
    wanted = sorted({one for row in versions for one in (row["drop"], *row["affirmed_by"])})
    with stores.ledger.read() as tx:
        return {one: drops.get(tx, one) for one in wanted}


def _first(versions: Sequence[dict[str, Any]]) -> datetime | None:
    """When the first of these came."""
    return min((datetime.fromisoformat(row["received_at"]) for row in versions), default=None)


def _hold_to_the_archive(
    account: str, versions: list[dict[str, Any]], sent: dict[str, Drop], edc: Partner, *, stores: Stores
) -> None:
    for row in versions:
        day = date.fromisoformat(row["usage_date"])
        said = {"account": account, "line": row["line"], "stamp": row["stamp"]}
        said |= {"wh_total": round(row["kwh"] * 1000), "estimated": row["estimated"]}
        drop = sent[row["drop"]]
        row.update(archived.held_to(said, drop, edc, channel=row["channel"], day=day, stores=stores))


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
            "channel": "ch",
            "version": ">v",
            "current": "now",
            "outranked": "outranked",
            "received_at": "arrived (UTC)",
            "kwh": ">kWh",
            "estimated": ">est",
            "drop": "drop",
            "line": ">line",
        },
        rows=versions,
        note=f"{older:,} older usage days are not told of; --days 0 tells of all" if older else "",
    )


_HELD = {
    "unfetched": "it had been taken back before it was fetched",
    "nobody": "nobody was of record when it came",
}


def _timeline(
    ruled: Sequence[dict[str, Any]],
    versions: Sequence[dict[str, Any]],
    sent: dict[str, Drop],
    carried: Section,
    held: Section,
) -> Iterator[Moment]:
    for one in ruled:
        details = {name: one[name] for name in ("sync", "sync_as_of", "egs_start")}
        yield _moment(one["since"], "sync.enforced", f"of record is {one['words']}", details)
    for row in versions:
        which = _which(row)
        told = ("file", "line", "drop", "stamp", "on_time", "archive")
        said = {name: row[name] for name in told if name in row}
        if row["outranked"]:
            said["outranked"] = "a version with a later stamp stood: this one is kept, and never counted"
        much = f"{row['kwh']:,.3f} kWh, {row['estimated']} of {row['intervals']} estimated"
        yield _moment(row["received_at"], "drop.arrived", f"{which}, came: {much}", said)
        for stamp, drop in zip(row["affirmed"], row["affirmed_by"], strict=True):
            again = {"file": sent[drop].name, "drop": drop, "stamp": stamp}
            arrived = receipt.instant(sent[drop].arrived_at)
            yield _moment(arrived, "drop.arrived", f"{which}, came again unchanged", again)
    for hold in held.rows:
        words = f"a block of {hold['usage_date']} was held back: {_HELD.get(hold['reason'], hold['reason'])}"
        yield _moment(hold["since"], "publication.recorded", words, {"egs_duns": hold["egs_duns"]})
        if hold["released_at"]:
            words = f"a block of {hold['usage_date']} is held back no more"
            details = {"release": hold["release"]}
            yield _moment(hold["released_at"], "publication.recorded", words, details)
    for row_of_file in carried.rows:
        yield from _given(row_of_file)


def _given(row: Mapping[str, Any]) -> Iterator[Moment]:
    """What became of a file that holds a version: laid out, read, withdrawn, gone."""
    which, egs, file = _which(row), row["egs"], {"file": row["file"]}
    if row["laid_out_at"]:
        details = file | {name: row[name] for name in ("sequence", "publication", "sync")}
        yield _moment(row["laid_out_at"], "outbound.laid_out", f"{which}, was laid before {egs}", details)
    for read in row["collections"]:
        words = f"{egs} has {which}" if read["whole"] else f"{egs} broke off fetching {which}"
        told = ("bytes", "of", "whole", "address", "key_fingerprint")
        yield _moment(
            read["ended_at"], "outbound.collected", words, file | {name: read[name] for name in told}
        )
    if row["withdrawn_at"]:
        details = file | {name: row[name] for name in ("withdrawn_by", "replaced_by")}
        yield _moment(
            row["withdrawn_at"], "outbound.withdrawn", f"{which}, was taken back from {egs}", details
        )
    if row["expired_at"]:
        words = f"{which}, had lain before {egs} for long enough"
        yield _moment(row["expired_at"], "outbound.expired", words, file)


def _which(row: Mapping[str, Any]) -> str:
    return f"version {row['version']} of {row['usage_date']}, channel {row['channel']}"


def _moment(at: str, event: str, words: str, details: Mapping[str, Any]) -> Moment:
    return Moment(at=datetime.fromisoformat(at), event=event, words=words, details=details)
