"""Where an index says that its files are; a real server answers."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cloister.egress.indexes import PackageIndexError, files_of_npm_registry, files_of_simple_index

SIMPLE = b'<a href="https://files.example/pip-1.whl#sha256=0">pip</a><a href="../../own/pip-2.whl">pip</a><a>none</a>'


@contextmanager
def serving(answer: Callable[[str, str | None], tuple[int, bytes]]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path, self.headers.get("Authorization"))
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"dist": 1}', b'{"dist": {}}', b"\xff", b"<a href=x>"])
async def test_a_registry_that_says_something_else_is_a_fault(body: bytes) -> None:
    with serving(lambda path, _: (200, body)) as place, pytest.raises(PackageIndexError, match=r"^127.0.0.1: "):
        await files_of_npm_registry(f"http://{place}")


async def test_a_fault_shows_no_password() -> None:
    with serving(lambda path, _: (403, b"")) as place, pytest.raises(PackageIndexError) as caught:
        await files_of_simple_index(f"http://me:pass1234@{place}/simple")
    assert "pass1234" not in str(caught.value)


@pytest.mark.parametrize("address", ["file:///etc/", "/srv/simple", "", "ftp://files.example/"])
async def test_nothing_but_the_web_is_asked(address: str) -> None:
    assert await files_of_simple_index(address) == []


async def test_links_of_a_simple_index_are_followed_from_where_they_are() -> None:
    with serving(lambda path, _: (200, SIMPLE) if path == "/root/simple/pip/" else (404, b"")) as place:
        found = await files_of_simple_index(f"http://{place}/root/simple/")
    assert found == ["https://files.example/pip-1.whl#sha256=0", f"http://{place}/root/own/pip-2.whl"]


async def test_the_archive_of_an_npm_registry_and_its_user() -> None:
    latest = json.dumps({"dist": {"tarball": "https://tarballs.example/npm.tgz"}}).encode()

    def answer(path: str, user: str | None) -> tuple[int, bytes]:
        return (200, latest) if (path, user) == ("/npm/latest", "Basic bWU6cDpAc3M=") else (401, b"")

    with serving(answer) as place:
        found = await files_of_npm_registry(f"http://me:p%3A%40ss@{place}/")
    assert found == ["https://tarballs.example/npm.tgz"]


async def test_an_endless_page_is_read_to_a_bound() -> None:
    with serving(lambda path, _: (200, SIMPLE * 100_000)) as place:
        assert len(await files_of_simple_index(f"http://{place}/simple")) == 2000
