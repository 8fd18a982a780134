"""What is believed of a provider's words. Each refusal has its twin: the same login without what is wrong."""

import base64
import hmac
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from joserfc.jwk import OctKey, RSAKey

from cloister.errors import UnauthenticatedError, UnreachableError
from cloister.identity.oidc import SKEW_SECONDS, OidcClient, OidcProvider, is_safe_url
from cloister.model.token import Role
from cloister.model.user import ANYBODY, Identity, role_of

from .provider import CLIENT_ID, CLIENT_SECRET, Provider, running

pytestmark = pytest.mark.anyio

REDIRECT = "https://cloister.example/login/oidc/callback"


@pytest.fixture(scope="module")
def started() -> Iterator[Provider]:
    with running() as provider:
        yield provider


@pytest.fixture
def provider(started: Provider) -> Provider:
    """One that does nothing wrong yet."""
    fresh = Provider(issuer=started.issuer, key=started.key)
    started.__dict__.update(fresh.__dict__)
    return started


async def _log_in(provider: Provider, *, nonce: str = "n" * 43, verifier: str = "v" * 43, **client: Any) -> Identity:
    known = {"client_secret": CLIENT_SECRET, "role_claim": "groups", "name_claim": "preferred_username", **client}
    ours = OidcProvider(OidcClient(issuer=provider.issuer, client_id=CLIENT_ID, scopes=("openid",), **known))
    login = {"redirect_uri": REDIRECT, "nonce": "n" * 43, "verifier": "v" * 43}
    url = await ours.authorization_url(state="s" * 43, **login)
    async with httpx.AsyncClient() as http:
        back = (await http.get(url)).headers["Location"]
    (code,) = parse_qs(urlsplit(back).query)["code"]
    return await ours.identify(code=code, redirect_uri=REDIRECT, nonce=nonce, verifier=verifier)


async def test_somebody_is_who_the_provider_says(provider: Provider) -> None:
    known = await _log_in(provider)
    assert known == Identity(issuer=provider.issuer, subject="ann-1", name="ann", groups=("developers",))
    assert provider.exchanged[0]["code_verifier"] == "v" * 43, "PKCE (RFC 7636)"


NOW = int(time.time())
HOUR = 3600
WRONG_CLAIMS: dict[str, dict[str, Any]] = {
    "another issuer": {"iss": "https://evil.example"},
    "no issuer": {"iss": None},
    "an issuer with a slash more": {"iss": "/"},
    "another audience": {"aud": "other"},
    "no audience": {"aud": None},
    "many audiences and no party": {"aud": [CLIENT_ID, "other"]},
    "another party": {"aud": [CLIENT_ID, "other"], "azp": "other"},
    "another party alone": {"azp": "other"},
    "another nonce": {"nonce": "m" * 43},
    "no nonce": {"nonce": None},
    "expired": {"exp": NOW - SKEW_SECONDS - HOUR},
    "no end": {"exp": None},
    "an end that is no time": {"exp": "soon"},
    "made in the future": {"iat": NOW + SKEW_SECONDS + HOUR},
    "no time": {"iat": None},
    "not yet": {"nbf": NOW + SKEW_SECONDS + HOUR},
    "about nobody": {"sub": None},
    "about an empty one": {"sub": ""},
    "about a number": {"sub": 7},
}


@pytest.mark.parametrize("claims", WRONG_CLAIMS.values(), ids=WRONG_CLAIMS.keys())
async def test_words_that_are_not_for_us_now_are_not_believed(provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims = {name: provider.issuer + "/" if value == "/" else value for name, value in claims.items()}
    with pytest.raises(UnauthenticatedError):
        await _log_in(provider)
    provider.claims = {}
    await _log_in(provider)


RIGHT_CLAIMS: dict[str, dict[str, Any]] = {
    "a clock that is late": {"iat": NOW + SKEW_SECONDS // 2, "nbf": NOW + SKEW_SECONDS // 2},
    "many audiences, and we are the party": {"aud": [CLIENT_ID, "other"], "azp": CLIENT_ID},
    "a list of one": {"aud": [CLIENT_ID]},
}


@pytest.mark.parametrize("claims", RIGHT_CLAIMS.values(), ids=RIGHT_CLAIMS.keys())
async def test_words_that_are_for_us_are(provider: Provider, claims: dict[str, Any]) -> None:
    provider.claims = claims
    assert (await _log_in(provider)).subject == "ann-1"


def _another_key(provider: Provider) -> None:
    provider.signing_key = RSAKey.generate_key(2048, {"kid": "one"})


def _shared_secret(provider: Provider) -> None:
    provider.algorithm, provider.signing_key = "HS256", OctKey.import_key(CLIENT_SECRET.ljust(32, "x"))


def _public_key_as_secret(provider: Provider) -> None:
    told = {"iss": provider.issuer, "aud": CLIENT_ID, "sub": "ann-1", "iat": NOW, "exp": NOW + HOUR, "nonce": "n" * 43}
    parts = b".".join(_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "kid": "one"}, told))
    signature = hmac.digest(provider.key.as_pem(private=False), parts, "sha256")
    provider.token = (parts + b"." + _encoded(signature)).decode()


def _encoded(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def _no_signature(provider: Provider) -> None:
    # {"alg": "none"} . {"sub": "ann-1"} .
    provider.token = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbm4tMSJ9."


def _nonsense(provider: Provider) -> None:
    provider.token = "x.y"


def _nothing(provider: Provider) -> None:
    provider.token = " "


@pytest.mark.parametrize(
    "fault", [_another_key, _shared_secret, _public_key_as_secret, _no_signature, _nonsense, _nothing]
)
async def test_what_its_key_did_not_sign_is_not_believed(provider: Provider, fault: Callable[[Provider], None]) -> None:
    fault(provider)
    with pytest.raises(UnauthenticatedError):
        await _log_in(provider)


async def test_another_logins_secrets_are_worth_nothing(provider: Provider) -> None:
    with pytest.raises(UnauthenticatedError, match="invalid_grant"):
        await _log_in(provider, verifier="w" * 43)
    with pytest.raises(UnauthenticatedError):
        await _log_in(provider, nonce="m" * 43)
    with pytest.raises(UnauthenticatedError, match="invalid_client"):
        await _log_in(provider, client_secret="guessed")


async def test_who_we_are_is_said_where_the_provider_wants_it(provider: Provider) -> None:
    provider.discovery = {"token_endpoint_auth_methods_supported": ["client_secret_post"]}
    with pytest.raises(UnauthenticatedError, match="invalid_client"):
        await _log_in(provider)
    provider.takes_body = True
    assert (await _log_in(provider)).subject == "ann-1"


async def test_keys_that_were_changed_are_read_anew(provider: Provider) -> None:
    await _log_in(provider)
    provider.key = RSAKey.generate_key(2048, {"kid": "one"})
    await _log_in(provider)


@pytest.mark.parametrize(
    "discovery",
    [
        {"issuer": "https://evil.example"},
        {"token_endpoint": "http://id.example/token"},
        {"jwks_uri": None},
        {"authorization_endpoint": "javascript:alert(1)"},
    ],
)
async def test_a_provider_that_says_odd_things_of_itself_is_not_asked(
    provider: Provider, discovery: dict[str, Any]
) -> None:
    provider.discovery = discovery
    with pytest.raises(UnauthenticatedError):
        await _log_in(provider)


async def test_nobody_answers_at_its_address(provider: Provider) -> None:
    with pytest.raises(UnreachableError):
        await _log_in(Provider(issuer="http://127.0.0.1:1", key=provider.key))


@pytest.mark.parametrize(
    ("claim", "claims", "groups"),
    [
        ("groups", {"groups": "one"}, ("one",)),
        ("groups", {"groups": ["one", 2, None]}, ("one",)),
        ("groups", {"groups": {"one": 1}}, ()),
        ("groups", {"groups": None}, ()),
        ("realm_access.roles", {"realm_access": {"roles": ["one"]}}, ("one",)),
        ("https://example.com/roles", {"https://example.com/roles": ["one"]}, ("one",)),
    ],
)
async def test_groups_are_read_where_settings_say(
    provider: Provider, claim: str, claims: dict[str, Any], groups: tuple[str, ...]
) -> None:
    provider.claims = claims
    assert (await _log_in(provider, role_claim=claim)).groups == groups


async def test_what_is_not_in_the_token_is_asked_for_but_only_about_the_same_one(provider: Provider) -> None:
    provider.claims, provider.userinfo = {"groups": None}, {"sub": "ann-1", "groups": ["one"]}
    assert (await _log_in(provider)).groups == ("one",)
    provider.userinfo = {"sub": "bob-1", "groups": ["one"]}
    assert (await _log_in(provider)).groups == ()
    provider.claims, provider.userinfo = {}, {"sub": "ann-1", "groups": ["one"], "preferred_username": "eve"}
    assert (await _log_in(provider)).groups == ("developers",)


@pytest.mark.parametrize(
    ("url", "safe"),
    [
        ("https://id.example/x", True),
        ("http://localhost:1/x", True),
        ("http://[::1]/x", True),
        ("http://id.example/x", False),
        ("http://127.0.0.1.id.example/", False),
        ("https:///x", False),
        ("ftp://127.0.0.1/", False),
        (None, False),
    ],
)
def test_urls_that_nobody_reads_on_the_way(url: str | None, safe: bool) -> None:
    assert is_safe_url(url) is safe


@pytest.mark.parametrize(
    ("groups", "role"),
    [((), None), (("other",), None), (("m",), Role.MEMBER), (("m", "a"), Role.ADMIN), (("*",), None), (("A",), None)],
)
def test_roles_go_by_groups(groups: tuple[str, ...], role: Role | None) -> None:
    rules = {Role.ADMIN: ("a",), Role.MEMBER: ("m",)}
    assert role_of(groups, rules) == role
    everybody = rules | {Role.VIEWER: (ANYBODY,)}
    assert role_of(groups, everybody) == (role or Role.VIEWER)
