"""The worker's side of what is told of one sandbox: in its order, and each decision with the program that asked."""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import islice

import anyio
from anyio.abc import TaskGroup

from cloister.egress.messages import Question
from cloister.model.asker import Asker, printable
from cloister.model.network import EgressRecord, EgressTold
from cloister.protocols import FindAsker

_SEARCH_SECONDS = 0.5
_MOST_REMEMBERED = 512

Report = Callable[[EgressTold], None]


@dataclass(slots=True, eq=False)
class Search:
    """For the program at the end of one connection."""

    asker: Asker | None = None
    done: anyio.Event = field(default_factory=anyio.Event)


class Teller:
    """Passes on what is told. What waits for a search, and all behind it, waits for half a second at most."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._report: Report | None = None
        self._find: FindAsker | None = None
        self._searches: dict[Question, Search] = {}
        self._waiting: deque[tuple[EgressTold, Search | None]] = deque()

    def renew(self, report: Report, find: FindAsker | None) -> None:
        """From now on, tell this one, and look with that one."""
        self._report, self._find = report, find

    def tell(self, told: EgressTold, question: Question | None = None) -> None:
        """Pass on, once it is known who asked the question; at once when nobody looks for that."""
        search = self.search(question) if question is not None and self._find is not None else None
        self._waiting.append((told, search))
        self._pass_on()

    def search(self, question: Question) -> Search:
        """Return the search for who is at the end of a connection; there is one for each."""
        search = self._searches.get(question)
        if search is None:
            search = self._searches[question] = Search()
            self._begin(question, search)
        return search

    async def drain(self) -> None:
        """Return when all is passed on."""
        while self._waiting:
            _, search = self._waiting[0]
            assert search is not None, "the others do not wait"
            await search.done.wait()

    def _begin(self, question: Question, search: Search) -> None:
        self._forget_some()
        if self._find is None or len(self._searches) > _MOST_REMEMBERED:
            search.done.set()
        else:
            self._tasks.start_soon(self._look, self._find, question, search)

    def _forget_some(self) -> None:
        """The oldest ones that are done: a connection that goes on asking is looked for again."""
        excess = max(len(self._searches) - _MOST_REMEMBERED, 0)
        done = (question for question, search in self._searches.items() if search.done.is_set())
        for question in tuple(islice(done, excess)):
            del self._searches[question]

    async def _look(self, find: FindAsker, question: Question, search: Search) -> None:
        with anyio.move_on_after(_SEARCH_SECONDS):
            asker = await find(question.connection)
            search.asker = asker and replace(asker, command=printable(asker.command))
        search.done.set()
        self._pass_on()

    def _pass_on(self) -> None:
        while self._waiting:
            told, search = self._waiting[0]
            if search is not None and not search.done.is_set():
                return
            self._waiting.popleft()
            if isinstance(told, EgressRecord) and search is not None and search.asker is not None:
                told = replace(told, command=search.asker.command)
            if self._report is not None:
                self._report(told)
