"""What was spent in each window of each budget; leases and nodes of installations without Redis."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    op.create_table(
        "wayport_budget_spend",
        sa.Column("counter", sa.Text, primary_key=True),
        sa.Column("window_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("writer", sa.Text, primary_key=True),
        sa.Column("spend_nano_usd", sa.BigInteger, nullable=False),
        sa.Column("updated_s", sa.Double, nullable=False),
    )
    op.create_table(
        "wayport_counters",
        sa.Column("counter", sa.Text, primary_key=True),
        sa.Column("window_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("ends_s", sa.Double),
        sa.Column("carried", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "wayport_leases",
        sa.Column("counter", sa.Text, primary_key=True),
        sa.Column("window_s", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("held", sa.BigInteger, nullable=False),
        sa.Column("busy", sa.BigInteger, nullable=False),
        sa.Column("free", sa.BigInteger, nullable=False),
        sa.Column("until_s", sa.Double),
    )
    op.create_table(
        "wayport_nodes",
        sa.Column("node", sa.Text, primary_key=True),
        sa.Column("seen_s", sa.Double, nullable=False),
    )
