"""Why each account of an EDC's usage day is among what an EGS was given, or is not: worked out in SQL, upon the roster in
force, the day's lake files, and the lists of what the EGS's files hold.

Nothing of it is held but what DuckDB keeps of a table; what does not fit spills into a folder of the home.
"""
# ruff: noqa: S608 - what is put into SQL here are names of our own

import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from sqlalchemy import Connection, select

from config.partners import Partner
from jobs.stores import layout
from jobs.stores.ledger import loads, outbox, syncs, traces
from jobs.stores.ledger.loads import LakeFile
from jobs.stores.ledger.outbox import OutboundFile
from jobs.stores.ledger.syncs import Sync
from jobs.stores.opened import Stores
from jobs.stores.outbound import read_contents
from schemas import tables
from schemas.usage_day import local_date

_SETTINGS = {
    "memory_limit": "1GB",
    "preserve_insertion_order": "false",
    "python_enable_replacements": "false",
}
_BATCH = 5_000  # rows

# By reason, whether the account is in, and the reason in words.
REASONS: dict[str, tuple[bool, str]] = {
    "given": (True, "the version that counts was laid before it"),
    "given-older": (True, "an older version was laid before it"),
    "given-before": (True, "given while it was of record; no longer is"),
    "fetched": (True, "of record; fetched in a file withdrawn since"),
    "taken-back": (False, "taken back by a sync that took the account"),
    "missing": (False, "of record; a reading is due, none has come"),
    "not-due": (False, "of record; none is due, and none came"),
    "waiting": (False, "of record; loaded, not published yet"),
    "held": (False, "of record; held back still"),
    "given-up": (False, "of record; held back, and given up"),
    "unfetched": (False, "of days before its start; not fetched by who had it"),
    "nobodys": (False, "came when nobody was of record, before its start"),
    "before-switch": (False, "of record now, not when this was published"),
    "rewrite-due": (False, "of record; its file is to be written again"),
    "unexplained": (False, "of record, and nothing says why: run verify"),
    "starts-later": (False, "the roster names it, from a later day on"),
    "not-yet": (False, "nobody's yet: the start of its EGS lies ahead"),
    "another": (False, "another EGS is of record"),
    "default-service": (False, "nobody is of record: default service"),
    "unclaimed": (False, "the roster names an EGS that is no partner"),
    "suspense": (False, "the roster does not name the account"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Count:
    """So many accounts, with so many blocks (account and channel), for one reason."""

    reason: str
    accounts: int
    blocks: int


@dataclass(slots=True, kw_only=True)
class Supply:
    """What was worked out: `sync` is in force (None: no sync is). Read while `worked_out` is open."""

    sync: Sync | None
    loaded: int  # drops of which the day has blocks
    _sql: duckdb.DuckDBPyConnection

    def counts(self) -> list[Count]:
        """By reason, in the order of `REASONS`."""
        said = "select reason, count(distinct account), count(*) from why group by reason"
        found = {row[0]: row for row in self._sql.execute(said).fetchall()}
        return [
            Count(reason=reason, accounts=found[reason][1], blocks=found[reason][2])
            for reason in REASONS
            if reason in found
        ]

    def accounts(
        self, *, reasons: Sequence[str] = (), after: str = "", limit: int = 0
    ) -> Iterator[pa.RecordBatch]:
        """The accounts behind one, in order, `limit` at most (0: all), each with its channels; for some reasons, or all."""
        wanted = "where account > $after" + (" and list_contains($reasons, reason)" if reasons else "")
        given: dict[str, object] = {"after": after} | ({"reasons": list(reasons)} if reasons else {})
        if limit:
            few = f"select distinct account from why {wanted} order by account limit {limit}"
            wanted += f" and account <= (select max(account) from ({few}))"
        said = f"select * from why {wanted} order by account, channel"
        yield from self._sql.sql(said, params=given).to_arrow_reader(_BATCH)

    def totals(self) -> tuple[int, int]:
        """How many accounts there are, and how many of them are in."""
        inside = [reason for reason, (is_in, _) in REASONS.items() if is_in]
        said = "select count(distinct account), count(distinct account) filter (list_contains($inside, reason)) from why"
        ((of, inside_of_it),) = self._sql.execute(said, {"inside": inside}).fetchall()
        return int(of), int(inside_of_it)


@contextmanager
def worked_out(egs: Partner, edc: Partner, day: date, *, stores: Stores, now: datetime) -> Iterator[Supply]:
    """Work it out, and read it while the block runs."""
    assert edc.zone is not None
    spill = stores.home.staging / f"supply-{secrets.token_hex(4)}"
    with stores.ledger.read() as tx:
        sync = syncs.in_force(tx, edc.id)
        files = [file for file in loads.on_day(tx, edc=edc.id, day=day) if file.kind == "usage"]
        given = outbox.given_of(tx, egs=egs.id, edc=edc.id, day=day)
    try:
        with duckdb.connect(config={**_SETTINGS, "temp_directory": str(spill)}) as sql:
            _say_due(sql, sync, stores=stores)
            published = _say_loaded(sql, files, stores=stores)
            _say_given(sql, given, day, stores=stores)
            with stores.ledger.read() as tx:
                _say_held(sql, tx, files)
            _say_then(sql, published, edc, stores=stores)
            others = [one.duns for one in stores.partners.current().egss]
            facts = {"duns": egs.duns, "today": local_date(now, edc.zone), "partners": others}
            sql.execute(_WHY, facts)
            yield Supply(sync=sync, loaded=len({file.drop_id for file in files}), _sql=sql)
    finally:
        shutil.rmtree(spill, ignore_errors=True)


def _say_due(sql: duckdb.DuckDBPyConnection, sync: Sync | None, *, stores: Stores) -> None:
    """due: what the roster in force says of each account and channel."""
    sql.execute(
        "create table due(account varchar, channel varchar, duns varchar, starts date, is_due boolean)"
    )
    if sync is not None:
        roster = """
            insert into due
            select account, channel, coalesce(min(egs_duns), ''), min(egs_start), bool_or(account_status = 'A' and ami)
            from (select *, unnest(string_split(channels, ';')) as channel from read_parquet($roster))
            group by account, channel
        """
        sql.execute(roster, {"roster": str(stores.lake.root / sync.path)})


def _say_loaded(
    sql: duckdb.DuckDBPyConnection, files: Sequence[LakeFile], *, stores: Stores
) -> dict[str, tuple[str, datetime]]:
    """loaded: the version that counts of each account and channel, the drop it came with, the publication that looked
    at it. The answer: by publication, its sync and its instant.
    """
    published: dict[str, tuple[str, datetime]] = {}
    rows = []
    with stores.ledger.read() as tx:
        for file in files:
            by = next(iter(traces.of_load(tx, edc=file.edc, seq=file.load_seq)), "")
            if by and by not in published and (row := traces.publication(tx, by)):
                published[by] = row["sync_id"], row["at"]
            rows.append((file.id, str(stores.lake.root / file.path), file.drop_id, by))
    sql.execute("create table files(id bigint, path varchar, drop_id varchar, publication varchar)")
    if rows:
        sql.executemany("insert into files values (?, ?, ?, ?)", rows)
    sql.execute("create table loaded(account varchar, channel varchar, version int, file bigint, publication varchar, drop_id varchar, on_time boolean)")  # fmt: skip
    if rows:
        counts = """
            insert into loaded
            select account, channel, version, id, publication, files.drop_id, on_time
            from (select account, channel, max(version) as version, arg_max(filename, version) as filename,
                         arg_max(on_time, version) as on_time
                  from read_parquet($paths, filename = true, hive_partitioning = false) where not outranked
                  group by account, channel) as current
            join files on files.path = filename
        """
        sql.execute(counts, {"paths": [row[1] for row in rows]})
    return published


def _say_given(
    sql: duckdb.DuckDBPyConnection, files: Sequence[OutboundFile], day: date, *, stores: Stores
) -> None:
    """given: the blocks of the day that the EGS's files hold or held."""
    sql.execute("create table given(account varchar, channel varchar, version int, sequence int)")
    sql.execute("create table laid(sequence int, name varchar, state varchar, rewrite_due boolean, laid_out_at timestamptz, collected_at timestamptz, withdrawn_by varchar)")  # fmt: skip
    for file in files:
        said = (file.sequence, file.name, file.state, file.rewrite_due, file.laid_out_at, file.collected_at, file.withdrawn_by or None)  # fmt: skip
        sql.execute("insert into laid values (?, ?, ?, ?, ?, ?, ?)", said)
        path = layout.contents_path(file, stores=stores)
        if path.is_file():
            blocks = read_contents(path, ("account", "channel", "usage_date", "version"))
            blocks = blocks.filter(pc.equal(blocks["usage_date"], pa.scalar(day, pa.date32())))
            sql.register("handed", blocks)
            sql.execute(f"insert into given select account, channel, version, {file.sequence} from handed")
            sql.unregister("handed")


def _say_held(sql: duckdb.DuckDBPyConnection, tx: Connection, files: Sequence[LakeFile]) -> None:
    """waits: what of the day was held back, the last time, and its release."""
    sql.execute("create table every_wait(id bigint, file bigint, account varchar, channel varchar, reason varchar, since timestamptz, released boolean, release varchar)")  # fmt: skip
    held = tables.held
    columns = (held.c.id, held.c.lake_file_id, held.c.account, held.c.channel, held.c.reason, held.c.since)
    for file in files:
        query = select(*columns, held.c.released_at.is_not(None).label("released"), held.c.release)
        rows = tx.execute(query.where(held.c.lake_file_id == file.id)).mappings()
        for some in rows.partitions(_BATCH):
            sql.register("handed", pa.Table.from_pylist([dict(row) for row in some]))
            sql.execute("insert into every_wait select id, lake_file_id, account, channel, reason, since, released, release from handed")  # fmt: skip
            sql.unregister("handed")
    sql.execute("create table waits as select * from every_wait qualify row_number() over (partition by file, account, channel order by id desc) = 1")  # fmt: skip


def _say_then(
    sql: duckdb.DuckDBPyConnection,
    published: dict[str, tuple[str, datetime]],
    edc: Partner,
    *,
    stores: Stores,
) -> None:
    """was: by which sync each publication of the day went, and whom that named for accounts of which the version that
    counts was not given."""
    assert edc.zone is not None
    sql.execute("create table went(publication varchar, sync_id varchar, today date)")
    sql.execute("create table was(sync_id varchar, account varchar, duns varchar, starts date)")
    for publication, (sync_id, at) in published.items():
        sql.execute("insert into went values (?, ?, ?)", (publication, sync_id, local_date(at, edc.zone)))
    for sync_id in sorted({said for said, _ in published.values()}):
        with stores.ledger.read() as tx:
            then = syncs.get(tx, sync_id)
        roster = stores.lake.root / then.path
        if then.path and roster.exists():
            named = """
                insert into was
                select $sync, account, coalesce(min(egs_duns), ''), min(egs_start) from read_parquet($roster)
                where account in (
                    select account from loaded
                    where not exists (from given where given.account = loaded.account
                                      and given.channel = loaded.channel and given.version = loaded.version)
                )
                group by account
            """
            sql.execute(named, {"sync": sync_id, "roster": str(roster)})


_WHY = """
    create table why as
    with standing as (
        select account, channel, max(version) as version, arg_max(sequence, (version, sequence)) as sequence
        from given join laid using (sequence) where state <> 'withdrawn' group by account, channel
    ), back as (
        select account, channel, max(version) as version,
            arg_max(sequence, (collected_at is not null, sequence)) as sequence,
            bool_or(rewrite_due) as again, bool_or(collected_at is not null) as fetched
        from given join laid using (sequence) where state = 'withdrawn' group by account, channel
    ), together as (
        select account, channel, due.duns as duns, due.starts, coalesce(is_due, false) as is_due,
            due.account is not null as known,
            loaded.version, loaded.drop_id, loaded.on_time, loaded.publication,
            coalesce(standing.version, back.version) as given_version, standing.version is not null as stands, coalesce(standing.sequence, back.sequence) as sequence,
            back.sequence is not null as taken, coalesce(back.again, false) as again, coalesce(fetched, false) as fetched,
            waits.reason as held_for, waits.since as held_since, waits.released, waits.release,
            coalesce(due.duns = $duns and (due.starts is null or due.starts <= $today), false) as mine
        from due full join loaded using (account, channel)
            full join standing using (account, channel) full join back using (account, channel)
            left join waits on waits.file = loaded.file and waits.account = loaded.account and waits.channel = loaded.channel
    )
    select together.account, channel,
        case
            when stands and not mine then 'given-before'
            when stands and given_version < version then 'given-older'
            when stands then 'given'
            when taken and not mine then 'taken-back'
            when fetched then 'fetched'
            when together.duns = $duns and not mine then 'starts-later'
            when not known then 'suspense'
            when together.duns = '' then 'default-service'
            when not mine and together.starts > $today then 'not-yet'
            when not mine and not list_contains($partners, together.duns) then 'unclaimed'
            when not mine then 'another'
            when version is null and is_due then 'missing'
            when version is null then 'not-due'
            when held_for = 'unfetched' and not released then 'unfetched'
            when held_for = 'nobody' and not released then 'nobodys'
            when held_for is not null and not released then 'held'
            when held_for is not null and not exists (from went where went.publication = release) then 'given-up'
            when together.publication = '' then 'waiting'
            when taken and again then 'rewrite-due'
            when was.duns = '' or was.starts > went.today then 'nobodys'
            when was.duns <> $duns then 'before-switch'
            else 'unexplained'
        end as reason,
        version, drop_id as drop, on_time, given_version, sequence, laid.name as file, laid.state, laid.laid_out_at,
        laid.collected_at, laid.withdrawn_by, held_for, held_since, nullif(release, '') as release,
        case when together.duns <> '' then together.starts end as egs_start,
        nullif(together.publication, '') as publication, went.sync_id as published_by
    from together left join laid using (sequence)
        left join went on went.publication = together.publication
        left join was on was.account = together.account and was.sync_id = went.sync_id
"""
