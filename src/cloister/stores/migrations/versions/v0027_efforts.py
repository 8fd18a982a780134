"""What attempts took is kept in short rows, by time, and so is how tasks ended."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"
branch_labels = None
depends_on = None

_COUNTED = ("accepted_at", "start_seconds", "agent", "verdict", "calls", "input_tokens", "output_tokens", "cost")
_FOUND = """
INSERT INTO efforts
SELECT attempts.id, tasks.accepted_at, json_extract(tasks.document, '$.agent'), attempts.verdict,
       json_extract(attempts.outcome, '$.accepted_to_agent_seconds'), json_extract(attempts.outcome, '$.usage.calls'),
       json_extract(attempts.outcome, '$.usage.usage.input_tokens'),
       json_extract(attempts.outcome, '$.usage.usage.output_tokens'), json_extract(attempts.outcome, '$.usage.cost')
FROM attempts JOIN tasks ON tasks.id = attempts.task
WHERE attempts.outcome IS NOT NULL AND attempts.verdict IS NOT NULL
"""


def upgrade() -> None:
    """Add the table, with what is known of those that are over."""
    op.create_table(
        "efforts",
        sa.Column("attempt", sa.Text, sa.ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("accepted_at", sa.DateTime, nullable=False),
        sa.Column("agent", sa.Text, nullable=False),
        sa.Column("verdict", sa.Text, nullable=False),
        sa.Column("start_seconds", sa.Float),
        sa.Column("calls", sa.Integer),
        sa.Column("input_tokens", sa.Integer),
        sa.Column("output_tokens", sa.Integer),
        sa.Column("cost", sa.Float),
    )
    op.execute(_FOUND)
    op.create_index("efforts_by_acceptance", "efforts", list(_COUNTED))
    op.drop_index("tasks_by_acceptance", "tasks")
    op.create_index("tasks_by_acceptance", "tasks", ["accepted_at", "state", "verdict"])
