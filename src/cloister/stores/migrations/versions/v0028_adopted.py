"""What was pushed to branches of people is remembered."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table, with what is known of the last such push of each task."""
    op.create_table(
        "adopted",
        sa.Column("commit", sa.Text, primary_key=True),
        sa.Column("branch", sa.Text, nullable=False),
        sa.Column("at", sa.DateTime, nullable=False),
    )
    op.execute(
        """
        INSERT OR IGNORE INTO adopted ("commit", branch, at)
        SELECT json_extract(document, '$.pushed.head'), json_extract(document, '$.branch'), at
        FROM publications
        WHERE json_extract(document, '$.adopted') AND json_extract(document, '$.pushed.head') IS NOT NULL
        """
    )
