"""The file of turns: what each request must have, and what it is answered."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from cloister.toml_document import TomlSyntaxError, parse_toml, problems_of


class ScriptError(ValueError):
    """The file of turns cannot be used. The message names source and line."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def _as_tuple(value: object) -> object:
    if isinstance(value, str):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


_Texts = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
"""One text, or a list of texts all of which are meant."""


class Expected(_Table):
    """What a request must have; texts are parts of what they are looked for in."""

    prompt: _Texts = ()
    """In what the user said since the model's last answer."""
    result: _Texts = ()
    """In what the last tool call gave."""
    status: int | None = None
    """With which the command of the last call ended; some agents do not tell the model, then any will do."""
    anywhere: _Texts = ()
    """In any text of the request."""
    nowhere: _Texts = ()
    """In no text of the request, and in none of its headers."""
    images: int | None = None
    """How many images it has."""
    model: str | None = None
    """The name of the model that is asked for."""


class Edit(_Table):
    """A change of a file: whole lines in place of others."""

    path: str
    """From the work tree."""
    old: str
    new: str


class Write(_Table):
    """A file, new or anew."""

    path: str
    text: str


class Fault(_Table):
    """An error in place of an answer."""

    status: Annotated[int, Field(ge=400, le=599)]
    message: str = "the script says so"
    headers: Mapping[str, str] = {}


class TokenCounts(_Table):
    """What an answer says that it took."""

    input: int = 100
    cached: int = 0
    """Of the input."""
    output: int = 10


class Turn(_Table):
    """One request, and its answer: a command, an edit, a file or an error, or else a message, which ends the work."""

    expect: Expected = Expected()
    think: str = ""
    """A summary of reasoning, where the protocol has such a thing."""
    say: str = ""
    run: str | None = None
    """A command line, run by whatever tool the agent has for that."""
    edit: Edit | None = None
    write: Write | None = None
    error: Fault | None = None
    cut: bool = False
    """The connection is closed in the middle of the answer."""
    delay_seconds: Annotated[float, Field(ge=0, le=600, strict=False)] = 0.0
    usage: TokenCounts = TokenCounts()

    @model_validator(mode="after")
    def _has_one_answer(self) -> Self:
        answers = [name for name in ("run", "edit", "write", "error") if getattr(self, name) is not None]
        if len(answers) > 1:
            raise ValueError(f"a turn has one answer, this one has {' and '.join(answers)}")
        if not answers and not self.say and not self.cut:
            raise ValueError("a turn needs an answer: one of run, edit, write, error and say")
        return self


_Turns = Annotated[tuple[Turn, ...], BeforeValidator(_as_tuple), Field(min_length=1)]


class Conversation(_Table):
    """What is said to one agent, from its first request on; a resumed session is the same conversation."""

    turns: _Turns
    times: Annotated[int, Field(ge=1, le=100)] = 1
    """How many agents have it, each for itself."""


class Script(_Table):
    """A file of turns."""

    key: str | None = None
    """Requests without this key are answered 401."""
    turns: _Turns | None = None
    """In place of `conversations`, when there is only one."""
    conversations: Annotated[tuple[Conversation, ...], BeforeValidator(_as_tuple)] = ()
    """In the order in which they begin."""

    @model_validator(mode="after")
    def _has_turns(self) -> Self:
        if (self.turns is None) == (not self.conversations):
            raise ValueError("a script has either turns or conversations")
        return self

    @property
    def played(self) -> list[tuple[Turn, ...]]:
        """The turns of each conversation that is expected."""
        if self.turns is not None:
            return [self.turns]
        return [conversation.turns for conversation in self.conversations for _ in range(conversation.times)]


def read_script(raw: bytes, *, source: str) -> Script:
    """Return the script. Raises ScriptError."""
    try:
        document = parse_toml(raw, source=source)
    except TomlSyntaxError as error:
        raise ScriptError(str(error)) from error
    try:
        return Script.model_validate(document.data)
    except ValidationError as error:
        raise ScriptError(document.describe(problems_of(error, Script))) from error
