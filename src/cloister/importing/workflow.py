"""GitHub Copilot's `copilot-setup-steps.yml`: a workflow whose one job makes the agent's machine ready.

https://docs.github.com/en/copilot, "Customizing the development environment"; the syntax is that of GitHub Actions.
"""

import re

from cloister.errors import UsageError
from cloister.importing.documents import Item, parse_yaml
from cloister.importing.draft import Draft
from cloister.importing.expressions import Context, reason_to_leave
from cloister.importing.script import Section, assemble
from cloister.importing.workflow_steps import Steps
from cloister.model.secret import VARIABLE_NAME, is_reserved

JOB = "copilot-setup-steps"
_LONGEST_MINUTES = 24 * 60
_NUMBER = re.compile(r"\d{1,9}", re.ASCII)
_SERVICES = {
    "mariadb": "mariadb-server",
    "memcached": "memcached",
    "mysql": "mariadb-server",
    "postgis": "postgresql postgresql-15-postgis-3",
    "postgres": "postgresql",
    "rabbitmq": "rabbitmq-server",
    "redis": "redis-server",
    "valkey": "redis-server",
}
"""Name of a well-known image to the packages of Debian's that have the program."""
_NO_MEANING = {
    "concurrency": "GitHub's",
    "continue-on-error": "GitHub's",
    "defaults": "",
    "env": "",
    "environment": "GitHub's; its secrets and variables are to be given here anew",
    "if": "the job is taken over whatever its condition",
    "name": "",
    "outputs": "there is no job after it",
    "permissions": "no token of GitHub's is in a sandbox",
    "runs-on": "`image` says what a sandbox starts from",
    "services": "",
    "steps": "",
    "strategy": "",
    "timeout-minutes": "",
    "container": "",
}
"""Keys of a job to why they are not taken over; `""` is for those that are looked at."""


def read(raw: bytes, path: str, workspace: str) -> Draft:
    """Return what the file says. UsageError when it is not a workflow with that job."""
    workflow = parse_yaml(raw, path)
    job = workflow.find("jobs", JOB)
    if job is None or not job.table:
        raise UsageError(f"{path} has no job {JOB}, which is the one that makes an agent's machine ready")
    draft = Draft()
    context = Context(workspace=workspace, matrix=_matrix(job, draft))
    exports = {**_variables(workflow, context, draft), **_variables(job, context, draft)}
    _look_at_rest(workflow, job, draft)
    steps = Steps(draft=draft, context=context, defaults=_defaults(workflow, job))
    sections: list[Section] = []
    listed = job.find("steps")
    for number, step in enumerate(listed.items if listed else [], start=1):
        sections += steps.read(step, number)
    draft.script = assemble(sections, exports=exports)
    if exports and draft.script is None:
        draft.leave("env", f"{', '.join(exports)}: there is no command that would need them")
    return draft


def _matrix(job: Item, draft: Draft) -> dict[str, str]:
    found = job.find("strategy", "matrix")
    single = (
        {name: value.items[0].text or "" for name, value in found.table.items() if len(value.items) == 1}
        if found
        else {}
    )
    if found is not None and len(single) < len(found.table):
        draft.leave(f"line {found.line}, strategy.matrix", "what has several values stands for none of them here")
    return single


def _variables(owner: Item, context: Context, draft: Draft) -> dict[str, str]:
    """Take the table `env`; return what only setup can have, since it is made of secrets: name to a word of bash."""
    table = owner.find("env")
    exports: dict[str, str] = {}
    for name, value in (table.table if table else {}).items():
        where = f"line {value.line}, env.{name}"
        resolved = context.resolve(value.text or "")
        if resolved.unknown:
            draft.leave(where, reason_to_leave(resolved.unknown))
        elif resolved.plain is not None:
            draft.set_variable(name, resolved.plain, where)
        elif not VARIABLE_NAME.fullmatch(name) or is_reserved(name):
            draft.leave(where, "no variable is called so here")
        elif draft.set_secrets(resolved.secrets, where) and resolved.quoted != f'"${{{name}}}"':
            exports[name] = resolved.quoted
            draft.take(where, f"{name}, in the setup script alone")
    return exports


def _look_at_rest(workflow: Item, job: Item, draft: Draft) -> None:
    minutes = job.find_text("timeout-minutes")
    if _NUMBER.fullmatch(minutes) and 1 <= int(minutes) <= _LONGEST_MINUTES:
        draft.set_timeout(f"{int(minutes)}m", f"line {job.table['timeout-minutes'].line}, timeout-minutes")
    elif minutes:
        draft.leave(f"line {job.table['timeout-minutes'].line}, timeout-minutes", f"{minutes} is no number of minutes")
    for name, other in (workflow.find("jobs") or job).table.items():
        if name != JOB:
            draft.leave(f"line {other.line}, jobs.{name}", "only the job copilot-setup-steps makes a machine ready")
    for owner in (workflow, job):
        for key, value in owner.table.items():
            if owner is workflow and key in ("on", "jobs", "run-name"):
                continue
            if reason := _NO_MEANING.get(key, "nothing here has this meaning"):
                draft.leave(f"line {value.line}, {key}", reason)
    _look_at_containers(job, draft)


def _look_at_containers(job: Item, draft: Draft) -> None:
    container = job.find("container")
    if container is not None:
        image = container.text or container.find_text("image")
        hint = f"to start from it: cloister image pull {image}, and image = ... in the file"
        draft.leave(f"line {container.line}, container", hint)
    services = job.find("services")
    for name, service in (services.table if services else {}).items():
        image = service.find_text("image")
        packages = _SERVICES.get(image.rpartition("/")[2].partition(":")[0].partition("@")[0])
        how = f"install Debian's {packages} in [setup] script" if packages else "install it in [setup] script"
        draft.leave(
            f"line {service.line}, services.{name}",
            f"{image}: containers do not run in a sandbox; {how}, and start it in [services]",
        )


def _defaults(workflow: Item, job: Item) -> dict[str, str]:
    found: dict[str, str] = {}
    for owner in (workflow, job):
        run = owner.find("defaults", "run")
        found |= {key: value.text for key, value in (run.table if run else {}).items() if value.text}
    return found
