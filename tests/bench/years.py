"""Three years of nights as a hub's ledger has them, made at once: rows, and lake files that are links to one."""

import contextlib
import shutil
import sqlite3
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from sqlalchemy import JSON, Boolean, Float, Integer, text
from sqlalchemy.sql.type_api import TypeEngine

from jobs.stores.ledger import loads
from jobs.stores.opened import Stores
from schemas import tables
from schemas.sample import Edc, Egs

NIGHTS = 3 * 365 + 1
BUCKETS = 150  # of a night: with 1,096 nights 164,400 lake files
PARTS = 20  # of a night's sync
KEPT = 30  # nights whose outbound files still lie there
LINKS = 50_000  # to one file; some file systems take no more than 65,000

# The rows of a night, `:day` being its usage day and `:due` the morning after; k counts from 1.
_MORNING = ":due || 'T09:15:' || printf('%09.6f', 59.0 * k / (:buckets + :parts)) || 'Z'"
_DROP = "'D' || :short || '-' || printf('%05d', k)"
_SHA = "printf('%064d', :night * 1000 + k)"
_FILE = "printf('%sINTERVALDATA%s%03d.lse', :duns, :short, k)"
_OUT = "printf('%s%s%03d.lse.gz', :duns, :short, k)"
_COUNT = "with recursive c(k) as (select 1 union all select k + 1 from c where k < :most)"
_SYNC = "'S' || :short || '-' || :edc || '-1'"
_PUB = "'P' || :short || '-00001'"
_COLLECTED = ":due || 'T15:00:00.000000Z'"


def _insert(table: str, most: str, **columns: str) -> str:
    """Rows of a table, `most` of them. Columns that are not named are empty."""
    for column in tables.metadata.tables[table].columns:
        if not column.nullable and not column.primary_key and column.name not in columns:
            columns[column.name] = _empty(column.type)
    count = _COUNT.replace(":most", most)
    return f'insert into "{table}" ({", ".join(columns)}) {count} select {", ".join(columns.values())} from c'


def _empty(kind: TypeEngine[Any]) -> str:
    return "'[]'" if isinstance(kind, JSON) else "0" if isinstance(kind, Integer | Boolean | Float) else "''"


def _events(name: str, most: str, about: str, partner: str, details: str) -> str:
    return _insert(
        "event", most, at=_MORNING, name=f"'{name}'", partner=partner, about=about, details=details
    )


_DROPS = {
    "id": _DROP, "partner": ":edc", "name": _FILE, "stage": "'loaded'", "arrived_at": _MORNING,
    "bytes": "51000000", "in_inbound": "0", "kind": "case when k > :buckets then 'sync' else 'interval' end",
    "sha256": _SHA, "outcome": "'accepted'", "receipt_due": "0", "duplicate_of": "''",
    "sync_id": f"case when k > :buckets then {_SYNC} else '' end",
    "usage_days": "json_array(:day)", "blocks_loaded": "50000", "blocks_late": "0", "blocks_replacing": "0",
    "blocks_unchanged": "0", "blocks_rejected": "0", "intervals_loaded": "4800000", "rows_loaded": "0",
    "suspense": "0", "faults": "'[]'", "faults_total": "0", "ended_at": _MORNING,
}  # fmt: skip
_SYNCS = {
    "id": _SYNC, "edc": ":edc", "as_of": ":due", "parts": ":parts", "state": "'superseded'",
    "began_at": _MORNING, "completed_at": _MORNING, "in_force_at": _MORNING, "superseded_at": _MORNING,
    "path": ":roster", "sha256": _SHA, "rows": "1000000", "accounts": "1000000", "due": "1000000",
    "moved": "0", "share_moved": "0", "why": "''",
}  # fmt: skip
_LAKE = {
    "load_seq": "(:night - 1) * :buckets + k + 1", "drop_id": _DROP, "edc": ":edc", "usage_date": ":day",
    "kind": "'usage'", "path": "'usage/usage_date=' || :day || '/' || :edc || '.' || " + _DROP + " || '.parquet'",
    "rows": "50000", "first_versions": "50000", "late": "0",
    # every bucket has a range of accounts of its own; the first has those of the file that all link to
    "account_low": "case when k = 1 then :low else printf('%017d', 20000000000000000 + k * 50000) end",
    "account_high": "case when k = 1 then :high else printf('%017d', 20000000000049999 + k * 50000) end",
    "version_low": "1", "version_high": "1", "bytes": "6000000", "sha256": _SHA,
}  # fmt: skip
_OUTBOUND = {
    "egs": "printf('egs%03d', k - 1)", "sequence": "1000 + :night", "name": _OUT, "edc": ":edc",
    "publication_id": _PUB, "sync_id": _SYNC,
    "state": "case when :lies then 'laid-out' else 'expired' end", "sha256": _SHA, "bytes": "60000000",
    "blocks": "75000", "intervals": "7200000", "estimated": "0", "versions_above_1": "0",
    "usage_days": "json_array(:day)", "contents": "(select contents from outbound_file where id = (k - 1) % :files_before + 1)", "replaces": "''", "laid_out_at": _MORNING,
    "withdrawn_by": "''", "rewrite_due": "0", "replaced_by": "''",
    "expired_at": f"case when :lies then null else {_COLLECTED} end", "collected_at": _COLLECTED,
}  # fmt: skip
_COLLECTION = {
    "outbound_file_id": ":files_before + (:night - 1) * :egss + k", "partner": "printf('egs%03d', k - 1)",
    "address": "'203.0.113.7'", "key_fingerprint": "'SHA256:0'", "session": "printf('s%d', :night * 1000 + k)",
    "began_at": _COLLECTED, "ended_at": _COLLECTED, "bytes": "60000000", "whole": "1",
}  # fmt: skip
_HELD = {
    "edc": ":edc", "lake_file_id": "(:night - 1) * :buckets + 2", "account": "printf('%017d', k)",
    "channel": "'4'", "reason": "'suspense'", "egs_duns": "''", "since": _MORNING,
    "released_at": _COLLECTED, "release": _PUB,
}  # fmt: skip
_PUBLICATION = {
    "id": _PUB, "edc": ":edc", "sync_id": _SYNC, "at": _MORNING, "after_seq": "(:night - 1) * :buckets + 1",
    "through_seq": ":night * :buckets + 1", "files": ":egss", "blocks": "75000 * :egss", "laid_out": "1",
    "replaces": "''",
}  # fmt: skip
_VERDICT = {
    "edc": ":edc", "usage_date": ":day", "deadline": _COLLECTED, "verdict": "'met'", "sync_id": _SYNC,
    "expected": "7500000", "in_time": "7500000", "late": "0", "missing": "0", "last_load_at": _MORNING,
    "hub_late_seconds": "0", "judged_at": _COLLECTED, "reported_seq": ":night * :buckets + 1",
}  # fmt: skip
_SLOT = ":edc || '@' || :due || 'T' || printf('%02d:%02d', k / 4, k % 4 * 15) || ':00+00:00'"
_RUN = {"job": "'publish'", "key": _SLOT, "began_at": _COLLECTED, "ended_at": _COLLECTED,
        "said": """'{"outcome": "NothingNew"}'"""}  # fmt: skip
_NAME = f"json_object('name', {_FILE}, 'bytes', 51000000)"
_HASH = f"json_object('sha256', {_SHA}, 'bytes', 51000000)"

A_NIGHT = [
    _insert("drop", ":buckets + :parts", **_DROPS),
    _events("drop.arrived", ":buckets + :parts", _DROP, ":edc", _NAME),
    _events("drop.received", ":buckets + :parts", _DROP, ":edc", _HASH),
    _events("drop.accepted", ":buckets + :parts", _DROP, ":edc", "json_object('kind', 'interval')"),
    _events("drop.loaded", ":buckets + :parts", _DROP, ":edc", "json_object('blocks_loaded', 50000)"),
    _insert("load", ":buckets", seq="(:night - 1) * :buckets + k + 1", drop_id=_DROP, edc=":edc", loaded_at=_MORNING),
    _insert("lake_file", ":buckets", **_LAKE),
    _insert("sync", "1", **_SYNCS),
    _insert("sync_part", ":parts", sync_id=_SYNC, part="k",
            drop_id=_DROP.replace(", k)", ", :buckets + k)"), path="'gone'", rows="50000"),
    _insert("publication", "1", **_PUBLICATION),
    _insert("outbound_file", ":egss", **_OUTBOUND),
    _events("outbound.collected", ":egss", _OUT, "printf('egs%03d', k - 1)", "json_object('whole', json('true'))"),
    _events("outbound.expired", ":egss * (not :lies)", _OUT, "printf('egs%03d', k - 1)", "'{}'"),
    _insert("collection", ":egss", **_COLLECTION),
    _insert("held", "50", **_HELD),
    _insert("verdict", "1", **_VERDICT),
    _insert("job_run", "95", **_RUN),
]  # fmt: skip


def fill(
    stores: Stores, *, source: Path, edc: Edc, egss: tuple[Egs, ...], first: date, nights: int = NIGHTS,
    buckets: int = BUCKETS,
) -> int:  # fmt: skip
    """Give a new hub `nights` nights of an EDC, from usage day `first` on; how many lake files that are.
    All of them are links to `source`, a lake file whose blocks are of the first bucket's accounts; all rosters are
    the one that the hub has.
    """
    low, high = _accounts(source)
    with stores.ledger.write() as tx:
        files_before = tx.execute(text("select max(id) from outbound_file")).scalar_one()
        roster = tx.execute(text("select max(path) from sync")).scalar_one()
        for night in range(1, nights + 1):
            day = first + timedelta(days=night - 1)
            due = day + timedelta(days=1)
            facts = {
                "night": night, "day": day.isoformat(), "due": due.isoformat(), "short": f"{due:%y%m%d}",
                "edc": edc.id, "duns": edc.duns, "egss": len(egss), "buckets": buckets, "parts": PARTS,
                "files_before": files_before, "lies": int(nights - night < KEPT), "low": low, "high": high,
                "roster": roster,
            }  # fmt: skip
            for statement in A_NIGHT:
                tx.exec_driver_sql(statement, facts)
        paths = loads.paths(tx, kind="usage")
    with contextlib.closing(sqlite3.connect(stores.home.ledger_file)) as ledger:
        ledger.execute("pragma wal_checkpoint(truncate)")  # years would have been written bit by bit
    _link(stores.lake.root, paths, source)
    return len(paths)


def _accounts(source: Path) -> tuple[str, str]:
    accounts = pq.read_table(source, columns=["account"], partitioning=None)["account"]
    return accounts[0].as_py(), accounts[-1].as_py()


def _link(lake: Path, paths: list[str], source: Path) -> None:
    """Make every path that is not there yet a link to the source, or to one of its copies."""
    missing = [path for path in paths if not (lake / path).exists()]
    for begin in range(0, len(missing), LINKS):
        copy = source.with_name(f".copy-{begin}")
        shutil.copyfile(source, copy)
        for path in missing[begin : begin + LINKS]:
            (lake / path).parent.mkdir(parents=True, exist_ok=True)
            (lake / path).hardlink_to(copy)
