"""What people ask for at forges is remembered."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0025"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table; before, nobody could ask there."""
    op.create_table(
        "asked",
        sa.Column("key", sa.Text, primary_key=True),
        sa.Column("person", sa.Text, nullable=False),
        sa.Column("repository", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
        sa.Column("next_at", sa.DateTime),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("asked_by_time", "asked", ["at"])
    op.create_index("asked_due", "asked", ["next_at"], sqlite_where=sa.text("next_at IS NOT NULL"))
