"""Who is told of tasks, and what is to be told."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""
    op.create_table(
        "receivers",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("holder", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("occasions", sa.JSON, nullable=False),
        sa.Column("everybody", sa.Boolean, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("sent_at", sa.DateTime),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("receivers_by_holder", "receivers", ["holder", "created_at"])
    op.create_table(
        "notices",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("receiver", sa.Text, sa.ForeignKey("receivers.id", ondelete="CASCADE"), nullable=False),
        sa.Column("task", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
        sa.Column("created_at", sa.DateTime, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.DateTime, nullable=False),
    )
    op.create_index("notices_due", "notices", ["next_at"])
    op.create_index("notices_by_receiver", "notices", ["receiver"])
    op.create_index("notices_by_task", "notices", ["task"])
