"""The first ledger"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:  # noqa: PLR0915 - one table after the other

    op.create_table(
        "claim",
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("since", sa.String(length=27), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_claim")),
    )
    op.create_table(
        "drop",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("stage", sa.String(length=12), nullable=False),
        sa.Column("arrived_at", sa.String(length=27), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("in_inbound", sa.Boolean(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("outcome", sa.String(length=12), nullable=True),
        sa.Column("receipt_due", sa.Boolean(), nullable=False),
        sa.Column("duplicate_of", sa.String(length=24), nullable=False),
        sa.Column("sync_id", sa.String(length=100), nullable=False),
        sa.Column("usage_days", sa.JSON(), nullable=False),
        sa.Column("blocks_loaded", sa.Integer(), nullable=False),
        sa.Column("blocks_late", sa.Integer(), nullable=False),
        sa.Column("blocks_replacing", sa.Integer(), nullable=False),
        sa.Column("blocks_unchanged", sa.Integer(), nullable=False),
        sa.Column("blocks_rejected", sa.Integer(), nullable=False),
        sa.Column("intervals_loaded", sa.BigInteger(), nullable=False),
        sa.Column("rows_loaded", sa.Integer(), nullable=False),
        sa.Column("suspense", sa.Integer(), nullable=False),
        sa.Column("faults", sa.JSON(), nullable=False),
        sa.Column("faults_total", sa.Integer(), nullable=False),
        sa.Column("checked", sa.JSON(), nullable=False),
        sa.Column("shorts", sa.JSON(), nullable=False),
        sa.Column("ended_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint(
            "stage in ('loaded','refused','duplicate') or outcome is null", name=op.f("ck_drop_outcome")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drop")),
    )
    with op.batch_alter_table("drop", schema=None) as batch_op:
        batch_op.create_index("ix_drop_arrived_at", ["arrived_at"], unique=False)
        batch_op.create_index("ix_drop_name", ["name"], unique=False)
        batch_op.create_index(
            "ix_drop_open",
            ["stage"],
            unique=False,
            sqlite_where=sa.text("ended_at is null"),
            postgresql_where=sa.text("ended_at is null"),
        )
        batch_op.create_index("ix_drop_partner_arrived_at", ["partner", "arrived_at"], unique=False)
        batch_op.create_index("ix_drop_partner_sha256", ["partner", "sha256"], unique=False)
        batch_op.create_index("ix_drop_stage_arrived_at", ["stage", "arrived_at"], unique=False)
        batch_op.create_index(
            "ix_drop_receipt_due",
            ["id"],
            unique=False,
            sqlite_where=sa.text("receipt_due = 1"),
            postgresql_where=sa.text("receipt_due"),
        )
        batch_op.create_index(
            "uq_drop_inbound",
            ["partner", "name"],
            unique=True,
            sqlite_where=sa.text("in_inbound = 1"),
            postgresql_where=sa.text("in_inbound"),
        )

    op.create_table(
        "event",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("about", sa.String(length=120), nullable=False),
        sa.Column("details", sa.JSON(), nullable=False),
        sa.Column("hash", sa.String(length=64), server_default=sa.text("''"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_event")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.create_index("ix_event_about", ["about"], unique=False)
        batch_op.create_index("ix_event_at", ["at"], unique=False)

    op.create_table(
        "failure",
        sa.Column("task", sa.String(length=120), nullable=False),
        sa.Column("about", sa.String(length=120), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.Column("last_at", sa.String(length=27), nullable=False),
        sa.Column("parked_at", sa.String(length=27), nullable=True),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_failure")),
    )
    op.create_table(
        "job_run",
        sa.Column("job", sa.String(length=40), nullable=False),
        sa.Column("key", sa.String(length=120), nullable=False),
        sa.Column("began_at", sa.String(length=27), nullable=False),
        sa.Column("ended_at", sa.String(length=27), nullable=True),
        sa.Column("said", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("job", "key", name=op.f("pk_job_run")),
    )
    op.create_table(
        "sync",
        sa.Column("id", sa.String(length=100), nullable=False),
        sa.Column("edc", sa.String(length=64), nullable=False),
        sa.Column("as_of", sa.Date(), nullable=False),
        sa.Column("parts", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("began_at", sa.String(length=27), nullable=False),
        sa.Column("completed_at", sa.String(length=27), nullable=True),
        sa.Column("in_force_at", sa.String(length=27), nullable=True),
        sa.Column("superseded_at", sa.String(length=27), nullable=True),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("accounts", sa.Integer(), nullable=False),
        sa.Column("due", sa.Integer(), nullable=False),
        sa.Column("moved", sa.Integer(), nullable=False),
        sa.Column("share_moved", sa.Float(), nullable=False),
        sa.Column("why", sa.String(length=500), nullable=False),
        sa.CheckConstraint(
            "state in ('forming','complete','held','withdrawing','in-force','superseded','rejected','refused','older')",
            name=op.f("ck_sync_state"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_sync")),
    )
    with op.batch_alter_table("sync", schema=None) as batch_op:
        batch_op.create_index("ix_sync_edc_in_force_at", ["edc", "in_force_at"], unique=False)
        batch_op.create_index(
            "uq_sync_forming",
            ["edc", "as_of", "parts"],
            unique=True,
            sqlite_where=sa.text("state = 'forming'"),
            postgresql_where=sa.text("state = 'forming'"),
        )
        batch_op.create_index(
            "uq_sync_in_force",
            ["edc"],
            unique=True,
            sqlite_where=sa.text("state = 'in-force'"),
            postgresql_where=sa.text("state = 'in-force'"),
        )

    op.create_table(
        "turned_away",
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("times", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.String(length=27), nullable=False),
        sa.Column("last_at", sa.String(length=27), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=255), nullable=False),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("words", sa.String(length=500), nullable=False),
        sa.PrimaryKeyConstraint("partner", "reason", name=op.f("pk_turned_away")),
    )
    op.create_table(
        "visit",
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("way", sa.String(length=64), nullable=False),
        sa.Column("client", sa.String(length=255), nullable=False),
        sa.Column("spoken", sa.JSON(), nullable=False),
        sa.Column("offers", sa.JSON(), nullable=False),
        sa.Column("credential", sa.String(length=64), nullable=False),
        sa.Column("certificate", sa.JSON(), nullable=False),
        sa.Column("first_at", sa.String(length=27), nullable=False),
        sa.Column("last_at", sa.String(length=27), nullable=False),
        sa.Column("sessions", sa.Integer(), nullable=False),
        sa.Column("most_at_once", sa.Integer(), nullable=False),
        sa.Column("habits", sa.JSON(), nullable=False),
        sa.Column("hours", sa.JSON(), nullable=False),
        sa.Column("addresses", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("partner", "way", name=op.f("pk_visit")),
    )
    with op.batch_alter_table("visit", schema=None) as batch_op:
        batch_op.create_index("ix_visit_last_at", ["last_at"], unique=False)

    op.create_table(
        "verdict",
        sa.Column("edc", sa.String(length=64), nullable=False),
        sa.Column("usage_date", sa.Date(), nullable=False),
        sa.Column("deadline", sa.String(length=27), nullable=False),
        sa.Column("verdict", sa.String(length=8), nullable=False),
        sa.Column("sync_id", sa.String(length=100), nullable=False),
        sa.Column("expected", sa.Integer(), nullable=False),
        sa.Column("in_time", sa.Integer(), nullable=False),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.Column("missing", sa.Integer(), nullable=False),
        sa.Column("last_load_at", sa.String(length=27), nullable=True),
        sa.Column("hub_late_seconds", sa.Integer(), nullable=False),
        sa.Column("judged_at", sa.String(length=27), nullable=False),
        sa.Column("reported_seq", sa.Integer(), nullable=False),
        sa.CheckConstraint("verdict in ('met','missed','unknown')", name=op.f("ck_verdict_verdict")),
        sa.PrimaryKeyConstraint("edc", "usage_date", name=op.f("pk_verdict")),
    )
    op.create_table(
        "load",
        sa.Column("seq", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("drop_id", sa.String(length=24), nullable=False),
        sa.Column("edc", sa.String(length=64), nullable=False),
        sa.Column("loaded_at", sa.String(length=27), nullable=False),
        sa.ForeignKeyConstraint(["drop_id"], ["drop.id"], name=op.f("fk_load_drop_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_load")),
        sa.UniqueConstraint("drop_id", name=op.f("uq_load_drop_id")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("load", schema=None) as batch_op:
        batch_op.create_index("ix_load_edc_seq", ["edc", "seq"], unique=False)

    op.create_table(
        "publication",
        sa.Column("id", sa.String(length=24), nullable=False),
        sa.Column("edc", sa.String(length=64), nullable=False),
        sa.Column("sync_id", sa.String(length=100), nullable=False),
        sa.Column("at", sa.String(length=27), nullable=False),
        sa.Column("after_seq", sa.Integer(), nullable=False),
        sa.Column("through_seq", sa.Integer(), nullable=False),
        sa.Column("files", sa.Integer(), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("laid_out", sa.Boolean(), nullable=False),
        sa.Column("replaces", sa.String(length=24), nullable=False),
        sa.CheckConstraint("after_seq <= through_seq", name=op.f("ck_publication_seq")),
        sa.ForeignKeyConstraint(["sync_id"], ["sync.id"], name=op.f("fk_publication_sync_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_publication")),
    )
    with op.batch_alter_table("publication", schema=None) as batch_op:
        batch_op.create_index(
            "ix_publication_due",
            ["edc", "id"],
            unique=False,
            sqlite_where=sa.text("laid_out = 0"),
            postgresql_where=sa.text("not laid_out"),
        )
        batch_op.create_index("ix_publication_edc_through_seq", ["edc", "through_seq"], unique=False)

    op.create_table(
        "sync_part",
        sa.Column("sync_id", sa.String(length=100), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("drop_id", sa.String(length=24), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["drop_id"], ["drop.id"], name=op.f("fk_sync_part_drop_id")),
        sa.ForeignKeyConstraint(["sync_id"], ["sync.id"], name=op.f("fk_sync_part_sync_id")),
        sa.PrimaryKeyConstraint("sync_id", "part", name=op.f("pk_sync_part")),
    )
    op.create_table(
        "lake_file",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("load_seq", sa.Integer(), nullable=False),
        sa.Column("drop_id", sa.String(length=24), nullable=False),
        sa.Column("edc", sa.String(length=64), nullable=False),
        sa.Column("usage_date", sa.Date(), nullable=False),
        sa.Column("kind", sa.String(length=10), nullable=False),
        sa.Column("path", sa.String(length=255), nullable=False),
        sa.Column("rows", sa.Integer(), nullable=False),
        sa.Column("first_versions", sa.Integer(), nullable=False),
        sa.Column("late", sa.Integer(), nullable=False),
        sa.Column("account_low", sa.String(length=64), nullable=False),
        sa.Column("account_high", sa.String(length=64), nullable=False),
        sa.Column("version_low", sa.Integer(), nullable=False),
        sa.Column("version_high", sa.Integer(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.CheckConstraint("kind in ('usage','affirmed')", name=op.f("ck_lake_file_kind")),
        sa.CheckConstraint("account_low <= account_high", name=op.f("ck_lake_file_accounts")),
        sa.CheckConstraint("rows > 0", name=op.f("ck_lake_file_rows")),
        sa.ForeignKeyConstraint(["drop_id"], ["drop.id"], name=op.f("fk_lake_file_drop_id")),
        sa.ForeignKeyConstraint(["load_seq"], ["load.seq"], name=op.f("fk_lake_file_load_seq")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_lake_file")),
        sa.UniqueConstraint(
            "drop_id", "usage_date", "kind", name=op.f("uq_lake_file_drop_id_usage_date_kind")
        ),
        sa.UniqueConstraint("path", name=op.f("uq_lake_file_path")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("lake_file", schema=None) as batch_op:
        batch_op.create_index(
            "ix_lake_file_edc_usage_date_load_seq", ["edc", "usage_date", "load_seq"], unique=False
        )
        batch_op.create_index("ix_lake_file_edc_load_seq", ["edc", "load_seq"], unique=False)

    op.create_table(
        "outbound_file",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("egs", sa.String(length=64), nullable=False),
        sa.Column("sequence", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(length=200), nullable=False),
        sa.Column("edc", sa.String(length=64), nullable=False),
        sa.Column("publication_id", sa.String(length=24), nullable=False),
        sa.Column("sync_id", sa.String(length=100), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("blocks", sa.Integer(), nullable=False),
        sa.Column("intervals", sa.BigInteger(), nullable=False),
        sa.Column("estimated", sa.Integer(), nullable=False),
        sa.Column("versions_above_1", sa.Integer(), nullable=False),
        sa.Column("usage_days", sa.JSON(), nullable=False),
        sa.Column("contents", sa.String(length=255), nullable=False),
        sa.Column("replaces", sa.String(length=200), nullable=False),
        sa.Column("laid_out_at", sa.String(length=27), nullable=True),
        sa.Column("withdrawn_at", sa.String(length=27), nullable=True),
        sa.Column("withdrawn_by", sa.String(length=100), nullable=False),
        sa.Column("rewrite_due", sa.Boolean(), nullable=False),
        sa.Column("replaced_by", sa.String(length=200), nullable=False),
        sa.Column("expired_at", sa.String(length=27), nullable=True),
        sa.Column("collected_at", sa.String(length=27), nullable=True),
        sa.CheckConstraint(
            "state in ('recorded','laid-out','withdrawn','expired')", name=op.f("ck_outbound_file_state")
        ),
        sa.ForeignKeyConstraint(
            ["publication_id"], ["publication.id"], name=op.f("fk_outbound_file_publication_id")
        ),
        sa.ForeignKeyConstraint(["sync_id"], ["sync.id"], name=op.f("fk_outbound_file_sync_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbound_file")),
        sa.UniqueConstraint("egs", "name", name=op.f("uq_outbound_file_egs_name")),
        sa.UniqueConstraint("egs", "sequence", name=op.f("uq_outbound_file_egs_sequence")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("outbound_file", schema=None) as batch_op:
        batch_op.create_index("ix_outbound_file_edc_state", ["edc", "state"], unique=False)
        batch_op.create_index(
            "ix_outbound_file_kept",
            ["laid_out_at"],
            unique=False,
            sqlite_where=sa.text("expired_at is null"),
            postgresql_where=sa.text("expired_at is null"),
        )
        batch_op.create_index("ix_outbound_file_name", ["name"], unique=False)
        batch_op.create_index("ix_outbound_file_publication_id", ["publication_id"], unique=False)
        batch_op.create_index(
            "ix_outbound_file_rewrite_due",
            ["edc"],
            unique=False,
            sqlite_where=sa.text("rewrite_due = 1"),
            postgresql_where=sa.text("rewrite_due"),
        )

    op.create_table(
        "collection",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("outbound_file_id", sa.Integer(), nullable=False),
        sa.Column("partner", sa.String(length=64), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.Column("key_fingerprint", sa.String(length=64), nullable=False),
        sa.Column("session", sa.String(length=40), nullable=False),
        sa.Column("began_at", sa.String(length=27), nullable=False),
        sa.Column("ended_at", sa.String(length=27), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["outbound_file_id"], ["outbound_file.id"], name=op.f("fk_collection_outbound_file_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_collection")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("collection", schema=None) as batch_op:
        batch_op.create_index("ix_collection_outbound_file_id", ["outbound_file_id"], unique=False)

    op.create_table(
        "held",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("edc", sa.String(length=64), nullable=False),
        sa.Column("lake_file_id", sa.Integer(), nullable=False),
        sa.Column("account", sa.String(length=64), nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("reason", sa.String(length=10), nullable=False),
        sa.Column("egs_duns", sa.String(length=13), nullable=False),
        sa.Column("since", sa.String(length=27), nullable=False),
        sa.Column("released_at", sa.String(length=27), nullable=True),
        sa.Column("release", sa.String(length=24), nullable=False),
        sa.CheckConstraint("reason in ('suspense','unclaimed','late')", name=op.f("ck_held_reason")),
        sa.ForeignKeyConstraint(["lake_file_id"], ["lake_file.id"], name=op.f("fk_held_lake_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held")),
        sa.UniqueConstraint(
            "lake_file_id", "account", "channel", name=op.f("uq_held_lake_file_id_account_channel")
        ),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("held", schema=None) as batch_op:
        batch_op.create_index("ix_held_account", ["account"], unique=False)
        batch_op.create_index(
            "ix_held_open",
            ["edc", "reason", "egs_duns"],
            unique=False,
            sqlite_where=sa.text("released_at is null"),
            postgresql_where=sa.text("released_at is null"),
        )

    op.create_table(
        "held_before",
        sa.Column("id", sa.Integer(), autoincrement=True, nullable=False),
        sa.Column("held_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=10), nullable=False),
        sa.Column("egs_duns", sa.String(length=13), nullable=False),
        sa.Column("publication_id", sa.String(length=24), nullable=False),
        sa.ForeignKeyConstraint(["held_id"], ["held.id"], name=op.f("fk_held_before_held_id")),
        sa.ForeignKeyConstraint(
            ["publication_id"], ["publication.id"], name=op.f("fk_held_before_publication_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held_before")),
        sqlite_autoincrement=True,
    )
    with op.batch_alter_table("held_before", schema=None) as batch_op:
        batch_op.create_index("ix_held_before_held_id", ["held_id"], unique=False)


def downgrade() -> None:  # noqa: PLR0915 - one table after the other

    with op.batch_alter_table("held_before", schema=None) as batch_op:
        batch_op.drop_index("ix_held_before_held_id")

    op.drop_table("held_before")
    with op.batch_alter_table("held", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_held_open",
            sqlite_where=sa.text("released_at is null"),
            postgresql_where=sa.text("released_at is null"),
        )
        batch_op.drop_index("ix_held_account")

    op.drop_table("held")
    with op.batch_alter_table("collection", schema=None) as batch_op:
        batch_op.drop_index("ix_collection_outbound_file_id")

    op.drop_table("collection")
    with op.batch_alter_table("outbound_file", schema=None) as batch_op:
        batch_op.drop_index(
            "ix_outbound_file_rewrite_due",
            sqlite_where=sa.text("rewrite_due = 1"),
            postgresql_where=sa.text("rewrite_due"),
        )
        batch_op.drop_index("ix_outbound_file_publication_id")
        batch_op.drop_index("ix_outbound_file_name")
        batch_op.drop_index(
            "ix_outbound_file_kept",
            sqlite_where=sa.text("expired_at is null"),
            postgresql_where=sa.text("expired_at is null"),
        )
        batch_op.drop_index("ix_outbound_file_edc_state")

    op.drop_table("outbound_file")
    with op.batch_alter_table("lake_file", schema=None) as batch_op:
        batch_op.drop_index("ix_lake_file_edc_load_seq")
        batch_op.drop_index("ix_lake_file_edc_usage_date_load_seq")

    op.drop_table("lake_file")
    op.drop_table("sync_part")
    with op.batch_alter_table("publication", schema=None) as batch_op:
        batch_op.drop_index("ix_publication_edc_through_seq")
        batch_op.drop_index(
            "ix_publication_due",
            sqlite_where=sa.text("laid_out = 0"),
            postgresql_where=sa.text("not laid_out"),
        )

    op.drop_table("publication")
    with op.batch_alter_table("load", schema=None) as batch_op:
        batch_op.drop_index("ix_load_edc_seq")

    op.drop_table("load")
    with op.batch_alter_table("visit", schema=None) as batch_op:
        batch_op.drop_index("ix_visit_last_at")

    op.drop_table("visit")
    op.drop_table("turned_away")
    op.drop_table("verdict")
    with op.batch_alter_table("sync", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_sync_in_force",
            sqlite_where=sa.text("state = 'in-force'"),
            postgresql_where=sa.text("state = 'in-force'"),
        )
        batch_op.drop_index(
            "uq_sync_forming",
            sqlite_where=sa.text("state = 'forming'"),
            postgresql_where=sa.text("state = 'forming'"),
        )
        batch_op.drop_index("ix_sync_edc_in_force_at")

    op.drop_table("sync")
    op.drop_table("job_run")
    with op.batch_alter_table("event", schema=None) as batch_op:
        batch_op.drop_index("ix_event_at")
        batch_op.drop_index("ix_event_about")

    op.drop_table("event")
    with op.batch_alter_table("drop", schema=None) as batch_op:
        batch_op.drop_index(
            "uq_drop_inbound", sqlite_where=sa.text("in_inbound = 1"), postgresql_where=sa.text("in_inbound")
        )
        batch_op.drop_index(
            "ix_drop_receipt_due",
            sqlite_where=sa.text("receipt_due = 1"),
            postgresql_where=sa.text("receipt_due"),
        )
        batch_op.drop_index("ix_drop_stage_arrived_at")
        batch_op.drop_index("ix_drop_partner_sha256")
        batch_op.drop_index("ix_drop_partner_arrived_at")
        batch_op.drop_index(
            "ix_drop_open",
            sqlite_where=sa.text("ended_at is null"),
            postgresql_where=sa.text("ended_at is null"),
        )
        batch_op.drop_index("ix_drop_name")
        batch_op.drop_index("ix_drop_arrived_at")

    op.drop_table("drop")
    op.drop_table("claim")
    op.drop_table("failure")
