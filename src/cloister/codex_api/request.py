"""What the client sends to have a task."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Discriminator, Tag


class _Text(BaseModel):
    content_type: Literal["text"]
    text: str


class _Message(BaseModel):
    type: Literal["message"]
    role: Literal["user"]
    content: list[_Text]


class _Diff(BaseModel):
    diff: str


class _StartingPatch(BaseModel):
    type: Literal["pre_apply_patch"]
    output_diff: _Diff


class _Metadata(BaseModel):
    best_of_n: int = 1


class _NewTask(BaseModel):
    environment_id: str
    branch: str | None = None
    run_environment_in_qa_mode: bool = False


def _kind(item: Any) -> str:
    return str(item.get("type") if isinstance(item, dict) else item.type)


class CodexTask(BaseModel):
    """A task that is wanted; keys that are not known are for somebody else."""

    new_task: _NewTask
    input_items: list[
        Annotated[
            Annotated[_Message, Tag("message")] | Annotated[_StartingPatch, Tag("pre_apply_patch")],
            Discriminator(_kind),
        ]
    ]
    metadata: _Metadata = _Metadata()

    @property
    def prompt(self) -> str:
        """What is asked."""
        messages = [item for item in self.input_items if isinstance(item, _Message)]
        return "\n\n".join(part.text for message in messages for part in message.content)

    @property
    def patch(self) -> bytes | None:
        """A starting diff."""
        patches = [item.output_diff.diff for item in self.input_items if isinstance(item, _StartingPatch)]
        return "".join(patches).encode() or None


class CreatedTask(BaseModel):
    """Its id."""

    id: str


class Created(BaseModel):
    """A task that was accepted."""

    task: CreatedTask
