"""Images: the root file systems that sandboxes stand on."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import model_validator
from sse_starlette import EventSourceResponse

from cloister.api.body import Body
from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor, check_registry
from cloister.api.progress import TOLD, progress_response
from cloister.model.image import Image

router = APIRouter(prefix="/images", tags=["images"])

ImageName = Annotated[str, Query(description="The image's name, or a unique beginning of its digest.")]


class WantedImage(Body):
    """An image to build from its recipe, or to pull by its reference."""

    recipe: str | None = None
    reference: str | None = None
    """`registry/repository:tag`, or `...@sha256:...`."""

    @model_validator(mode="after")
    def _is_one(self) -> "WantedImage":
        if (self.recipe is None) == (self.reference is None):
            raise ValueError("give a recipe or a reference, and not both")
        return self


@router.get("")
async def find(intake: FrontDoor, _: Viewer) -> list[Image]:
    """Return the images on the server's machine, newest first."""
    return list(await intake.images.list())


@router.get("/one")
async def get(name: ImageName, intake: FrontDoor, _: Viewer) -> Image:
    """Return what an image holds."""
    return await intake.images.look_up(name)


@router.post("", response_class=EventSourceResponse, responses=TOLD)
async def make(body: WantedImage, request: Request, intake: FrontDoor, caller: Admin) -> EventSourceResponse:
    """Build an image from today's packages, or pull one, and tell how far it is. Its result is the image."""
    if body.recipe is not None:
        recipe = body.recipe
        await intake.stock.check_recipe(recipe)
        return progress_response(request, lambda report: intake.stock.build_image(recipe, report), Image)
    reference = body.reference or ""
    await check_registry(reference, intake, caller)
    return progress_response(request, lambda report: intake.stock.pull_image(reference, report), Image)


@router.delete("")
async def remove(name: ImageName, intake: FrontDoor, _: Admin) -> Image:
    """Remove an image, and return what it was. 409 while something stands on it."""
    return await intake.stock.remove_image(name)
