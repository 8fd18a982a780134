"""Requests for tasks on the wire, and back."""

from collections.abc import Sequence

from pydantic import Base64Bytes, Field, SecretStr

from cloister.api.body import Body
from cloister.model.fairness import Priority
from cloister.model.given import Upload
from cloister.model.network import NetworkMode
from cloister.model.request import EnvironmentChoice, EnvironmentName, EnvironmentText, Request
from cloister.model.secret import SecretValue
from cloister.model.task import Shell


class EnvironmentBody(Body):
    """A stored environment by name, or the text of an environment file."""

    name: str | None = None
    """Of a stored environment."""
    version: int | None = None
    """Of a stored environment; null is the newest."""
    text: str | None = None
    """An environment file."""
    source: str = "the request"
    """What messages call that file."""

    def choice(self) -> EnvironmentChoice | None:
        """Return what it chooses."""
        if self.text is not None:
            return EnvironmentText(source=self.source, raw=self.text.encode())
        return EnvironmentName(name=self.name, version=self.version) if self.name is not None else None


class FileBody(Body):
    """A file or picture that comes with a prompt."""

    name: str = Field(examples=["screenshot.png"])
    data: Base64Bytes
    """In base64."""
    image: bool = False
    """Whether it is a picture, which some agents look at."""


class TaskBody(Body):
    """What is asked."""

    repository: str = Field(examples=["https://git.example/team/project.git"])
    prompt: str = Field(examples=["fix the failing test"])
    ref: str | None = None
    """Branch, tag, full or short commit; null is the default branch."""
    environment: EnvironmentBody | None = None
    """Null takes the repository's own file, or else the defaults."""
    agent: str | None = None
    """Null takes the environment's agent, or `command` when there is a command."""
    model: str | None = None
    """The provider that answers the agent, and its model: `openai/gpt-5`; null is as the environment says."""
    command: str | None = None
    """A command line that does the work, in place of an agent."""
    attempts: int = 1
    patch: Base64Bytes | None = None
    """A starting diff, in base64."""
    variables: dict[str, str] = Field(default_factory=dict)
    """Over those of the environment."""
    secrets: dict[str, SecretStr] = Field(default_factory=dict)
    """For this task alone; over those of the vault."""
    internet: NetworkMode | None = None
    """The agent's network; null is as the environment says."""
    allow: tuple[str, ...] = ()
    """Domains or presets that the agent may reach too."""
    use_cache: bool = True
    ask: bool = False
    """An answer is wanted, and no change: the work tree is read-only, and no check runs."""
    files: tuple[FileBody, ...] = ()
    """What comes with the prompt: at most 20 files of 10 MiB each, and 32 MiB together."""
    shell: Shell | None = None
    """A shell for the user, in place of an agent; on the same machine alone."""
    priority: Priority = Priority.NORMAL
    """Which tasks start first; `high` takes the role of an admin."""


def bodies_to_uploads(files: Sequence[FileBody]) -> tuple[Upload, ...]:
    """Return the files that nobody has checked yet."""
    return tuple(Upload(name=file.name, data=file.data, image=file.image) for file in files)


def body_to_request(body: TaskBody) -> Request:
    """Return the request that nobody has checked yet."""
    return Request(
        repository=body.repository,
        prompt=body.prompt,
        ref=body.ref,
        environment=body.environment.choice() if body.environment else None,
        agent=body.agent,
        model=body.model,
        command=body.command,
        attempts=body.attempts,
        patch=body.patch,
        variables=body.variables,
        secrets={name: SecretValue(value.get_secret_value()) for name, value in body.secrets.items()},
        internet=body.internet,
        allow=body.allow,
        use_cache=body.use_cache,
        ask=body.ask,
        files=bodies_to_uploads(body.files),
        shell=body.shell,
        priority=body.priority,
    )
