"""The ledger's tables. Constraints say here what code must never break.

Instants are UTC, kept as ISO text that sorts (`2013-09-02T09:15:30.123456Z`); JSON columns hold small
lists. The migrations beside this file build the same tables; a test compares the two. The condition of a
partial index is written as queries write it, word for word: SQLite finds the index by that.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Date,
    Float,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    UniqueConstraint,
    text,
)
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator

ISO = "%Y-%m-%dT%H:%M:%S.%fZ"


class Instant(TypeDecorator[datetime]):
    """An instant in UTC as text that sorts; naive datetimes are refused."""

    impl = String(27)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("an instant needs a time zone")
        return value.astimezone(UTC).strftime(ISO)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else datetime.fromisoformat(value)  # fifty times quicker than strptime


metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

drop = Table(
    "drop",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("partner", String(64), nullable=False),
    Column("name", String(200), nullable=False),
    Column("stage", String(12), nullable=False),
    Column("arrived_at", Instant, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("in_inbound", Boolean, nullable=False),
    Column("kind", String(16), nullable=False, default=""),
    Column("sha256", String(64), nullable=False, default=""),
    Column("outcome", String(12)),
    Column("receipt_due", Boolean, nullable=False, default=False),
    Column("duplicate_of", String(24), nullable=False, default=""),
    Column("sync_id", String(100), nullable=False, default=""),
    Column("usage_days", JSON, nullable=False, default=list),
    Column("blocks_loaded", Integer, nullable=False, default=0),
    Column("blocks_late", Integer, nullable=False, default=0),
    Column("blocks_replacing", Integer, nullable=False, default=0),
    Column("blocks_outranked", Integer, nullable=False, default=0, server_default=text("0")),
    Column("blocks_unchanged", Integer, nullable=False, default=0),
    Column("blocks_rejected", Integer, nullable=False, default=0),
    Column("intervals_loaded", BigInteger, nullable=False, default=0),
    Column("rows_loaded", Integer, nullable=False, default=0),
    Column("suspense", Integer, nullable=False, default=0),
    Column("faults", JSON, nullable=False, default=list),
    Column("faults_total", Integer, nullable=False, default=0),
    Column("checked", JSON, nullable=False, default=list),
    Column("shorts", JSON, nullable=False, default=list),
    Column("ended_at", Instant),
    CheckConstraint("stage in ('loaded','refused','duplicate') or outcome is null", name="outcome"),
    Index("ix_drop_partner_arrived_at", "partner", "arrived_at"),
    Index("ix_drop_arrived_at", "arrived_at"),
    Index("ix_drop_stage_arrived_at", "stage", "arrived_at"),
    Index("ix_drop_partner_sha256", "partner", "sha256"),
    Index("ix_drop_name", "name"),
    # one file of a name lies in an inbound folder
    Index("uq_drop_inbound", "partner", "name", unique=True,
          sqlite_where=text("in_inbound = 1"), postgresql_where=text("in_inbound")),
    # what is not at its end is few, and is found without reading the rest
    Index("ix_drop_open", "stage",
          sqlite_where=text("ended_at is null"), postgresql_where=text("ended_at is null")),
    Index("ix_drop_receipt_due", "id",
          sqlite_where=text("receipt_due = 1"), postgresql_where=text("receipt_due")),
)  # fmt: skip

event = Table(
    "event",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("at", Instant, nullable=False),
    Column("name", String(64), nullable=False),
    Column("partner", String(64), nullable=False, default=""),
    Column("about", String(120), nullable=False, default=""),  # a drop, sync, publication or file
    Column("details", JSON, nullable=False, default=dict),
    Column("hash", String(64), nullable=False, server_default=text("''")),  # of itself and the hash before it
    Index("ix_event_about", "about"),
    Index("ix_event_at", "at"),
    sqlite_autoincrement=True,
)

claim = Table(
    "claim",
    metadata,
    Column("key", String(120), primary_key=True),  # what is being worked on
    Column("owner", String(64), nullable=False),  # the lock file of the process that does
    Column("since", Instant, nullable=False),
)

failure = Table(
    "failure",
    metadata,
    Column("task", String(120), primary_key=True),  # what failed: `drop:D130902-00042`
    Column("about", String(120), nullable=False),  # the drop or sync
    Column("partner", String(64), nullable=False, default=""),
    Column("times", Integer, nullable=False),  # in a row
    Column("why", String(500), nullable=False),  # the last time
    Column("last_at", Instant, nullable=False),
    Column("parked_at", Instant),  # it is not tried again until an operator says so
)

load = Table(
    "load",
    metadata,
    Column("seq", Integer, primary_key=True, autoincrement=True),  # the order of commits
    Column("drop_id", ForeignKey("drop.id"), nullable=False, unique=True),  # loaded exactly once
    Column("edc", String(64), nullable=False),
    Column("loaded_at", Instant, nullable=False),
    Index("ix_load_edc_seq", "edc", "seq"),
    sqlite_autoincrement=True,
)

lake_file = Table(
    "lake_file",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("load_seq", ForeignKey("load.seq"), nullable=False),
    Column("drop_id", ForeignKey("drop.id"), nullable=False),
    Column("edc", String(64), nullable=False),
    Column("usage_date", Date, nullable=False),
    Column("kind", String(10), nullable=False),  # usage | affirmed
    Column("path", String(255), nullable=False, unique=True),  # below the lake
    Column("rows", Integer, nullable=False),
    Column("first_versions", Integer, nullable=False),
    Column("late", Integer, nullable=False),
    Column("account_low", String(64), nullable=False),
    Column("account_high", String(64), nullable=False),
    Column("version_low", Integer, nullable=False),
    Column("version_high", Integer, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("sha256", String(64), nullable=False),
    UniqueConstraint("drop_id", "usage_date", "kind"),
    CheckConstraint("kind in ('usage','affirmed')", name="kind"),
    CheckConstraint("rows > 0", name="rows"),
    CheckConstraint("account_low <= account_high", name="accounts"),
    Index("ix_lake_file_edc_usage_date_load_seq", "edc", "usage_date", "load_seq"),
    Index("ix_lake_file_edc_load_seq", "edc", "load_seq"),
    sqlite_autoincrement=True,
)

sync = Table(
    "sync",
    metadata,
    Column("id", String(100), primary_key=True),
    Column("edc", String(64), nullable=False),
    Column("as_of", Date, nullable=False),
    Column("parts", Integer, nullable=False),
    Column("state", String(12), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("completed_at", Instant),  # its last part came
    Column("in_force_at", Instant),
    Column("superseded_at", Instant),
    Column("path", String(255), nullable=False, default=""),  # the roster, below the lake
    Column("sha256", String(64), nullable=False, default=""),
    Column("rows", Integer, nullable=False, default=0),
    Column("accounts", Integer, nullable=False, default=0),
    Column("due", Integer, nullable=False, default=0),  # account and channel pairs due each night
    Column("moved", Integer, nullable=False, default=0),  # accounts whose EGS it changes
    Column("share_moved", Float, nullable=False, default=0.0),
    Column("why", String(500), nullable=False, default=""),
    CheckConstraint(
        "state in ('forming','complete','held','withdrawing','in-force','superseded','rejected','refused','older')",
        name="state",
    ),
    Index("uq_sync_in_force", "edc", unique=True,
          sqlite_where=text("state = 'in-force'"), postgresql_where=text("state = 'in-force'")),
    Index("uq_sync_forming", "edc", "as_of", "parts", unique=True,
          sqlite_where=text("state = 'forming'"), postgresql_where=text("state = 'forming'")),
    Index("ix_sync_edc_in_force_at", "edc", "in_force_at"),
)  # fmt: skip

sync_part = Table(
    "sync_part",
    metadata,
    Column("sync_id", ForeignKey("sync.id"), primary_key=True),
    Column("part", Integer, primary_key=True),
    Column("drop_id", ForeignKey("drop.id"), nullable=False),
    Column("path", String(255), nullable=False),  # below the lake
    Column("rows", Integer, nullable=False),
)

publication = Table(
    "publication",
    metadata,
    Column("id", String(24), primary_key=True),
    Column("edc", String(64), nullable=False),
    Column("sync_id", ForeignKey("sync.id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("after_seq", Integer, nullable=False),  # loads above this …
    Column("through_seq", Integer, nullable=False),  # … up to this were looked at
    Column("files", Integer, nullable=False),
    Column("blocks", Integer, nullable=False),
    Column("laid_out", Boolean, nullable=False, default=False),  # every file of it has appeared
    Column("replaces", String(24), nullable=False, default=""),  # sync that made it rewrite files
    CheckConstraint("after_seq <= through_seq", name="seq"),
    Index("ix_publication_edc_through_seq", "edc", "through_seq"),
    Index("ix_publication_due", "edc", "id",
          sqlite_where=text("laid_out = 0"), postgresql_where=text("not laid_out")),
)  # fmt: skip

outbound_file = Table(
    "outbound_file",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("egs", String(64), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("name", String(200), nullable=False),
    Column("edc", String(64), nullable=False),
    Column("publication_id", ForeignKey("publication.id"), nullable=False),
    Column("sync_id", ForeignKey("sync.id"), nullable=False),
    Column("state", String(12), nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("blocks", Integer, nullable=False),
    Column("intervals", BigInteger, nullable=False),
    Column("estimated", Integer, nullable=False),
    Column("versions_above_1", Integer, nullable=False),
    Column("usage_days", JSON, nullable=False),
    Column("contents", String(255), nullable=False),  # which blocks it holds; below state/
    Column("replaces", String(200), nullable=False, default=""),
    Column("laid_out_at", Instant),
    Column("withdrawn_at", Instant),
    Column("withdrawn_by", String(100), nullable=False, default=""),  # the sync
    Column("rewrite_due", Boolean, nullable=False, default=False),
    Column("replaced_by", String(200), nullable=False, default=""),
    Column("expired_at", Instant),
    Column("collected_at", Instant),  # first fetched whole
    UniqueConstraint("egs", "sequence"),  # 1, 2, 3 … per EGS
    UniqueConstraint("egs", "name"),  # a name is never used twice
    CheckConstraint("state in ('recorded','laid-out','withdrawn','expired')", name="state"),
    Index("ix_outbound_file_edc_state", "edc", "state"),
    Index("ix_outbound_file_publication_id", "publication_id"),
    Index("ix_outbound_file_name", "name"),
    Index("ix_outbound_file_rewrite_due", "edc",
          sqlite_where=text("rewrite_due = 1"), postgresql_where=text("rewrite_due")),
    Index("ix_outbound_file_kept", "laid_out_at",
          sqlite_where=text("expired_at is null"), postgresql_where=text("expired_at is null")),
    sqlite_autoincrement=True,
)  # fmt: skip

held = Table(
    "held",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("edc", String(64), nullable=False),
    Column("lake_file_id", ForeignKey("lake_file.id"), nullable=False),
    Column("account", String(64), nullable=False),
    Column("channel", String(8), nullable=False),
    Column("reason", String(10), nullable=False),  # suspense | unclaimed | late | unfetched | nobody
    Column("egs_duns", String(13), nullable=False, default=""),
    Column("since", Instant, nullable=False),
    Column("released_at", Instant),
    Column("release", String(24), nullable=False, default=""),  # publication, or why none
    CheckConstraint("reason in ('suspense','unclaimed','late','unfetched','nobody')", name="reason"),
    Index("ix_held_block", "lake_file_id", "account", "channel"),
    # a block is held once at a time
    Index("uq_held_open", "lake_file_id", "account", "channel", unique=True,
          sqlite_where=text("released_at is null"), postgresql_where=text("released_at is null")),
    Index("ix_held_open", "edc", "reason", "egs_duns",
          sqlite_where=text("released_at is null"), postgresql_where=text("released_at is null")),
    Index("ix_held_account", "account"),
    sqlite_autoincrement=True,
)  # fmt: skip

held_before = Table(
    "held_before",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("held_id", ForeignKey("held.id"), nullable=False),
    Column("reason", String(10), nullable=False),  # for which it was held until then
    Column("egs_duns", String(13), nullable=False),
    Column("publication_id", ForeignKey("publication.id"), nullable=False),  # that found another
    Index("ix_held_before_held_id", "held_id"),
    sqlite_autoincrement=True,
)

collection = Table(
    "collection",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("outbound_file_id", ForeignKey("outbound_file.id"), nullable=False),
    Column("partner", String(64), nullable=False),
    Column("address", String(64), nullable=False),
    Column("key_fingerprint", String(64), nullable=False),
    Column("session", String(40), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("ended_at", Instant, nullable=False),
    Column("bytes", BigInteger, nullable=False),  # distinct bytes of the file that were sent
    Column("whole", Boolean, nullable=False),
    Index("ix_collection_outbound_file_id", "outbound_file_id"),
    sqlite_autoincrement=True,
)

verdict = Table(
    "verdict",
    metadata,
    Column("edc", String(64), primary_key=True),
    Column("usage_date", Date, primary_key=True),
    Column("deadline", Instant, nullable=False),
    Column("verdict", String(8), nullable=False),
    Column("sync_id", String(100), nullable=False, default=""),
    Column("expected", Integer, nullable=False),
    Column("in_time", Integer, nullable=False),
    Column("late", Integer, nullable=False),
    Column("missing", Integer, nullable=False),
    Column("last_load_at", Instant),
    Column("hub_late_seconds", Integer, nullable=False),
    Column("judged_at", Instant, nullable=False),
    Column("reported_seq", Integer, nullable=False, default=0),  # loads the reports tell of
    CheckConstraint("verdict in ('met','missed','unknown')", name="verdict"),
)

job_run = Table(
    "job_run",
    metadata,
    Column("job", String(40), primary_key=True),
    Column("key", String(120), primary_key=True),  # what the run is for: a slot, an EDC and day
    Column("began_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("said", JSON, nullable=False, default=dict),
)

visit = Table(
    "visit",
    metadata,
    Column("partner", String(64), primary_key=True),
    Column("way", String(64), primary_key=True),  # a hash of the four that follow
    Column("client", String(255), nullable=False),  # what it calls itself
    Column("spoken", JSON, nullable=False),  # the algorithms agreed on
    Column("offers", JSON, nullable=False),  # those the client knows, best first
    Column("credential", String(64), nullable=False),  # fingerprint of the key, or of who certified it
    Column("certificate", JSON, nullable=False),  # the last one; empty where there was none
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("sessions", Integer, nullable=False),
    Column("most_at_once", Integer, nullable=False),
    Column("habits", JSON, nullable=False),  # schemas.visit.Habit, and how often
    Column("hours", JSON, nullable=False),  # sessions begun in each hour of the day, in UTC
    Column("addresses", JSON, nullable=False),  # the latest, each with its last instant
    Index("ix_visit_last_at", "last_at"),
)

turned_away = Table(
    "turned_away",
    metadata,
    Column("partner", String(64), primary_key=True),
    Column("reason", String(40), primary_key=True),
    Column("times", Integer, nullable=False),
    Column("first_at", Instant, nullable=False),
    Column("last_at", Instant, nullable=False),
    Column("address", String(64), nullable=False),  # these four: of the last time
    Column("client", String(255), nullable=False),
    Column("key", String(64), nullable=False),
    Column("words", String(500), nullable=False),
)
