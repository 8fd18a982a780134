"""Runs a script of the setup phase in a container of its own, the only one that has the secrets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from cloister.errors import TaskFailedError
from cloister.journal import Journal
from cloister.model.container import work_tree
from cloister.model.event import SecretDelivered, SecretRemoved
from cloister.model.sandbox import Command, EndCause, Exit
from cloister.model.secret import DeliveredSecrets
from cloister.model.setup_failure import SetupFailure
from cloister.model.setup_plan import Section
from cloister.model.setup_progress import with_notes
from cloister.model.task import Task
from cloister.phases.setup_steps import StepTeller
from cloister.protocols import Sandbox


@dataclass(frozen=True, slots=True, kw_only=True)
class Script:
    """What is run, and what it finds in its environment."""

    name: str
    """Id of its command."""
    argv: tuple[str, ...]
    """Runs /cloister/in/NAME.sh, which holds `text`."""
    text: str
    sections: Sequence[Section]
    """The parts of `text`, when automatic setup wrote it."""
    variables: Mapping[str, str]
    secrets: DeliveredSecrets


async def run_in_setup(script: Script, task: Task, sandbox: Sandbox, journal: Journal, *, seconds_left: float) -> None:
    """Run it to its end, or go on following it when a former worker started it. TaskFailedError when it fails."""
    name, secret_names = script.name, tuple(sorted(script.secrets.values))
    resumed = sandbox.has_started(name)
    timeout = min(task.environment.setup.timeout_seconds, seconds_left)
    text = with_notes(script.sections, name) if script.sections else script.text
    if secret_names and not resumed:
        journal.record(SecretDelivered(names=secret_names))
    process = await sandbox.start(
        Command(
            id=name,
            argv=script.argv,
            variables=script.variables,
            secrets=script.secrets.values,
            cwd=work_tree(task),
            files={f"{name}.sh": text.encode()},
            timeout_seconds=timeout,
            output_bytes=task.environment.limits.output_bytes,
        )
    )
    steps = StepTeller(script=name, sections=script.sections, sandbox=sandbox, journal=journal)
    if resumed:
        await steps.go_on()
    follow = partial(journal.follow, process, name, resumed=resumed)
    ended, last_words = await steps.tell_beside(follow) if script.sections else await follow()
    if secret_names:
        journal.record(SecretRemoved(names=secret_names))
    ok = ended.status == 0 and ended.cause is EndCause.EXITED
    ends = await steps.tell_rest(ok=ok) if script.sections else ()
    if ended != Exit(status=0):
        failure = SetupFailure(
            script=name,
            ended=ended,
            section=ends[-1].section if ends and not ends[-1].ok else None,
            running=tuple(map(journal.mask_text, ended.running)),
            last_words=last_words,
            timeout_seconds=timeout,
        )
        raise TaskFailedError(failure.reason(task), hint=failure.hint(task))
