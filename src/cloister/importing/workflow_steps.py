"""The steps of a workflow's job: commands, and uses of actions."""

import posixpath
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from cloister.importing.actions import PROGRAMS, TOOLCHAINS, rust_of_reference, why_left
from cloister.importing.documents import Item
from cloister.importing.draft import Draft
from cloister.importing.expressions import Context, Resolved, reason_to_leave
from cloister.importing.script import Section
from cloister.importing.versions import find_version
from cloister.model.secret import VARIABLE_NAME, is_reserved

_TRUE = re.compile(
    r"(?:\$\{\{)?\s*(?:true|always\(\)|success\(\)|!\s*cancelled\(\)|runner\.os\s*==\s*'Linux'"
    r"|.*\bcache-hit\b\s*!=\s*'true')\s*(?:\}\})?",
    re.IGNORECASE,
)
"""Conditions that hold here. What depends on a cache is done: the disk that is kept afterwards is the cache."""
_SHELLS = {"": "set +o pipefail", "bash": "", "sh": "set +o pipefail"}
"""GitHub's default is `bash -e`; only a shell that is named `bash` has pipefail, as ours has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Reads one step after the other."""

    draft: Draft
    context: Context
    defaults: Mapping[str, str]
    """Of the table `defaults.run`."""

    def read(self, step: Item, number: int) -> Iterator[Section]:
        """Yield what the step does as commands, and put the rest into the draft."""
        where = f"line {step.line}, step {number}"
        name = step.find_text("name")
        title = f"{where}: {name}" if name else where
        condition = step.find_text("if")
        if condition and not _TRUE.fullmatch(condition.strip()):
            self.draft.leave(title, f"whether `{condition}` holds is not known here")
        elif step.find_text("run"):
            yield from self._command(step, where, title)
        elif step.find_text("uses"):
            yield from self._action(step, where, title)
        else:
            self.draft.leave(title, "neither runs nor uses anything")

    def _command(self, step: Item, where: str, title: str) -> Iterator[Section]:
        shell = step.find_text("shell") or self.defaults.get("shell", "")
        if shell not in _SHELLS:
            self.draft.leave(title, f"its shell is {shell}; only bash and sh are taken over")
            return
        body = self.context.resolve(step.find_text("run"))
        folder = self._folder(step)
        unknown = (*body.unknown, *folder.unknown)
        if unknown or folder.plain is None:
            self.draft.leave(title, reason_to_leave(unknown) if unknown else "its folder is known to a shell alone")
            return
        variables = self._variables(step)
        if not self.draft.set_secrets(body.secrets, where):
            return
        self.draft.take(title, "a part of setup.script")
        if body.secrets:
            filled = ", ".join(f"${{{secret}}}" for secret in body.secrets)
            self.draft.leave(title, f"taken over, but look at its quotes: single ones keep {filled} as it is written")
        options = _SHELLS[shell] if "|" in body.script else ""
        yield Section(
            title=title,
            body=body.script,
            folder=_from_root(folder.plain, self.context.workspace),
            variables=variables,
            options=[options] if options else [],
            may_fail=step.find_text("continue-on-error") == "true",
        )

    def _folder(self, step: Item) -> Resolved:
        return self.context.resolve(step.find_text("working-directory") or self.defaults.get("working-directory", ""))

    def _variables(self, step: Item) -> dict[str, str]:
        table = step.find("env")
        taken: dict[str, str] = {}
        for name, value in (table.table if table else {}).items():
            place = f"line {value.line}, env.{name}"
            resolved = self.context.resolve(value.text or "")
            if resolved.unknown:
                self.draft.leave(place, reason_to_leave(resolved.unknown))
            elif not VARIABLE_NAME.fullmatch(name) or is_reserved(name):
                self.draft.leave(place, "no variable of a step is called so here")
            elif self.draft.set_secrets(resolved.secrets, place):
                own = resolved.quoted == f'"${{{name}}}"'
                if not own:
                    taken[name] = resolved.quoted if resolved.plain is None else shlex.quote(resolved.plain)
        return taken

    def _action(self, step: Item, where: str, title: str) -> Iterator[Section]:
        uses = step.find_text("uses")
        action, _, reference = uses.partition("@")
        action = action.lower() if not action.startswith(".") else action
        inputs = {key: value.text or "" for key, value in (step.find("with") or Item(0, {})).table.items()}
        said = f"{where}, {uses}"
        toolchain, program = TOOLCHAINS.get(action), PROGRAMS.get(action)
        if toolchain is not None:
            self._version(toolchain.language, toolchain.input, toolchain.file, action, reference, inputs, said)
        if program is not None:
            body = program(inputs)
            if body is not None:
                self.draft.take(said, "a part of setup.script")
                folder = _from_root(inputs.get("working-directory", ""), self.context.workspace)
                yield Section(title=f"{title} ({uses})" if title != where else said, body=body, folder=folder)
        if toolchain is None and program is None:
            self.draft.leave(said, why_left(action))

    def _version(
        self,
        language: str,
        key: str,
        file: str | None,
        action: str,
        reference: str,
        inputs: Mapping[str, str],
        said: str,
    ) -> None:
        resolved = self.context.resolve(inputs.get(key, ""))
        version = find_version(resolved.plain or "") or rust_of_reference(action, reference)
        if version is not None:
            self.draft.set_version(language, version, said)
        elif inputs.get(key, "").startswith("."):  # as .ruby-version
            self.draft.leave(said, f"not needed: {inputs[key]} of the project says the version itself")
        elif inputs.get(key):
            self.draft.leave(said, f"{key} {inputs[key]} names no single version; the image's own is used")
        elif file and inputs.get(file):
            self.draft.leave(said, f"not needed: {inputs[file]} of the project says the version itself")
        else:
            self.draft.leave(said, f"it names no version; the image's own {language} is used")


def _from_root(folder: str, workspace: str) -> str | None:
    """Return a folder as seen from the root of the repository; None for the root itself."""
    path = posixpath.normpath(posixpath.join(workspace, folder))
    inside = posixpath.relpath(path, workspace) if path.startswith(f"{workspace}/") else path
    return None if path == workspace else inside
