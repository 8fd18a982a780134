"""Remembers which providers did not take their key, so that an agent that tries again is answered here, at once."""

from http import HTTPStatus

from cloister.egress.answer import AnswerError
from cloister.model.model_door import ModelCall
from cloister.model.secret import Grant


class KeyLatch:
    """Of one sandbox. A grant with another key is another grant."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        """Providers that have answered a call well."""
        self._refused: dict[str, tuple[Grant, int]] = {}

    def check(self, grant: Grant) -> None:
        """Raise the provider's own answer when it was given before to this key."""
        former, status = self._refused.get(grant.name, (None, 0))
        if former == grant:
            raise AnswerError(
                HTTPStatus(status),
                f"The provider {grant.name} did not take its key (its status was {status}), and is not asked again.",
            )

    def is_refusal(self, grant: Grant, status: int) -> bool:
        """Whether that status of an answer to a call says that no other call will be answered better.

        Once a call was answered, a 403 is about what that one asked for.
        """
        forbidden = status == HTTPStatus.FORBIDDEN and grant.name not in self._taken
        return status == HTTPStatus.UNAUTHORIZED or forbidden

    def learn(self, grant: Grant, call: ModelCall) -> None:
        """Remember how a call ended."""
        if call.key_refused:
            self._refused[grant.name] = (grant, call.status)
        elif call.status == HTTPStatus.OK:
            self._taken.add(grant.name)
