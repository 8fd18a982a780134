"""Environments made of what a repository says: to other services, and to automatic setup."""

from dataclasses import dataclass

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, Response

from cloister.api.caller import Admin
from cloister.api.front import FrontDoor, check_repository
from cloister.environment_file import REPOSITORY_FILE
from cloister.errors import CloisterError, NotFoundError
from cloister.importing import ImportedEnvironment
from cloister.importing.draft import on_one_line
from cloister.importing.toml_writer import comment, string
from cloister.intake import Intake
from cloister.model.request import EnvironmentText
from cloister.model.setup_plan import step_to_text
from cloister.preview import Preview
from cloister.web.page import PageRoute, render_form

_NOTHING = EnvironmentText(source="the defaults", raw=b"")

router = APIRouter(
    prefix="/environments/-",
    tags=["environments"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a repository says."""

    imported: ImportedEnvironment | None
    """Of what it says to another service; None when it says nothing to those that are known."""
    detected: Preview
    """What automatic setup would do of itself."""
    detected_text: str
    own: bool
    """Whether it has an environment file, which tasks take by themselves."""


@router.get("/import")
async def show(
    request: Request,
    intake: FrontDoor,
    caller: Admin,
    repository: str = "",
    ref: str = "",
    path: str = "",
    name: str = "",
) -> Response:
    """Show what is found in a repository, and the text that is made of it, to be put into the editor."""
    found, refused = None, None
    if address := repository.strip():
        try:
            check_repository(address, caller)
            found = await _find(intake, address, ref.strip() or None, path or None)
        except CloisterError as error:
            refused = error
    return render_form(
        request,
        "import_environment.html",
        refused,
        repository=repository,
        ref=ref,
        name=name,
        found=found,
    )


async def _find(intake: Intake, repository: str, ref: str | None, path: str | None) -> Found:
    detected = await intake.repositories.preview(repository, ref, _NOTHING)
    own = await intake.forge.find_files(detected.repository, detected.revision.commit, (REPOSITORY_FILE,))
    try:
        imported = await intake.repositories.import_environment(repository, ref, path)
    except NotFoundError:
        if path is not None:
            raise
        imported = None
    return Found(imported=imported, detected=detected, detected_text=_detected_text(detected), own=bool(own))


def _detected_text(found: Preview) -> str:
    """Return an environment file that says what automatic setup finds: versions, and with comments the steps."""
    commit, plan = found.revision.commit, found.needs.scripts.plan
    lines = [comment(f"Of {on_one_line(found.repository.address)} at {commit[:12]}.")]
    lines += [comment(f"Automatic setup: {on_one_line(step_to_text(step))}") for step in plan.steps]
    lines += [comment(on_one_line(note)) for note in (*plan.notes, *found.needs.toolchains.notes)]
    if versions := found.needs.toolchains.versions:
        lines += ["", "[versions]", *(f"{name} = {string(version)}" for name, version in versions.items())]
    lines += ["", "[setup]", "automatic = true", "", "[network]", 'setup = "full"', 'agent = "off"', ""]
    return "\n".join(lines)
