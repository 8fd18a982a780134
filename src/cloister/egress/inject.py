"""Where a brokered secret goes: into the one place of the requests that it is for, and never into another.

Pure. A request holds placeholders; what it becomes depends on the grants of its sandbox alone. What a request to a
granted host says in the grant's place is replaced whatever it is, so that a program that knows nothing of all this
works, and none can use the host with credentials of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from urllib.parse import quote, unquote, unquote_plus

from cloister.egress.request import Request
from cloister.masking import MaskingRedactor
from cloister.model.broker import header_value, is_below
from cloister.model.network import host_matches
from cloister.model.secret import Grant, SecretValue

_LONGEST_NAME = 60
_REMOVED = frozenset((b"accept-encoding", b"range", b"if-range"))


class LeakError(Exception):
    """A request holds a placeholder where its secret must not go; the message says which and where."""

    def __init__(self, grant: Grant, where: str) -> None:
        hosts = "its door" if grant.door is not None else " and ".join(f"https://{host}" for host in grant.hosts[:3])
        super().__init__(
            f"an attempt to leak the secret {grant.name}: its placeholder is in {where}, "
            f"and it is for the {_place(grant)} of requests that it is granted to, at {hosts}, alone"
        )


class Broker:
    """The grants of one sandbox, made ready for its requests."""

    def __init__(self, grants: Sequence[Grant] = ()) -> None:
        self.grants = grants
        self._finder: MaskingRedactor | None = None
        self._maskers: dict[tuple[str, ...], MaskingRedactor] = {}

    def must_read(self, host: str) -> bool:
        """Whether requests inside TLS to that host have to be read, because a grant is for it."""
        return any(grant.door is None and host_matches(host, grant.hosts) for grant in self.grants)

    def behind(self, door: int) -> Grant | None:
        """Return the grant whose upstream is behind that door."""
        return next((grant for grant in self.grants if grant.door == door and grant.upstream is not None), None)

    def inject(self, request: Request, *, secure: bool, door: int | None = None) -> Request:
        """Return the request with the values that are for it in their places.

        `secure` says that it will be sent over TLS to a server that proved to be its host. A grant with a door is
        for the requests that came through that door, and for no others. Raises LeakError for a placeholder anywhere
        but in the place of its own grant.
        """
        places: dict[str, list[Grant]] = {}
        for grant in self.grants:
            if secure and grant.door == door and fits(grant, request):
                places.setdefault(_place(grant), []).append(grant)
        chosen = [self._choose(request, rivals) for rivals in places.values()]
        for grant in chosen:
            request = _without(request, grant)
        self._refuse_placeholders(request)
        if secure and self.granted(request.authority.host, door):
            request = _asking_for_plain_text(request)
        for grant in chosen:
            request = _with(request, grant)
        return request

    def leak(self, name: str, where: str) -> LeakError:
        """Return what to raise when that secret's placeholder was found there."""
        return LeakError(next(grant for grant in self.grants if grant.name == name), where)

    def granted(self, host: str, door: int | None) -> tuple[Grant, ...]:
        """Return the grants whose values that host may get, or know, of what comes in by that door."""
        return tuple(grant for grant in self.grants if grant.door == door and host_matches(host, grant.hosts))

    def finder(self) -> MaskingRedactor:
        """Return a searcher of one stream for placeholders, in the encodings in which secrets are searched for."""
        if self._finder is None:
            self._finder = MaskingRedactor({it.name: SecretValue(it.placeholder) for it in self.grants})
        return self._finder.fresh()

    def masker(self, host: str, door: int | None) -> MaskingRedactor | None:
        """Return what masks, in a response of that host, the values that it may know; None when it knows none.

        Whichever request it answers: what one has stored, another one may read.
        """
        known = self.granted(host, door)
        if not known:
            return None
        names = tuple(grant.name for grant in known)
        if names not in self._maskers:
            self._maskers[names] = MaskingRedactor({grant.name: grant.value for grant in known})
        return self._maskers[names].fresh()

    def _choose(self, request: Request, rivals: Sequence[Grant]) -> Grant:
        """Return the grant that the request asks for by its placeholder; the first, when it asks for none.

        A placeholder of another grant that is no rival here is a leak.
        """
        found = self._found(b"\n".join(_contents(request, rivals[0])))
        names = {grant.name for grant in rivals}
        for name in sorted(found - names):
            raise self.leak(name, f"the {_place(rivals[0])}")
        return next((grant for grant in rivals if grant.name in found), rivals[0])

    def _refuse_placeholders(self, request: Request) -> None:
        target = f"{request.target}\n{unquote_plus(request.target)}"
        texts = [target.encode(), *(name + b": " + value for name, value in request.headers)]
        if not self._found(b"\n".join(texts)):
            return
        for text, where in zip(texts, _places_of(request), strict=True):
            for name in sorted(self._found(text)):
                raise self.leak(name, where)

    def _found(self, text: bytes) -> set[str]:
        finder = self.finder()
        finder.feed(text)
        finder.flush()
        return finder.found


def fits(grant: Grant, request: Request) -> bool:
    """Whether host, methods and path are those that the grant is for."""
    if host_matches(request.authority.host, grant.hosts) is None:
        return False
    methods = (request.method, *request.overriding_methods)
    if grant.methods is not None and not set(methods) <= set(grant.methods):
        return False
    if "/" in grant.paths:
        return True
    path = plain_path(request.target)
    return path is not None and is_below(path, grant.paths)


def plain_path(target: str) -> str | None:
    """Return the path that every server takes the target for, decoded; None when two could differ.

    Empty and dot segments, encoded slashes, backslashes, parameters behind dots, and what is encoded twice are read
    in different ways by servers, frameworks and the proxies before them (RFC 3986, 6.2.2 and 7.3).
    """
    raw = target.partition("?")[0]
    try:
        path = unquote(raw, errors="strict")
    except UnicodeDecodeError:
        return None
    if path.count("/") != raw.count("/") or any(mark in path for mark in ("//", "\\", "%", "#", "?")):
        return None
    if not path.isprintable() or not path.startswith("/"):
        return None
    if any(segment.partition(";")[0] in (".", "..") for segment in path.split("/")):
        return None
    return path


def _place(grant: Grant) -> str:
    return f"header {grant.header.lower()}" if grant.query is None else f"query parameter {grant.query}"


def _places_of(request: Request) -> list[str]:
    names = (name.decode("latin-1")[:_LONGEST_NAME] for name, _ in request.headers)
    return ["the path or the query", *(f"the header {name}" for name in names)]


def _contents(request: Request, grant: Grant) -> Iterable[bytes]:
    """What the client wrote in the grant's place."""
    if grant.query is None:
        return (value for name, value in request.headers if _is_header(name, grant))
    return (pair.encode() for pair in _pairs(request.target) if _is_parameter(pair, grant))


def _without(request: Request, grant: Grant) -> Request:
    if grant.query is None:
        headers = tuple((name, value) for name, value in request.headers if not _is_header(name, grant))
        return replace(request, headers=headers)
    return _with_pairs(request, [pair for pair in _pairs(request.target) if not _is_parameter(pair, grant)])


def _with(request: Request, grant: Grant) -> Request:
    value = grant.value.reveal()
    if grant.query is None:
        header = (grant.header.encode(), header_value(grant.format, value).encode())
        return replace(request, headers=(*request.headers, header))
    return _with_pairs(request, [*_pairs(request.target), f"{grant.query}={quote(value, safe='')}"])


def _is_header(name: bytes, grant: Grant) -> bool:
    return name.lower() == grant.header.lower().encode()


def _pairs(target: str) -> list[str]:
    query = target.partition("?")[2]
    return query.split("&") if query else []


def _is_parameter(pair: str, grant: Grant) -> bool:
    return unquote_plus(pair.partition("=")[0]) == grant.query


def _with_pairs(request: Request, pairs: Sequence[str]) -> Request:
    path = request.target.partition("?")[0]
    return replace(request, target=f"{path}?{'&'.join(pairs)}" if pairs else path)


def _asking_for_plain_text(request: Request) -> Request:
    """A value could not be masked in a body that is compressed, nor in one that comes in several parts."""
    headers = tuple((name, value) for name, value in request.headers if name.lower() not in _REMOVED)
    return replace(request, headers=(*headers, (b"Accept-Encoding", b"identity")))
