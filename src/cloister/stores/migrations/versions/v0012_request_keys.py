"""A request that is sent again is known."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; before, a request that was sent twice was carried out twice."""
    op.create_table(
        "request_keys",
        sa.Column("digest", sa.Text, primary_key=True),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("task", sa.Text, sa.ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
        sa.Column("turn", sa.Integer, nullable=False),
    )
    op.create_index("request_keys_by_age", "request_keys", ["at"])
    op.create_index("request_keys_by_task", "request_keys", ["task"])
