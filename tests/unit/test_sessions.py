from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.errors import DeniedError, NotFoundError, UnauthenticatedError
from cloister.model.session import SessionId
from cloister.model.token import PREFIX, Role
from cloister.model.user import Identity, UserId
from cloister.sessions import Sessions
from cloister.stores.database import Database
from cloister.stores.sessions import SqlSessionStore
from cloister.stores.tokens import SqlTokenStore
from cloister.stores.users import SqlUserStore
from cloister.tokens import Tokens
from cloister.users import Users

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Clock:
    """A time that tests set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def sessions(database: Database, clock: Clock) -> Sessions:
    tokens = Tokens(store=SqlTokenStore(database), now=clock)
    store = SqlSessionStore(database)
    users = Users(store=SqlUserStore(database), rules={Role.MEMBER: ["m"], Role.ADMIN: ["a"]}, now=clock)
    times = {"lifetime": timedelta(days=7), "idle": timedelta(hours=12)}
    return Sessions(store=store, tokens=tokens, users=users, **times, now=clock)


async def _refused(sessions: Sessions, text: str) -> bool:
    try:
        await sessions.authenticate(text)
    except UnauthenticatedError:
        return True
    return False


async def test_neither_a_token_is_a_session_nor_a_session_a_token(sessions: Sessions) -> None:
    _, token = await sessions.tokens.create("ann", Role.ADMIN)
    _, text = await sessions.log_in(token, "192.0.2.1")
    assert await _refused(sessions, token)
    with pytest.raises(UnauthenticatedError):
        await sessions.tokens.authenticate(text)
    with pytest.raises(UnauthenticatedError):
        await sessions.log_in(text, "192.0.2.1")
    assert not await _refused(sessions, text), "what was refused is good for what it is"


@pytest.mark.parametrize("text", ["", "cls_", PREFIX, "cls_x", "\udcff", "cls_\udcff", "x" * 100_000])
async def test_what_was_never_begun_lets_nobody_in(sessions: Sessions, text: str) -> None:
    _, token = await sessions.tokens.create("ann", Role.ADMIN)
    await sessions.log_in(token, "")
    assert await _refused(sessions, text)


async def test_a_session_is_known_by_nothing_that_is_kept(sessions: Sessions, tmp_path: Path) -> None:
    _, token = await sessions.tokens.create("ann", Role.MEMBER)
    session, text = await sessions.log_in(token, "192.0.2.1")
    known = await sessions.authenticate(text)
    assert (known.session, known.name, known.role) == (session, "ann", Role.MEMBER)
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert session.id.encode() in kept  # the probe sees what is kept
    assert text.removeprefix("cls_").encode() not in kept


async def _revoke(sessions: Sessions, clock: Clock) -> None:
    await sessions.tokens.revoke((await sessions.tokens.list())[0].id)


async def _expire(sessions: Sessions, clock: Clock) -> None:
    clock.now += timedelta(hours=2)


async def _idle(sessions: Sessions, clock: Clock) -> None:
    clock.now += timedelta(hours=12)


async def _end(sessions: Sessions, clock: Clock) -> None:
    await sessions.end((await sessions.list())[0].id)


@pytest.mark.parametrize("event", [_revoke, _expire, _idle, _end])
async def test_a_session_is_over_with_its_token_or_when_nobody_uses_it(
    sessions: Sessions, clock: Clock, event: Callable[[Sessions, Clock], object]
) -> None:
    lifetime = 7200 if event is _expire else None
    _, token = await sessions.tokens.create("ann", Role.MEMBER, lifetime_seconds=lifetime)
    _, text = await sessions.log_in(token, "")
    assert not await _refused(sessions, text)
    await event(sessions, clock)  # type: ignore[misc]
    assert await _refused(sessions, text)
    assert await sessions.list() == []


async def test_use_keeps_a_session_but_not_beyond_its_lifetime(sessions: Sessions, clock: Clock) -> None:
    _, token = await sessions.tokens.create("ann", Role.MEMBER)
    _, text = await sessions.log_in(token, "")
    for _ in range(13):
        clock.now += timedelta(hours=11)
        assert await _refused(sessions, text) == (clock.now >= NOON + timedelta(days=7))
    clock.now = NOON + timedelta(days=7)
    assert await _refused(sessions, text)
    await sessions.log_in(token, "")
    assert len(await sessions.store.list()) == 1, "what is over is forgotten"


async def test_one_that_is_not_there_cannot_be_ended(sessions: Sessions) -> None:
    with pytest.raises(NotFoundError):
        await sessions.end(SessionId("none"))


def _identity(*groups: str, subject: str = "1", name: str = "ann") -> Identity:
    return Identity(issuer="https://id.example", subject=subject, name=name, groups=groups)


async def test_who_has_no_group_of_ours_is_nobody_here(sessions: Sessions) -> None:
    with pytest.raises(DeniedError, match="no role"):
        await sessions.users.admit(_identity("other"))
    assert await sessions.users.list() == []


async def test_a_user_has_the_role_of_their_last_login_in_all_sessions(sessions: Sessions, clock: Clock) -> None:
    user = await sessions.users.admit(_identity("a", "m"))
    _, text = await sessions.log_in_user(user, "192.0.2.1")
    known = await sessions.authenticate(text)
    assert (known.name, known.role, known.session.user) == ("ann", Role.ADMIN, user.id)
    again = await sessions.users.admit(_identity("m", name="Ann\x1b[31m"))
    assert (again.id, again.role, again.name) == (user.id, Role.MEMBER, "Ann?[31m")
    assert (await sessions.authenticate(text)).role == Role.MEMBER
    other = await sessions.users.admit(_identity("a", subject="2"))
    assert other.id != user.id, "a name is nobody's"
    assert [one.id for one in await sessions.users.list()] == [again.id, other.id]


async def test_a_disabled_users_sessions_are_over_at_once(sessions: Sessions) -> None:
    user = await sessions.users.admit(_identity("m"))
    _, text = await sessions.log_in_user(user, "")
    assert len(await sessions.list()) == 1
    await sessions.users.set_disabled(user.id, disabled=True)
    assert await _refused(sessions, text)
    assert await sessions.list() == []
    with pytest.raises(DeniedError, match="disabled"):
        await sessions.users.admit(_identity("a"))
    await sessions.users.set_disabled(user.id, disabled=False)
    assert not await _refused(sessions, text), "nobody had taken it back"
    with pytest.raises(NotFoundError):
        await sessions.users.set_disabled(UserId("none"), disabled=True)
