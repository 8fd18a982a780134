"""What a person is told of, and where: their devices, and addresses of their own."""

from typing import Annotated

from fastapi import APIRouter, Form, Request
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from cloister.api.caller import Member, Viewer
from cloister.api.front import KnownAutomation
from cloister.api.notifications import Holder
from cloister.automation import Automation
from cloister.errors import CloisterError
from cloister.model.notification import Occasion, Receiver
from cloister.web.page import PageRoute, render_form

_WORDS = {
    Occasion.FINISHED: "a task is over",
    Occasion.CHECK_FAILED: "a check failed",
    Occasion.ASKS: "the answer asks something",
}

router = APIRouter(
    prefix="/notifications",
    tags=["notifications"],
    route_class=PageRoute,
    include_in_schema=False,
    default_response_class=HTMLResponse,
)

Id = Annotated[str, Form()]
Occasions = Annotated[list[Occasion], Form()]
Whose = Annotated[bool, Form()]


@router.get("")
async def show(request: Request, automation: KnownAutomation, _: Viewer, holder: Holder) -> Response:
    """Show the caller's receivers, and how to add this device."""
    return await _page(request, automation, holder)


@router.post("/webhooks", name="add_webhook")
async def add_webhook(
    request: Request,
    automation: KnownAutomation,
    _: Member,
    holder: Holder,
    url: Annotated[str, Form()],
    occasions: Occasions = [],  # noqa: B006  # nobody changes it
    everybody: Whose = False,
) -> Response:
    """Post word of tasks to an address, and show this once what it is signed with."""
    try:
        made, secret = await automation.notifications.add_webhook(
            url.strip(), occasions, everybody=everybody, holder=holder
        )
    except CloisterError as error:
        return await _page(request, automation, holder, url=url, error=error)
    return await _page(request, automation, holder, made=made, secret=secret)


@router.post("/choose", name="choose")
async def choose(
    automation: KnownAutomation,
    _: Viewer,
    holder: Holder,
    receiver: Id,
    occasions: Occasions = [],  # noqa: B006
    everybody: Whose = False,
) -> Response:
    """Change what one of the caller's receivers is told."""
    await automation.notifications.choose(receiver, occasions, everybody=everybody, holder=holder)
    return RedirectResponse("/notifications", 303)


@router.post("/remove", name="remove")
async def remove(automation: KnownAutomation, _: Viewer, holder: Holder, receiver: Id) -> Response:
    """Tell one of the caller's receivers nothing any more."""
    await automation.notifications.remove(receiver, holder)
    return RedirectResponse("/notifications", 303)


@router.post("/test", name="test")
async def test(request: Request, automation: KnownAutomation, _: Viewer, holder: Holder, receiver: Id) -> Response:
    """Tell one of the caller's receivers that this is a test, and show what came of it."""
    label = (await automation.notifications.get(receiver, holder)).label
    sent = await automation.notifications.test(receiver, holder)
    if sent.taken:
        said = f"The test was taken for {label}."
    elif sent.gone:
        said = f"Nobody is at {label} any more; it was forgotten."
    else:
        said = f"The test was not taken for {label}: {sent.error}"
    return await _page(request, automation, holder, said=said, well=sent.taken)


async def _page(
    request: Request,
    automation: Automation,
    holder: str,
    *,
    url: str = "",
    made: Receiver | None = None,
    secret: str = "",
    said: str = "",
    well: bool = True,
    error: CloisterError | None = None,
) -> Response:
    return render_form(
        request,
        "notifications.html",
        error,
        receivers=await automation.notifications.list(holder),
        occasions=[(each, _WORDS[each]) for each in (Occasion.FINISHED, Occasion.CHECK_FAILED, Occasion.ASKS)],
        url=url,
        made=made,
        secret=secret,
        said=said,
        well=well,
    )
