"""Turns of conversations, kept for `previous_response_id`, and in which of them an item stands."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "wayport_conversations",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("response_id", sa.Text, primary_key=True),
        sa.Column("previous_id", sa.Text),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_s", sa.Double, nullable=False),
        sa.Column("expires_s", sa.Double, nullable=False),
    )
    op.create_index("wayport_conversations_expires", "wayport_conversations", ["expires_s"])
    op.create_table(
        "wayport_conversation_items",
        sa.Column("tenant", sa.Text, primary_key=True),
        sa.Column("item_id", sa.Text, primary_key=True),
        sa.Column("response_id", sa.Text, nullable=False),
        sa.Column("deployment", sa.Text),
    )
    op.create_index("wayport_conversation_items_response", "wayport_conversation_items", ["tenant", "response_id"])
