"""What came while nobody was of record can be held, for whoever is of record later"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_OPEN = sa.text("released_at is null")
_WHY = "reason in ('suspense','unclaimed','late','unfetched','nobody')"
_WHY_THEN = "reason in ('suspense','unclaimed','late','unfetched')"
_BLOCK = ["lake_file_id", "account", "channel"]


def upgrade() -> None:
    _hold_for(_WHY)


def downgrade() -> None:
    """What is held for nobody is taken out: the version before could not read it."""
    op.execute("delete from held_before where held_id in (select id from held where reason = 'nobody')")
    op.execute("delete from held_before where reason = 'nobody'")
    op.execute("delete from held where reason = 'nobody'")
    _hold_for(_WHY_THEN)


def _hold_for(why: str) -> None:
    if op.get_bind().dialect.name == "sqlite":
        _anew(why)
    else:
        op.drop_constraint(op.f("ck_held_reason"), "held", type_="check")
        op.create_check_constraint(op.f("ck_held_reason"), "held", why)


def _anew(why: str) -> None:
    """Make `held` anew with another constraint, and `held_before`, which points at it: SQLite changes none."""
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
        sa.CheckConstraint(why, name=op.f("ck_held_reason")),
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
    op.create_index("ix_held_block", "held", _BLOCK)
    op.create_index("uq_held_open", "held", _BLOCK, unique=True, sqlite_where=_OPEN)
