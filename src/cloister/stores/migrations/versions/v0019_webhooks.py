"""Webhooks, and their messages."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "webhooks",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("events", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("paused", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("rotated_at", sa.DateTime),
    )
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("webhook", sa.Text, sa.ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("task", sa.Text),
        sa.Column("seq", sa.Integer),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.DateTime),
        sa.Column("delivered_at", sa.DateTime),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("webhook_deliveries_by_webhook", "webhook_deliveries", ["webhook", "created_at"])
    op.create_index(
        "webhook_deliveries_due", "webhook_deliveries", ["next_at"], sqlite_where=sa.text("next_at IS NOT NULL")
    )
