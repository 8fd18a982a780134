"""What an attempt took, in a row of numbers beside its outcome, which is long."""

from sqlalchemy import Connection, Text, func, insert, literal, select

from cloister.model.task import AttemptId, Outcome, TaskId
from cloister.stores.schema import EFFORTS, TASKS


def keep_effort(connection: Connection, task: TaskId, attempt: AttemptId, outcome: Outcome) -> None:
    """Write it, with the outcome."""
    models = outcome.usage
    numbers = {
        EFFORTS.c.start_seconds: outcome.accepted_to_agent_seconds,
        EFFORTS.c.calls: models.calls if models else None,
        EFFORTS.c.input_tokens: models.usage.input_tokens if models else None,
        EFFORTS.c.output_tokens: models.usage.output_tokens if models else None,
        EFFORTS.c.cost: models.cost if models else None,
    }
    agent = func.json_extract(TASKS.c.document, "$.agent", type_=Text)
    values = [literal(value, column.type) for column, value in numbers.items()]
    row = select(literal(attempt), TASKS.c.accepted_at, agent, literal(outcome.verdict, Text), *values)
    columns = [EFFORTS.c.attempt, EFFORTS.c.accepted_at, EFFORTS.c.agent, EFFORTS.c.verdict, *numbers]
    connection.execute(insert(EFFORTS).from_select(columns, row.where(TASKS.c.id == task)))
