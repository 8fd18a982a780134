"""A provider of OpenID Connect that is told what to do wrong. It checks what is asked of it as a strict one does."""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey

CLIENT_ID, CLIENT_SECRET = "cloister", "s3cret"


@dataclass
class Provider:
    """What it says. The fields are for tests to change."""

    issuer: str = ""
    key: RSAKey = field(default_factory=lambda: RSAKey.generate_key(2048, {"kid": "one"}))
    signing_key: RSAKey | OctKey | None = None
    """In place of the one that it publishes."""
    algorithm: str = "RS256"
    claims: dict[str, Any] = field(default_factory=dict)
    """Over those that are right; None takes one away."""
    token: str | None = None
    """In place of one that is made and signed."""
    userinfo: dict[str, Any] | None = None
    takes_body: bool = False
    """Whether a client may say who it is in the body of its request."""
    discovery: dict[str, Any] = field(default_factory=dict)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)
    """By code: what the browser came with."""
    exchanged: list[dict[str, str]] = field(default_factory=list)

    def about(self) -> Mapping[str, Any]:
        found = {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            **({"userinfo_endpoint": f"{self.issuer}/userinfo"} if self.userinfo is not None else {}),
        }
        return found | self.discovery

    def authorize(self, query: Mapping[str, str]) -> str:
        assert query["response_type"] == "code" and query["client_id"] == CLIENT_ID
        assert query["code_challenge_method"] == "S256"
        code = secrets.token_urlsafe(8)
        self.asked[code] = dict(query)
        return f"{query['redirect_uri']}?{urlencode({'code': code, 'state': query['state']})}"

    def exchange(self, form: Mapping[str, str], authorization: str) -> tuple[int, Mapping[str, Any]]:
        self.exchanged.append(dict(form))
        asked = self.asked.pop(form["code"], None)  # a code is good for once
        proof = base64.urlsafe_b64encode(hashlib.sha256(form["code_verifier"].encode()).digest()).decode().rstrip("=")
        known = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if asked is None or proof != asked["code_challenge"] or form["redirect_uri"] != asked["redirect_uri"]:
            return 400, {"error": "invalid_grant"}
        named = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        if authorization != known and not (self.takes_body and named):
            return 401, {"error": "invalid_client"}
        return 200, {"access_token": "access", "token_type": "Bearer", "id_token": self.token or self._sign(asked)}

    def _sign(self, asked: Mapping[str, str]) -> str:
        now = int(time.time())
        right = {"iss": self.issuer, "aud": CLIENT_ID, "sub": "ann-1", "iat": now, "exp": now + 300}
        named = {"nonce": asked["nonce"], "preferred_username": "ann", "groups": ["developers"]}
        claims = {name: value for name, value in {**right, **named, **self.claims}.items() if value is not None}
        key = self.signing_key or self.key
        header = {"alg": self.algorithm, "kid": "one"}
        return jwt.encode(header, claims, key, algorithms=[self.algorithm])


@contextmanager
def running() -> Iterator[Provider]:
    """Run one at a port of loopback."""
    provider = Provider()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            match parts.path:
                case "/.well-known/openid-configuration":
                    self.answer(200, provider.about())
                case "/keys":
                    self.answer(200, {"keys": [provider.key.as_dict(private=False)]})
                case "/authorize":
                    self.send_response(302)
                    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                    self.send_header("Location", provider.authorize(query))
                    self.end_headers()
                case "/userinfo":
                    assert self.headers["Authorization"] == "Bearer access"
                    self.answer(200, provider.userinfo or {})
                case _:
                    self.answer(404, {})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            form = {name: values[0] for name, values in parse_qs(body).items()}
            self.answer(*provider.exchange(form, self.headers.get("Authorization") or ""))

        def answer(self, status: int, told: Mapping[str, Any]) -> None:
            body = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listener:
        provider.issuer = f"http://127.0.0.1:{listener.server_port}"
        thread = threading.Thread(target=listener.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield provider
        finally:
            listener.shutdown()
            thread.join()
