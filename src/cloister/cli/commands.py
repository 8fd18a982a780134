"""Which commands there are. Each is loaded when it is asked for: one that lists tasks does not wait for all others."""

from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand

from cloister.cli.exit import CloisterGroup

_FUNCTIONS = {
    "run": ("run:run", "Give a task to an agent, in a sandbox of its own, and follow it."),
    "diff": ("diff:diff", "Print the change that a task made, with all its turns, as git writes it."),
    "apply": ("diff:apply", "Put the change that a task made into the work tree of the current directory."),
    "pr": (
        "pull_request:pr",
        "Push a task's change to its branch, and open its pull request; after a follow-up, bring both up to date.",
    ),
    "review": (
        "review:review",
        "Review a pull request in a sandbox, and print what is wrong. Nothing is posted without --post, or ever "
        "approved.",
    ),
    "audit": (
        "audit:audit",
        "Show who asked for which change, newest first, and what was refused to whom. Values are never shown.",
    ),
    "serve": ("serve:serve", "Run the server: its API, and a worker, until SIGTERM or Ctrl-C."),
    "worker": (
        "node:worker",
        "Run waiting tasks until stopped; then those that run have the time that the setting `drain` gives.",
    ),
    "clean": (
        "node:clean",
        "Remove everything that killed commands left behind, and cancel the tasks that nobody works on.",
    ),
    "mcp": (
        "mcp:mcp",
        "Be a server of the Model Context Protocol, for an assistant or editor that starts this command.",
    ),
    "backup": (
        "backup:backup",
        "Copy the state, also while a server runs: tasks, logs, diffs, environments, sealed secrets, tokens, files.",
    ),
    "restore": (
        "backup:restore",
        "Make the state directory anew from a backup. One that is in use is refused. Older tables are brought up to "
        "date.",
    ),
    "doctor": (
        "doctor:doctor",
        "Look at this machine: what sandboxes need, what it cannot enforce, and what to do about it.",
    ),
    "demo": (
        "demo:demo",
        "Show the whole of Cloister on a real project: the phases, the refusals, the fix. No key of a model is needed.",
    ),
}
"""By name: the module and the function, and the first words of its help."""

_GROUPS = {
    "task": (("task", "follow_up", "evidence"), "What became of tasks."),
    "env": (("env", "env_file"), "How a repository is made ready."),
    "secret": (("secret",), "Values that setup scripts may see, or that only the proxy may use."),
    "agent": (("agent",), "The programs that do the work."),
    "model": (("model",), "Providers of models, and their keys, which no sandbox ever has."),
    "image": (("image",), "The root file systems that sandboxes stand on."),
    "snapshot": (("snapshot",), "The disks that are kept after setup."),
    "egress": (("egress",), "What tasks asked of the network."),
    "record": (("record",), "The signed accounts of attempts."),
    "token": (("token",), "Who may call a server from elsewhere."),
    "schedule": (("schedule",), "Tasks at set times, given by `cloister serve`."),
    "user": (("user",), "People whom a provider of OpenID Connect knows."),
    "webhook": (("webhook",), "Word of tasks to other programs, sent by `cloister serve`."),
    "github": (("github",), "GitHub: Cloister's login there, which no sandbox ever has."),
}
"""By name: the modules whose commands are below it, the first of which says what all are about; and those words."""


class LaterCommand(TyperCommand):
    """Stands in help for a command, or a group of them, that is loaded when somebody calls it."""

    def load(self) -> Any:
        """Return the command itself."""
        assert self.name is not None
        command = _load_group(self.name) if self.name in _GROUPS else _load_function(self.name)
        command.name = self.name
        return command

    def make_context(self, info_name: str | None, args: list[str], parent: Any = None, **extra: Any) -> Any:
        """Begin to carry it out."""
        return self.load().make_context(info_name, args, parent=parent, **extra)


class AllCommands(CloisterGroup):
    """What `cloister` can do."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (_, help) in (*_FUNCTIONS.items(), *_GROUPS.items()):
            self.add_command(LaterCommand(name=name, help=help))


def _load_function(name: str) -> Any:
    module, function = _FUNCTIONS[name][0].split(":")
    app = typer.Typer(add_completion=False)
    app.command()(getattr(_module(module), function))
    return typer.main.get_command(app)


def _load_group(name: str) -> Any:
    group, *others = (typer.main.get_group(_module(module).app) for module in _GROUPS[name][0])
    for other in others:
        group.commands.update(other.commands)
    return group


def _module(name: str) -> Any:
    return import_module(f"cloister.cli.{name}")
