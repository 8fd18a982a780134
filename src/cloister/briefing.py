"""What an agent is told of the place where it works, behind what was asked: so that it does not fight the sandbox."""

from collections.abc import Collection, Iterator

from cloister.model.artifact import ARTIFACTS
from cloister.model.ceiling import Ceiling, excess_of
from cloister.model.container import TIME_LEFT, work_tree
from cloister.model.environment import Environment
from cloister.model.network import NetworkMode
from cloister.model.quantity import MINUTE
from cloister.model.task import Task

_MOST_HOSTS = 20


def brief(task: Task, ceiling: Ceiling, brokered: Collection[str]) -> str:
    """Return it as Markdown. `brokered` are the names of secrets that the proxy has.

    The same task is always told the same: an agent that goes on behind another worker has read it.
    """
    environment = task.environment
    lines = [
        "# Where you work",
        "",
        f"A sandbox that was made for this task alone. The repository is at {work_tree(task)}, on a branch of its own. "
        f"You are root, everything {'but the work tree' if task.ask else 'here'} may be changed, and nobody is there "
        "to answer a question or to approve a step.",
        "",
        *(f"- {line}" for line in (*_network(environment, ceiling), *_absent(brokered), *_services(environment))),
        f"- You have {environment.limits.time_seconds / MINUTE:g} minutes in all. {TIME_LEFT} appears shortly before "
        "they are over.",
        f"- What shall be seen and is no part of the change, such as a screenshot, is kept from {ARTIFACTS}.",
        "",
        *_end(task),
    ]
    return "\n".join(lines)


def _network(environment: Environment, ceiling: Ceiling) -> Iterator[str]:
    network = environment.network
    off = NetworkMode.OFF in (network.agent, ceiling.agent)
    if off:
        yield (
            "The network is off. What the project needs was installed before you began: nothing more can be "
            "downloaded, so work with what is here, and say in your answer what was missing."
        )
        return
    if network.agent is NetworkMode.LIMITED or ceiling.agent is NetworkMode.LIMITED:
        shown = ", ".join(network.allow[:_MOST_HOSTS]) or "no host at all"
        more = f" and {len(network.allow) - _MOST_HOSTS} more" if len(network.allow) > _MOST_HOSTS else ""
        yield f"The network reaches these hosts and what is below them: {shown}{more}. Everything else is refused."
    else:
        yield "The network is on, through a proxy that the usual variables name."
    if network.methods is not None:
        yield f"Of HTTP it lets {', '.join(network.methods)} through."
    if network.deny:
        yield f"It never reaches {', '.join(network.deny[:_MOST_HOSTS])}."
    for line in excess_of(network, ceiling):
        yield f"{line[0].upper()}{line[1:]}."


def _absent(brokered: Collection[str]) -> Iterator[str]:
    yield (
        "There are no credentials, on purpose: those that setup had are gone. `git push`, `git fetch` and logging in "
        "anywhere do not work, and nothing of that is yours to repair."
    )
    if brokered:
        yield (
            f"{', '.join(sorted(brokered))} hold placeholders. The proxy puts the real value into requests to the "
            "hosts it is for; use them as they are."
        )
    yield "No containers, mounts or kernel settings can be made in here: Docker, for one, does not run."


def _services(environment: Environment) -> Iterator[str]:
    if environment.services:
        yield f"These services run beside you: {', '.join(service.name for service in environment.services)}."


def _end(task: Task) -> Iterator[str]:
    if task.ask:
        return
    yield (
        "When you end, the difference between the work tree and the commit that you began at is taken out, whether you "
        "commit or not. Files that git ignores are no part of it, so leave nothing else behind. Your last message is "
        "shown beside it."
    )
    if task.environment.checks:
        yield ""
        yield "Then these checks have to pass, where your change is applied to a fresh copy and the network is off:"
        yield ""
        for check in task.environment.checks:
            yield f"- {check.name}: `{' '.join(check.command.split())}`"
