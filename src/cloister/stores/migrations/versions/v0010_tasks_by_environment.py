"""Tasks of one environment are found without reading all."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Take the name out of every task's document."""
    op.add_column("tasks", sa.Column("environment", sa.Text))
    op.execute("UPDATE tasks SET environment = json_extract(document, '$.environment.name')")
    op.create_index("tasks_by_environment", "tasks", ["environment", "position"])
