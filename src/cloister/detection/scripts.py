"""Which scripts a task's setup phase may run: the environment's own, or those of automatic setup."""

from dataclasses import dataclass, replace

from cloister.detection.plan import plan_setup
from cloister.model.environment import Environment
from cloister.model.network import NetworkMode
from cloister.model.project import LOCK_FILES, ProjectFiles, is_requirements
from cloister.model.setup_plan import NOTHING_PLANNED, Section, SetupPlan

_NOT_BROUGHT_UP = (
    "the dependencies are the default branch's: an agent wrote this commit, so what it declares is installed only with "
    "the network of the agent, which is off"
)
_NO_NETWORK = "nothing is installed: there are package managers, and the setup network is off"


@dataclass(frozen=True, slots=True, kw_only=True)
class SetupScripts:
    """What the setup phase runs, decided before there is a sandbox."""

    setup: str | None = None
    """For a cold disk, at the tip of the default branch."""
    maintenance: str | None = None
    """The environment's own, for a warm disk, at the task's commit."""
    catch_up: str | None = None
    """At the task's commit, when other dependencies are declared there than at the default branch's tip."""
    differing: tuple[str, ...] = ()
    """Paths of the files that declare others."""
    plan: SetupPlan = NOTHING_PLANNED
    """Automatic setup at the task's commit; empty when the environment has a script of its own."""
    base_plan: SetupPlan = NOTHING_PLANNED
    """The same at the tip of the default branch."""
    dependencies: str = ""
    """Digest of the default branch's files that decide what is installed: a part of the snapshot's key."""
    own_dependencies: str = ""
    """Digest of the same files at the task's commit, where they differ: a part of the key of what is the ref's own."""

    def sections_of(self, script: str) -> tuple[Section, ...]:
        """Return the parts of a script of automatic setup; none of one that somebody wrote."""
        return next((plan.sections for plan in (self.base_plan, self.plan) if plan.script == script), ())


def choose_scripts(
    environment: Environment, *, base: ProjectFiles, asked: ProjectFiles, foreign: bool = False
) -> SetupScripts:
    """Decide by the files at the default branch's tip (`base`), which a kept disk was made of, and the task's.

    A `foreign` commit gets no more network than the agent has: where that is none, automatic setup leaves it alone.
    """
    recipe = environment.setup
    automatic = recipe.automatic and recipe.script is None
    base_plan = _plan(environment, base) if automatic else NOTHING_PLANNED
    plan = _plan(environment, asked) if automatic else NOTHING_PLANNED
    setup, again = (base_plan.script, plan.script) if automatic else (recipe.script, recipe.script)
    is_left = automatic and foreign and environment.network.agent is NetworkMode.OFF and again is not None
    paths = {*base_plan.inputs, *plan.inputs} if automatic else _locks_of(base) | _locks_of(asked)
    if setup is None and again is None:
        paths = set()
    differing = tuple(path for path in sorted(paths) if base.files.get(path) != asked.files.get(path))
    if is_left and differing:
        plan, again = replace(base_plan, notes=(*base_plan.notes, _NOT_BROUGHT_UP)), None
    return SetupScripts(
        setup=setup,
        maintenance=recipe.maintenance,
        catch_up=(recipe.maintenance or again) if differing else None,
        differing=differing,
        plan=plan,
        base_plan=base_plan,
        own_dependencies=asked.digest_of(paths) if differing else "",
        dependencies=base.digest_of(base_plan.inputs if automatic else _locks_of(base)) if setup else "",
    )


def _plan(environment: Environment, files: ProjectFiles) -> SetupPlan:
    plan = plan_setup(files)
    if plan.steps and environment.network.setup is NetworkMode.OFF:
        return SetupPlan(notes=(*plan.notes, _NO_NETWORK))
    return plan


def _locks_of(files: ProjectFiles) -> set[str]:
    return {path for path in files.files if path.rpartition("/")[2] in LOCK_FILES or is_requirements(path)}
