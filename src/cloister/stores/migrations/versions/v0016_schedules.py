"""Schedules."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "schedules",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("cron", sa.Text, nullable=False),
        sa.Column("timezone", sa.Text, nullable=False),
        sa.Column("missed", sa.Text, nullable=False),
        sa.Column("request", sa.Text, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("next_at", sa.DateTime),
    )
    op.create_table(
        "scheduled_runs",
        sa.Column("schedule", sa.Text, sa.ForeignKey("schedules.name", ondelete="CASCADE"), primary_key=True),
        sa.Column("due_at", sa.DateTime, primary_key=True),
        sa.Column("started_at", sa.DateTime, nullable=False),
        sa.Column("missed", sa.Integer, nullable=False),
        sa.Column("task", sa.Text),
        sa.Column("reason", sa.Text, nullable=False),
    )
