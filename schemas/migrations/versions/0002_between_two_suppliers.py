"""What was taken back before it was fetched is held; corrections that were outranked are counted apart"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OPEN = sa.text("released_at is null")
_WHY = "reason in ('suspense','unclaimed','late','unfetched')"
_WHY_THEN = "reason in ('suspense','unclaimed','late')"
_BLOCK = ["lake_file_id", "account", "channel"]


def upgrade() -> None:
    op.add_column(
        "drop", sa.Column("blocks_outranked", sa.Integer(), server_default=sa.text("0"), nullable=False)
    )
    if op.get_bind().dialect.name == "sqlite":
        _anew(sa.CheckConstraint(_WHY, name=op.f("ck_held_reason")))
    else:
        op.drop_constraint(op.f("ck_held_reason"), "held", type_="check")
        op.create_check_constraint(op.f("ck_held_reason"), "held", _WHY)
        op.drop_constraint(op.f("uq_held_lake_file_id_account_channel"), "held", type_="unique")
    op.create_index("ix_held_block", "held", _BLOCK)
    op.create_index("uq_held_open", "held", _BLOCK, unique=True, sqlite_where=_OPEN, postgresql_where=_OPEN)


def downgrade() -> None:
    op.execute("delete from held_before where held_id in (select id from held where reason = 'unfetched')")
    op.execute("delete from held where reason = 'unfetched'")
    op.drop_index("uq_held_open", "held")
    op.drop_index("ix_held_block", "held")
    if op.get_bind().dialect.name == "sqlite":
        _anew(
            sa.CheckConstraint(_WHY_THEN, name=op.f("ck_held_reason")),
            sa.UniqueConstraint(*_BLOCK, name=op.f("uq_held_lake_file_id_account_channel")),
        )
    else:
        op.create_unique_constraint(op.f("uq_held_lake_file_id_account_channel"), "held", _BLOCK)
        op.drop_constraint(op.f("ck_held_reason"), "held", type_="check")
        op.create_check_constraint(op.f("ck_held_reason"), "held", _WHY_THEN)
    op.drop_column("drop", "blocks_outranked")


def _anew(*constraints: sa.Constraint) -> None:
    """Make `held` anew with other constraints, and `held_before`, which points at it: SQLite changes none."""
    op.execute("create temporary table kept_before as select * from held_before")
    op.execute("create temporary table kept as select * from held")
    op.drop_table("held_before")
    op.drop_table("held")
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
        *constraints,
        sa.ForeignKeyConstraint(["lake_file_id"], ["lake_file.id"], name=op.f("fk_held_lake_file_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_held")),
        sqlite_autoincrement=True,
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
    op.execute("insert into held select * from kept")
    op.execute("insert into held_before select * from kept_before")
    op.execute("drop table kept_before")
    op.execute("drop table kept")
    op.create_index("ix_held_account", "held", ["account"])
    op.create_index("ix_held_open", "held", ["edc", "reason", "egs_duns"], sqlite_where=_OPEN)
    op.create_index("ix_held_before_held_id", "held_before", ["held_id"])
