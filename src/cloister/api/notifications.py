"""Notifications: word of tasks to the caller, on their devices and at addresses of their own."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, status
from pydantic import BaseModel, ConfigDict, Field

from cloister.access import Access
from cloister.api.body import Body
from cloister.api.caller import Caller, Member, Viewer
from cloister.api.front import KnownAutomation
from cloister.api.wire import NewNotificationWebhook, ReceiverShape, receiver_to_shape
from cloister.automation.push import Subscription
from cloister.errors import UnauthenticatedError
from cloister.model.notification import Occasion

router = APIRouter(prefix="/notifications", tags=["notifications"])


async def _holder(request: Request) -> str:
    """Return whose receivers the caller's are: the same for each of their browsers."""
    access: Access = request.app.state.access
    caller: Caller = request.state.caller
    holder = await access.holder_of(caller.by)
    if holder is None:
        raise UnauthenticatedError("this session is over", hint="log in again")
    return holder


Holder = Annotated[str, Depends(_holder)]


class ChoiceBody(Body):
    """What is told."""

    occasions: list[Occasion] = Field(default_factory=lambda: list(Occasion))
    everybody: bool = False
    """Whether of everybody's tasks; else of the caller's own alone."""


class DeviceBody(ChoiceBody):
    """A device, as its browser subscribed it (Push API)."""

    endpoint: str = Field(max_length=2048, examples=["https://push.example/send/1"])
    p256dh: str = Field(max_length=200)
    auth: str = Field(max_length=100)
    label: str = Field(default="", max_length=200, examples=["Chrome on Android"])
    replaces: str = Field(default="", max_length=2048)
    """Endpoint that this one takes the place of, when a browser changes it: what was chosen for that stays."""


class AddressBody(ChoiceBody):
    """An address that messages are posted to."""

    url: str = Field(examples=["https://hooks.example/me"])


class PushKeyShape(BaseModel):
    """What browsers subscribe with."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    key: str
    """`applicationServerKey`, in base64url."""


class Trial(BaseModel):
    """What came of a test."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    taken: bool
    error: str
    removed: bool
    """Whether nobody is there any more, so that it was forgotten."""


@router.get("")
async def find(automation: KnownAutomation, _: Viewer, holder: Holder) -> list[ReceiverShape]:
    """Return the caller's receivers, oldest first."""
    return [receiver_to_shape(one) for one in await automation.notifications.list(holder)]


@router.get("/key")
async def key(automation: KnownAutomation, _: Viewer) -> PushKeyShape:
    """Return what browsers subscribe with."""
    return PushKeyShape(key=await automation.notifications.key.public())


@router.post("/devices", status_code=status.HTTP_201_CREATED)
async def add_device(body: DeviceBody, automation: KnownAutomation, _: Viewer, holder: Holder) -> ReceiverShape:
    """Tell a device of tasks from now on. One that is known already is the caller's from then on."""
    subscription = Subscription(endpoint=body.endpoint, p256dh=body.p256dh, auth=body.auth)
    made = await automation.notifications.add_device(
        subscription,
        body.label,
        body.occasions,
        everybody=body.everybody,
        holder=holder,
        replaces=body.replaces,
    )
    return receiver_to_shape(made)


@router.post("/webhooks", status_code=status.HTTP_201_CREATED)
async def add_webhook(
    body: AddressBody, automation: KnownAutomation, _: Member, holder: Holder
) -> NewNotificationWebhook:
    """Post word of tasks to an address from now on, signed."""
    made, secret = await automation.notifications.add_webhook(
        body.url, body.occasions, everybody=body.everybody, holder=holder
    )
    return NewNotificationWebhook(secret=secret, about=receiver_to_shape(made))


@router.patch("/receivers/{receiver}")
async def choose(
    receiver: str, body: ChoiceBody, automation: KnownAutomation, _: Viewer, holder: Holder
) -> ReceiverShape:
    """Change what one of the caller's receivers is told."""
    chosen = await automation.notifications.choose(receiver, body.occasions, everybody=body.everybody, holder=holder)
    return receiver_to_shape(chosen)


@router.delete("/receivers/{receiver}")
async def remove(receiver: str, automation: KnownAutomation, _: Viewer, holder: Holder) -> ReceiverShape:
    """Tell one of the caller's receivers nothing any more."""
    return receiver_to_shape(await automation.notifications.remove(receiver, holder))


@router.post("/receivers/{receiver}/test")
async def test(receiver: str, automation: KnownAutomation, _: Viewer, holder: Holder) -> Trial:
    """Tell one of the caller's receivers at once that this is a test, and say what came of it."""
    sent = await automation.notifications.test(receiver, holder)
    return Trial(taken=sent.taken, error=sent.error, removed=sent.gone)
