"""What sandboxes are made from and by: images, agents and workers."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Admin, Viewer
from cloister.api.front import FrontDoor, check_registry
from cloister.errors import NotFoundError
from cloister.intake import Intake
from cloister.model.task import CHECK, AttemptId, task_of
from cloister.model.worker import Worker
from cloister.web.page import PageRoute, heading, render
from cloister.web.progress_page import ProgressPage, Report

MOST_TITLES = 200
"""Attempts whose tasks are looked up; those beyond are named by their ids."""


def _router(tag: str) -> APIRouter:
    return APIRouter(
        prefix=f"/{tag}",
        tags=[tag],
        route_class=PageRoute,
        include_in_schema=False,
        default_response_class=HTMLResponse,
    )


images, agents, workers = _router("images"), _router("agents"), _router("workers")


@images.get("")
async def show_images(request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Show the images on the server's machine."""
    return render(request, "images.html", images=await intake.images.list(), recipes=await intake.stock.images.names())


@images.post("/build", name="make")
async def build(request: Request, intake: FrontDoor, _: Admin, recipe: Annotated[str, Form()]) -> Response:
    """Build an image from its recipe, and tell how far it is."""
    await intake.stock.check_recipe(recipe)

    async def work(report: Report) -> str:
        image = await intake.stock.build_image(recipe, report)
        return f"{image.name} is built: {image.digest}"

    return ProgressPage(request, title=f"Building the image {recipe}", back="/images", work=work)


@images.post("/pull", name="make")
async def pull(request: Request, intake: FrontDoor, caller: Admin, reference: Annotated[str, Form()]) -> Response:
    """Pull an image from its registry, and tell how far it is."""
    wanted = reference.strip()
    await check_registry(wanted, intake, caller)

    async def work(report: Report) -> str:
        image = await intake.stock.pull_image(wanted, report)
        return f"{image.name} is here: {image.digest}"

    return ProgressPage(request, title=f"Pulling {wanted}", back="/images", work=work)


@images.post("/remove", name="remove")
async def remove_image(intake: FrontDoor, _: Admin, name: Annotated[str, Form()]) -> Response:
    """Remove an image on which nothing stands."""
    await intake.stock.remove_image(name)
    return RedirectResponse("/images", 303)


@agents.get("")
async def show_agents(request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Show the agents, and what of them is installed."""
    return render(
        request, "agents.html", agents=[one for one in await intake.stock.list_agents() if one.agent != CHECK]
    )


@agents.post("/install", name="install")
async def install(request: Request, intake: FrontDoor, _: Admin, name: Annotated[str, Form()]) -> Response:
    """Install an agent's packages, and tell how far it is."""
    intake.stock.recipe_of(name)

    async def work(report: Report) -> str:
        agent = await intake.stock.install_agent(name, report)
        return f"{agent.agent} {agent.installed or ''} is installed"

    return ProgressPage(request, title=f"Installing the agent {name}", back="/agents", work=work)


@agents.post("/remove", name="remove")
async def remove_agent(intake: FrontDoor, _: Admin, name: Annotated[str, Form()]) -> Response:
    """Remove an installed agent."""
    await intake.stock.remove_agent(name)
    return RedirectResponse("/agents", 303)


@workers.get("")
async def show_workers(request: Request, intake: FrontDoor, _: Viewer) -> Response:
    """Show who carries out what now."""
    found = await intake.queue.workers()
    settings = request.app.state.settings
    return render(
        request,
        "workers.html",
        workers=found,
        running=sum(len(worker.attempts) for worker in found),
        slots=settings.slots if settings else None,
        titles=await _titles(intake, found),
    )


async def _titles(intake: Intake, found: Sequence[Worker]) -> Mapping[AttemptId, str]:
    titles: dict[AttemptId, str] = {}
    for worker in found:
        for attempt in worker.attempts:
            if len(titles) < MOST_TITLES:
                titles[attempt] = await _title(intake, attempt)
    return titles


async def _title(intake: Intake, attempt: AttemptId) -> str:
    try:
        return heading((await intake.task(task_of(attempt))).last_turn.prompt)
    except NotFoundError:  # it was forgotten meanwhile
        return attempt
