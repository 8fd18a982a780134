"""Plays a script: finds the turn for each request, and says what was not as the script has it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from cloister.testing.asked import Asked
from cloister.testing.script import Expected, Script, Turn

_MARK = re.compile(r"cloister_(\d+)_(\d+)")
_MOST_SHOWN = 300


class UnexpectedRequestError(Exception):
    """The request is not what the script has next."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cue:
    """The turn that a request has come to."""

    turn: Turn
    id: str
    """Unique for this turn; found again in what follows it."""


@dataclass(slots=True, kw_only=True)
class _Conversation:
    turns: Sequence[Turn]
    next: int = 0
    last_text: str = ""
    """What the model said last, to know the conversation by where calls have no ids."""
    broke: bool = False
    """Its last answer was an error or cut, so that the agent knows nothing of it."""


class Player:
    """Where each conversation of a script has come to."""

    def __init__(self, script: Script) -> None:
        self._conversations = [_Conversation(turns=turns) for turns in script.played]
        self.failures: list[str] = []
        """What was not as the script has it."""

    def cue(self, asked: Asked, headers: Mapping[str, str]) -> Cue:
        """Return the next turn of the conversation that the request belongs to. Raises UnexpectedRequestError."""
        conversation = self._find(asked)
        number = self._conversations.index(conversation)
        where = f"conversation {number + 1}, turn {conversation.next + 1}"
        if conversation.next == len(conversation.turns):
            raise UnexpectedRequestError(
                f"{where}: there is no such turn, but the agent asks: {_shown(_newest(asked))}"
            )
        turn = conversation.turns[conversation.next]
        if problems := [*_problems(turn.expect, asked, headers)]:
            raise UnexpectedRequestError(f"{where}: {'; '.join(problems)}")
        cue = Cue(turn=turn, id=f"cloister_{number}_{conversation.next}")
        conversation.next += 1
        conversation.broke = turn.error is not None or turn.cut
        return cue

    def said(self, cue: Cue, text: str) -> None:
        """Remember what was answered."""
        if text:
            self._conversations[int(cue.id.split("_")[1])].last_text = text

    def unasked(self) -> Iterator[str]:
        """Say which turns no request has come to."""
        for number, conversation in enumerate(self._conversations, 1):
            for turn in range(conversation.next + 1, len(conversation.turns) + 1):
                yield f"conversation {number}, turn {turn} was never asked for"

    def _find(self, asked: Asked) -> _Conversation:
        if marks := _MARK.findall(json.dumps(asked.body)):
            return self._conversations[min(int(marks[-1][0]), len(self._conversations) - 1)]
        began = [it for it in self._conversations if it.next]
        history = "\n".join(asked.said)
        for conversation in reversed(began):
            if conversation.last_text and conversation.last_text in history:
                return conversation
        for conversation in began:
            if conversation.broke:
                return conversation
        for conversation in self._conversations:
            if not conversation.next:
                return conversation
        raise UnexpectedRequestError(
            f"the script has no more conversations, but an agent asks: {_shown(_newest(asked))}"
        )


def _problems(expected: Expected, asked: Asked, headers: Mapping[str, str]) -> Iterator[str]:
    prompt, result = "\n".join(asked.prompts), asked.last_result
    for text in expected.prompt:
        if text not in prompt:
            yield f"the prompt has no {text!r}: {_shown(prompt)}"
    for text in expected.result:
        if text not in (result or ""):
            yield f"the last result has no {text!r}: {_shown(result or 'there is none')}"
    if expected.status is not None and result is None:
        yield f"no command has ended yet, with {expected.status} or otherwise"
    elif expected.status is not None and asked.status not in (None, expected.status):
        yield f"the last command ended with {asked.status}, not with {expected.status}: {_shown(result or '')}"
    for text in expected.anywhere:
        if text not in asked.text:
            yield f"the request has no {text!r}"
    for text in expected.nowhere:
        if text in asked.text or any(text in value for value in headers.values()):
            yield f"the request has {text!r}"
    if expected.images is not None and expected.images != asked.images:
        yield f"the request has {asked.images} images, not {expected.images}"
    if expected.model is not None and expected.model != asked.model:
        yield f"the model asked for is {asked.model!r}, not {expected.model!r}"


def _newest(asked: Asked) -> str:
    return asked.last_result or "\n".join(asked.prompts)


def _shown(text: str) -> str:
    """The end of a text, where what is new stands."""
    return repr(text if len(text) <= _MOST_SHOWN else f"... {text[-_MOST_SHOWN:]}")
