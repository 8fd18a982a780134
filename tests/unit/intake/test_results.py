import pytest

from cloister.errors import ConflictError, NotFoundError
from cloister.intake import Intake

from .conftest import new_request


async def test_there_is_no_change_before_the_end(intake: Intake) -> None:
    task = await intake.submit(new_request())
    with pytest.raises(ConflictError, match="there is no change yet"):
        await intake.results.change(task.id)
    with pytest.raises(NotFoundError, match="no number 2"):
        await intake.results.change(task.id, attempt=2)
    await intake.cancel(task.id)
    with pytest.raises(ConflictError, match="left no change"):
        await intake.results.change(task.id)
