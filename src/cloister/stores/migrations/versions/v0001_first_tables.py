"""The first tables: tasks, attempts, events, snapshots, secrets."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    _make_tasks()
    _make_attempts()
    _make_events()
    _make_snapshots()
    _make_secrets()


def _make_tasks() -> None:
    op.create_table(
        "tasks",
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("patch", sa.LargeBinary),
        sa.Column("sealed_secrets", sa.LargeBinary),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("accepted_at", sa.DateTime, nullable=False),
        sa.Column("finished_at", sa.DateTime),
        sa.Column("last_seq", sa.Integer, nullable=False),
    )


def _make_attempts() -> None:
    op.create_table(
        "attempts",
        sa.Column("position", sa.Integer, primary_key=True),
        sa.Column("id", sa.Text, nullable=False, unique=True),
        sa.Column("task", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("retry", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("worker", sa.Text),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("verdict", sa.Text),
        sa.Column("outcome", sa.Text),
        sa.Column("diff", sa.LargeBinary),
    )
    op.create_index("attempts_by_task", "attempts", ["task", "number"])
    op.create_index("attempts_by_state", "attempts", ["state", "position"])


def _make_events() -> None:
    op.create_table(
        "events",
        sa.Column("task", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("attempt", sa.Text),
        sa.Column("phase", sa.Text),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("fields", sa.JSON, nullable=False),
        sa.Column("command", sa.Text),
        sa.Column("output_end", sa.Integer),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "events_by_command",
        "events",
        ["attempt", "command", "output_end"],
        sqlite_where=sa.text("command IS NOT NULL"),
    )


def _make_snapshots() -> None:
    op.create_table(
        "snapshots",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("environment", sa.Text, nullable=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("commit", sa.Text, nullable=False),
        sa.Column("parts", sa.JSON, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("expires_at", sa.DateTime, nullable=False),
    )
    op.create_index("snapshots_by_use", "snapshots", ["environment", "repository", "created_at"])


def _make_secrets() -> None:
    op.create_table(
        "secrets",
        sa.Column("environment", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
    )
