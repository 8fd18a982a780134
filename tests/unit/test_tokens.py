from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cloister.errors import NotFoundError, UnauthenticatedError, UsageError
from cloister.model.token import PREFIX, Role
from cloister.stores.database import Database
from cloister.stores.tokens import SqlTokenStore
from cloister.tokens import Tokens

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
def tokens(database: Database, clock: Clock) -> Tokens:
    return Tokens(store=SqlTokenStore(database), now=clock)


@pytest.mark.parametrize("text", ["", "x", PREFIX, PREFIX + "x", "\udcff", PREFIX + "\udcff", "a" * 100_000])
async def test_what_was_never_made_lets_nobody_in(tokens: Tokens, text: str) -> None:
    await tokens.create("ci", Role.ADMIN)
    with pytest.raises(UnauthenticatedError):
        await tokens.authenticate(text)


@pytest.mark.parametrize("name", ["", "a\nb", "\x1b[31m", "a" * 101])
async def test_a_name_that_cannot_be_one_makes_no_token(tokens: Tokens, name: str) -> None:
    with pytest.raises(UsageError):
        await tokens.create(name, Role.VIEWER)
    assert await tokens.list() == []


async def test_a_token_is_known_by_its_text_and_by_nothing_that_is_kept(tokens: Tokens, tmp_path: Path) -> None:
    made, text = await tokens.create("ci", Role.MEMBER)
    assert (await tokens.authenticate(text)).id == made.id
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert made.id.encode() in kept  # the probe sees what is kept
    assert text.encode() not in kept
    assert text.removeprefix(PREFIX).encode() not in kept


async def test_an_expired_token_lets_nobody_in(tokens: Tokens, clock: Clock) -> None:
    _, text = await tokens.create("ci", Role.MEMBER, lifetime_seconds=60)
    clock.now += timedelta(seconds=59)
    await tokens.authenticate(text)
    clock.now += timedelta(seconds=1)
    with pytest.raises(UnauthenticatedError):
        await tokens.authenticate(text)


async def test_a_revoked_token_lets_nobody_in_and_others_stay(tokens: Tokens, clock: Clock) -> None:
    made, text = await tokens.create("ci", Role.MEMBER)
    _, other = await tokens.create("laptop", Role.MEMBER)
    assert (await tokens.revoke(made.id)).revoked_at == NOON
    clock.now += timedelta(hours=1)
    assert (await tokens.revoke(made.id)).revoked_at == NOON
    with pytest.raises(UnauthenticatedError):
        await tokens.authenticate(text)
    await tokens.authenticate(other)
    with pytest.raises(NotFoundError):
        await tokens.revoke("none")


async def test_when_a_token_was_used_is_known_to_the_minute(tokens: Tokens, clock: Clock) -> None:
    _, text = await tokens.create("ci", Role.MEMBER)
    for seconds in (0, 59, 60):
        clock.now = NOON + timedelta(seconds=seconds)
        await tokens.authenticate(text)
        (kept,) = await tokens.list()
        assert kept.last_used_at == NOON + timedelta(seconds=60 if seconds == 60 else 0)


@pytest.mark.parametrize(
    ("role", "may"), [(Role.VIEWER, {Role.VIEWER}), (Role.MEMBER, {Role.VIEWER, Role.MEMBER}), (Role.ADMIN, set(Role))]
)
def test_a_role_includes_those_before_it(role: Role, may: set[Role]) -> None:
    assert {other for other in Role if role.includes(other)} == may
