"""What the form for a new task holds, as a request, as a command line, and as an address that fills it again."""

import shlex
from collections.abc import Iterable, Sequence
from typing import Literal
from urllib.parse import urlencode

from pydantic import BaseModel
from starlette.datastructures import FormData, UploadFile

from cloister.intake import COMMAND_AGENT
from cloister.model.environment_source import SourceKind
from cloister.model.fairness import Priority
from cloister.model.given import Upload, is_image
from cloister.model.network import NetworkMode
from cloister.model.request import EnvironmentName, Request
from cloister.model.task import Task
from cloister.web.posted import unix

_LONGEST_ADDRESS = 8000
"""That browsers and proxies take for certain."""
PROMPT = "PROMPT"
"""Stands for the prompt in a command line, until a script puts what is in the form in its place."""
PATCH = "change.diff"
"""Name of a pasted patch in a command line: whoever runs it saves it there."""


class TaskForm(BaseModel):
    """What the form holds, but for files. Empty is as if it was not said."""

    repository: str = ""
    ref: str = ""
    prompt: str = ""
    environment: str = ""
    """Name of a stored one."""
    agent: str = ""
    model: str = ""
    command: str = ""
    attempts: int = 1
    priority: Priority = Priority.NORMAL
    ask: bool = False
    internet: Literal["", "off", "limited", "full"] = ""
    allow: str = ""
    """Domains, with blanks or commas between them."""
    use_cache: bool = True
    patch: str = ""
    """A starting diff that was pasted."""
    patch_name: str = ""
    image_names: str = ""
    """One on each line; like `patch_name` and `file_names` for the command line alone, put there by a script."""
    file_names: str = ""

    @property
    def domains(self) -> tuple[str, ...]:
        """What the agent may reach too."""
        return tuple(self.allow.replace(",", " ").split())

    def to_request(self, patch: bytes | None = None, files: Sequence[Upload] = ()) -> Request:
        """Return what it asks for, with the files that were sent beside it."""
        return Request(
            repository=self.repository.strip(),
            ref=self.ref.strip() or None,
            prompt=unix(self.prompt),
            environment=EnvironmentName(name=self.environment) if self.environment else None,
            agent=self.agent or None,
            model=self.model.strip() or None,
            command=(self.command.strip() or None) if self.agent == COMMAND_AGENT else None,
            attempts=self.attempts,
            priority=self.priority,
            patch=patch if patch is not None else self._pasted(),
            files=tuple(files),
            ask=self.ask,
            internet=NetworkMode(self.internet) if self.internet else None,
            allow=self.domains,
            use_cache=self.use_cache,
        )

    def _pasted(self) -> bytes | None:
        """Return the pasted patch; what is pasted often lacks the end of its last line, without which it is broken."""
        text = unix(self.patch)
        if not text.strip():
            return None
        return (text if text.endswith("\n") else f"{text}\n").encode(errors="surrogatepass")

    def to_command_line(self) -> str:
        """Return the `cloister run` that asks for the same."""
        asked = self.to_request()
        words = ["cloister", "run", "--repo", asked.repository or "URL"]
        words += ["--ref", asked.ref] if asked.ref else []
        words += ["--env", self.environment] if self.environment else []
        if asked.command:
            words += ["--command", asked.command]
        elif asked.agent:
            words += ["--agent", asked.agent]
        words += ["--model", asked.model] if asked.model else []
        words += ["--attempts", str(self.attempts)] if self.attempts > 1 else []
        words += ["--priority", self.priority] if self.priority is not Priority.NORMAL else []
        words += ["--ask"] if self.ask else []
        words += self._files()
        words += ["--internet", self.internet] if self.internet else []
        words += [word for domain in self.domains for word in ("--allow", domain)]
        words += [] if self.use_cache else ["--no-cache"]
        return shlex.join([*words, "--detach", asked.prompt.strip() or PROMPT])

    def _files(self) -> Iterable[str]:
        name = self.patch_name or (PATCH if self.patch.strip() else "")
        yield from ("--patch", _as_path(name)) if name else ()
        for option, names in (("--image", self.image_names), ("--file", self.file_names)):
            for each in names.splitlines():
                yield from (option, _as_path(each)) if each else ()


def _as_path(name: str) -> str:
    """Return it so that no command takes it for an option, or for standard input."""
    return f"./{name}" if name.startswith("-") else name


async def sent_patch(form: FormData) -> bytes | None:
    """Return the patch that was chosen as a file."""
    sent = form.get("patch_file")
    return await sent.read() if isinstance(sent, UploadFile) and sent.filename else None


async def sent_files(form: FormData) -> tuple[Upload, ...]:
    """Return the files that come with the prompt; those that begin as pictures do are pictures."""
    found = []
    for sent in form.getlist("files"):
        if isinstance(sent, UploadFile) and sent.filename:
            data = await sent.read()
            found.append(Upload(name=sent.filename, data=data, image=is_image(data)))
    return tuple(found)


def again_address(task: Task) -> str:
    """Return the address of the form, filled with what a task was asked with; empty when that is too much for one."""
    source = task.environment_source
    is_stored = source is not None and source.kind is SourceKind.STORED
    asked = {
        "repository": task.repository.address,
        "ref": "" if task.revision.ref == task.revision.default_branch else task.revision.ref,
        "prompt": task.prompt,
        "environment": task.environment.name if is_stored else "",
        "agent": task.agent,
        "command": task.command or "",
        "attempts": str(task.attempts) if task.attempts > 1 else "",
        "ask": "true" if task.ask else "",
    }
    address = f"/tasks/new?{urlencode({name: value for name, value in asked.items() if value}, errors='replace')}"
    return address if len(address) <= _LONGEST_ADDRESS else ""
