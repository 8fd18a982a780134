"""Word of tasks to people: on each device and to each address that they chose, of what they chose."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from importlib.metadata import version
from urllib.parse import urlsplit

import anyio
import structlog
from anyio.abc import TaskGroup
from standardwebhooks import Webhook as Signer
from tenacity import RetryCallState
from tenacity.wait import wait_exponential_jitter

from cloister.automation.push import KEPT_SECONDS, PushKey, Subscription, check_subscription, encrypt
from cloister.errors import CloisterError, NotFoundError, UsageError
from cloister.intake import Intake
from cloister.model.choice import turn_of
from cloister.model.notification import (
    LONGEST_LABEL,
    PLACE,
    DueNotice,
    Notice,
    Occasion,
    Receiver,
    ReceiverKind,
    new_receiver_id,
    notice_of,
    occasions_of,
)
from cloister.model.token import TokenId
from cloister.model.user import UserId
from cloister.model.webhook import new_webhook_secret
from cloister.neutral_text import neutralize
from cloister.protocols import ReceiverStore, Vault, WebhookSender
from cloister.tokens import Tokens
from cloister.users import Users

MOST_TRIES = 5
"""Over about two hours, see `_pause`."""
MOST_AT_ONCE = 16
LOOK_SECONDS = 1.0
CLAIM_SECONDS = 60.0
"""After so long, what nobody finished is another's: its sender was killed."""
OLDEST = timedelta(days=1)
"""What could not be told by then is no news any more."""
MOST_OF_ONE = 20
"""Receivers of one holder."""
MOST_RECEIVERS = 2000
_GONE = frozenset({404, 410})
_TOO_MANY = 429
"""RFC 8030, 7.3: the subscription is no more."""
_pause = wait_exponential_jitter(multiplier=30, exp_base=4, max=3600, jitter=10)
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What came of one trial."""

    taken: bool
    gone: bool = False
    """Whether nobody is there any more, for good."""
    error: str = ""


@dataclass(slots=True, kw_only=True)
class Notifications:
    """The part of the front door that tells people of tasks."""

    store: ReceiverStore
    vault: Vault
    sender: WebhookSender
    intake: Intake
    tokens: Tokens
    users: Users
    now: Callable[[], datetime]
    """Aware, UTC."""
    public_url: str | None = None
    """Where push services and receivers find this installation."""
    key: PushKey = field(init=False)
    _under_way: set[int] = field(default_factory=set, init=False)

    def __post_init__(self) -> None:
        self.key = PushKey(self.vault)

    async def add_device(
        self,
        subscription: Subscription,
        label: str,
        occasions: Sequence[Occasion],
        *,
        everybody: bool,
        holder: str,
        replaces: str = "",
    ) -> Receiver:
        """Keep a device, in place of what was known of it, or at an address of theirs that it had before.

        What was chosen for that one stays. UsageError; DeniedError for where nobody may be sent.
        """
        check_subscription(subscription)
        await self.sender.check(subscription.endpoint)
        former = next((it for it in await self.store.list(holder) if replaces and it.digest == _digest(replaces)), None)
        if former is not None:
            label, occasions, everybody = former.label, former.occasions, former.everybody
            await self._forget(former)
        receiver = await self._new(
            ReceiverKind.DEVICE, label, subscription.endpoint, occasions, everybody=everybody, holder=holder
        )
        await self._keep(receiver, asdict(subscription))
        return receiver

    async def add_webhook(
        self, url: str, occasions: Sequence[Occasion], *, everybody: bool, holder: str
    ) -> tuple[Receiver, str]:
        """Keep an address, and return it with what its messages are signed with. Errors as above."""
        await self.sender.check(url)
        label = urlsplit(url).hostname or ""
        receiver = await self._new(
            ReceiverKind.WEBHOOK, label, f"{holder} {url}", occasions, everybody=everybody, holder=holder
        )
        secret = new_webhook_secret()
        await self._keep(receiver, {"url": url, "secret": secret})
        return receiver, secret

    async def list(self, holder: str) -> Sequence[Receiver]:
        """Those of one holder, oldest first."""
        return await self.store.list(holder)

    async def get(self, receiver: str, holder: str) -> Receiver:
        """One of theirs. NotFoundError for everybody else's."""
        found = next((it for it in await self.store.list(holder) if it.id == receiver), None)
        if found is None:
            raise NotFoundError(f"you have no receiver {receiver!r}", hint="see the page Notifications")
        return found

    async def choose(self, receiver: str, occasions: Sequence[Occasion], *, everybody: bool, holder: str) -> Receiver:
        """Change what one of theirs is told. NotFoundError."""
        changed = replace(await self.get(receiver, holder), occasions=_ordered(occasions), everybody=everybody)
        await self.store.change(changed)
        return changed

    async def remove(self, receiver: str, holder: str) -> Receiver:
        """Tell one of theirs nothing any more. NotFoundError."""
        found = await self.get(receiver, holder)
        await self._forget(found)
        return found

    async def test(self, receiver: str, holder: str) -> Sent:
        """Tell one of theirs that this is a test, at once, and return what came of it. NotFoundError."""
        found = await self.get(receiver, holder)
        notice = Notice(occasion=None, title="Cloister can reach you here", body="This is a test.", path="/")
        sent = await self._send(found, notice, f"test_{found.id}")
        if sent.gone:
            await self._forget(found)
        else:
            at = self.now() if sent.taken else found.sent_at
            await self.store.change(replace(found, sent_at=at, error=sent.error))
        return sent

    async def run(self) -> None:
        """Tell what is due, until cancelled. Nothing that fails ends it."""
        async with anyio.create_task_group() as group:
            while True:
                try:
                    await self.tell_due(group)
                except CloisterError as error:
                    _log.error("notices could not be looked at", error=str(error))
                await anyio.sleep(LOOK_SECONDS)

    async def tell_due(self, group: TaskGroup) -> None:
        """Start to tell what is due, as much as may be at once."""
        now = self.now()
        for due in await self.store.due(now, limit=MOST_AT_ONCE * 4):
            if len(self._under_way) >= MOST_AT_ONCE:
                return
            if due.id in self._under_way:
                continue
            if await self.store.claim(due, now + timedelta(seconds=CLAIM_SECONDS)):
                self._under_way.add(due.id)
                group.start_soon(self._tell, replace(due, tries=due.tries + 1))

    async def _tell(self, due: DueNotice) -> None:
        try:
            notice = await self._notice(due)
            if notice is None:
                await self.store.drop(due)
                return
            sent = await self._send(due.receiver, notice, f"notice_{due.id}")
            if sent.gone:
                await self._forget(due.receiver)
                return
            again = None if sent.taken else _next(due, self.now())
            await self.store.put_off(due, again, at=self.now(), error=sent.error)
        except CloisterError as error:  # it is tried again once the claim is over
            _log.error("a notice could not be told", receiver=due.receiver.id, error=str(error))
        finally:
            self._under_way.discard(due.id)

    async def _notice(self, due: DueNotice) -> Notice | None:
        """Return what its receiver wants to know of it; None for nothing."""
        name = await self._name_of(due.receiver.holder)
        if name is None:  # who is let in no more is told nothing more
            await self._forget(due.receiver)
            return None
        if self.now() - due.created_at > OLDEST or due.tries > MOST_TRIES:
            return None
        try:
            status = await self.intake.task(due.task)
            turn = turn_of(status, due.turn)
        except NotFoundError:  # it was forgotten meanwhile
            return None
        if not due.receiver.everybody and status.task.asked_by != name:
            return None
        occasion = next((each for each in occasions_of(turn) if each in due.receiver.occasions), None)
        return None if occasion is None else notice_of(status, turn, occasion)

    async def _name_of(self, holder: str) -> str | None:
        """Return what its tasks are asked by; None when it lets nobody in any more."""
        means, _, id = holder.partition(" ")
        match means:
            case "token":
                token = await self.tokens.store.get(TokenId(id))
                return token.name if token is not None and token.is_valid(self.now()) else None
            case "user":
                user = await self.users.store.get(UserId(id))
                return user.name if user is not None and user.disabled_at is None else None
            case _:
                return holder

    async def _send(self, receiver: Receiver, notice: Notice, id: str) -> Sent:
        """Try once."""
        kept = await self.vault.find(PLACE, receiver.secret_name)
        if kept is None:
            return Sent(taken=False, gone=True, error="its address was forgotten")
        target: dict[str, str] = json.loads(kept.reveal())
        try:
            if receiver.kind is ReceiverKind.DEVICE:
                status = await self._push(Subscription(**target), notice)
            else:
                status = await self._post(target["url"], target["secret"], notice, id)
        except CloisterError as error:
            return Sent(taken=False, error=str(error))
        if 200 <= status < 300:
            return Sent(taken=True)
        said = f"status {status}, too many at once" if status == _TOO_MANY else f"status {status}"
        said = "a redirect, which is not followed" if 300 <= status < 400 else said
        return Sent(taken=False, gone=status in _GONE, error=said)

    async def _push(self, subscription: Subscription, notice: Notice) -> int:
        check_subscription(subscription)
        body = encrypt(subscription, {"title": _plain(notice.title), "body": _plain(notice.body), "path": notice.path})
        headers = {
            "Authorization": await self.key.authorize(subscription.endpoint, self.now(), self._contact()),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(KEPT_SECONDS),
            "Urgency": "normal",
            "Topic": sha256(notice.path.encode()).hexdigest()[
                :32
            ],  # of one task, a device that was off gets the newest
        }
        return await self.sender.send(subscription.endpoint, headers, body)

    async def _post(self, url: str, secret: str, notice: Notice, id: str) -> int:
        now = self.now()
        link = f"{self.public_url}{notice.path}" if self.public_url else None
        data = {
            "occasion": notice.occasion,
            "title": notice.title,
            "body": notice.body,
            "path": notice.path,
            "url": link,
        }
        body = json.dumps({"type": "notification", "timestamp": now.isoformat(), "data": data}, separators=(",", ":"))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"Cloister/{version('cloister')}",
            "webhook-id": id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": Signer(secret).sign(id, now, body),
        }
        return await self.sender.send(url, headers, body.encode())

    def _contact(self) -> str:
        """Return where a push service finds who sends (RFC 8292, 2.1)."""
        is_public = self.public_url is not None and self.public_url.startswith("https://")
        return self.public_url if is_public and self.public_url else "mailto:operator@localhost"

    async def _new(
        self,
        kind: ReceiverKind,
        label: str,
        address: str,
        occasions: Sequence[Occasion],
        *,
        everybody: bool,
        holder: str,
    ) -> Receiver:
        known, digest = await self.store.list(), _digest(address)
        others = [it for it in known if it.digest != digest]
        if len(others) >= MOST_RECEIVERS or sum(it.holder == holder for it in others) >= MOST_OF_ONE:
            raise UsageError("there are too many receivers already", hint="remove one")
        return Receiver(
            id=new_receiver_id(),
            holder=holder,
            kind=kind,
            label=_plain(label)[:LONGEST_LABEL] or "a device",
            digest=digest,
            occasions=_ordered(occasions),
            everybody=everybody,
            created_at=self.now(),
        )

    async def _keep(self, receiver: Receiver, target: Mapping[str, str]) -> None:
        await self.vault.set(PLACE, receiver.secret_name, json.dumps(target))
        former = await self.store.add(receiver)
        if former is not None:
            await self._forget_address(replace(receiver, id=former))

    async def _forget(self, receiver: Receiver) -> None:
        await self.store.remove(receiver.id)
        await self._forget_address(receiver)

    async def _forget_address(self, receiver: Receiver) -> None:
        try:
            await self.vault.remove(PLACE, receiver.secret_name)
        except NotFoundError:
            return


def _digest(address: str) -> str:
    return sha256(address.encode(errors="surrogatepass")).hexdigest()


def _ordered(occasions: Sequence[Occasion]) -> tuple[Occasion, ...]:
    return tuple(each for each in Occasion if each in occasions)


def _plain(text: str) -> str:
    """Return one line without what controls a terminal or turns text around."""
    return " ".join(neutralize(text).split())


def _next(due: DueNotice, now: datetime) -> datetime | None:
    """Return when it is tried again; None after the last trial."""
    if due.tries >= MOST_TRIES:
        return None
    state = RetryCallState(None, None, (), {})  # type: ignore[arg-type]  # of a loop that outlives this process
    state.attempt_number = due.tries
    return now + timedelta(seconds=_pause(state))
