"""Deliveries of forges are kept until they are worked off."""

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; before, no forge told of anything."""
    op.create_table(
        "inbox",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("arrived_at", sa.DateTime, nullable=False),
        sa.Column("tries", sa.Integer, nullable=False),
        sa.Column("next_at", sa.DateTime),
        sa.Column("outcome", sa.Text, nullable=False),
    )
    op.create_index("inbox_by_digest", "inbox", ["digest"], unique=True)
    op.create_index("inbox_by_arrival", "inbox", ["arrived_at"])
    op.create_index("inbox_due", "inbox", ["next_at"], sqlite_where=sa.text("next_at IS NOT NULL"))
