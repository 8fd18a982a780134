"""The control plane: tasks accepted, tasks listed, and a thousand readers of logs that grow."""

import asyncio
import json
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import anyio
import httpx
import uvicorn
from measure import Bar, Report, Samples, paired_ratio, publish, take_turns
from sandboxes import make_project
from served import serving
from starlette.types import Receive, Scope, Send

from cloister.model.environment import Environment
from cloister.model.event import Output
from cloister.model.phase import Phase
from cloister.model.sandbox import Commit
from cloister.model.task import Repository, Revision, Task, TaskId
from cloister.queues.embedded import EmbeddedQueue
from cloister.stores.attempts import SqlLedger
from cloister.stores.database import Database

ROUNDS = 10
ACCEPTED_AT_ONCE, CALLERS = 100, 16
FEW_TASKS, MANY_TASKS = 100, 100_000
PAGES = 20
STREAMS, FOLLOWED = 1000, 100
TOLD = 10
_ENVIRONMENT = 'agent = "command"\n[setup]\nautomatic = false\n'
_BODY_BYTES = 2000
"""About what a task's rows hold."""


def _accepting(client: httpx.AsyncClient, repository: Path, callers: int) -> Callable[[], Awaitable[float]]:
    """Return a probe of the seconds that a task takes to be accepted, of many that are asked for."""
    body = {"repository": str(repository), "prompt": "fix it", "command": "true", "environment": {"text": _ENVIRONMENT}}

    async def ask(count: int) -> None:
        for _ in range(count):
            answer = await client.post("/api/v1/tasks", json=body)
            if answer.status_code != 201:
                raise RuntimeError(answer.text)

    async def probe() -> float:
        begun = time.perf_counter()
        async with anyio.create_task_group() as group:
            for _ in range(callers):
                group.start_soon(ask, ACCEPTED_AT_ONCE // callers)
        return (time.perf_counter() - begun) / (ACCEPTED_AT_ONCE // callers * callers)

    return probe


def _bare_commit(place: Path) -> Callable[[], Awaitable[float]]:
    """Return a probe of a row that is committed and synced by SQLite alone, one after the other."""
    connection = sqlite3.connect(place / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE rows (data BLOB)")

    async def probe() -> float:
        begun = time.perf_counter()
        for _ in range(ACCEPTED_AT_ONCE):
            connection.execute("INSERT INTO rows VALUES (?)", (os.urandom(_BODY_BYTES),))
        return (time.perf_counter() - begun) / ACCEPTED_AT_ONCE

    return probe


async def _measure_accepting(place: Path, repository: Path, images: Path) -> list[Samples]:
    state = _new_state(place / "accept", images)
    async with serving(state, running_together="1") as client:
        body = {"repository": str(repository), "prompt": "stay", "command": "sleep 3600"}
        stays = (await client.post("/api/v1/tasks", json={**body, "environment": {"text": _ENVIRONMENT}})).json()
        await _until(client, stays["id"], "running")  # from here on, what is accepted waits
        measured = await take_turns(
            "a task accepted, and synced",
            {
                f"cloister, {CALLERS} callers": _accepting(client, repository, CALLERS),
                "cloister, 1 caller": _accepting(client, repository, 1),
                "sqlite, a row committed": _bare_commit(place),
            },
            rounds=ROUNDS,
        )
        with sqlite3.connect(state / "cloister.db") as connection:  # or the next of them would start now
            connection.execute("UPDATE attempts SET state = 'finished', verdict = 'cancelled' WHERE state = 'queued'")
            connection.execute("UPDATE lanes SET waiting = 0")
        connection.close()
        await client.post(f"/api/v1/tasks/{stays['id']}/cancel")
        await _until(client, stays["id"], "finished")
    return [*measured.values()]


async def _until(client: httpx.AsyncClient, task: str, state: str) -> None:
    while (await client.get(f"/api/v1/tasks/{task}")).json()["state"] != state:  # noqa: ASYNC110
        await anyio.sleep(0.1)


def _new_task(number: int) -> Task:
    commit = Commit("a" * 40)
    return Task(
        id=TaskId(f"task{number:08}"),
        repository=Repository(address="/srv/project", directory="project"),
        revision=Revision(ref="main", commit=commit, default_branch="main", default_commit=commit),
        environment=Environment(name="web"),
        prompt="fix the failing test " * 20,
        agent="command",
        command="true",
        accepted_at=datetime.now(UTC),
    )


async def _fill(state: Path, count: int, *, waiting: bool) -> None:
    """Make that many tasks, of which one was accepted by the ledger and the others are its copies."""
    async with Database.open(state / "cloister.db") as database:
        await SqlLedger(database).accept(_new_task(0), [])
    with sqlite3.connect(state / "cloister.db") as connection:
        if not waiting:
            connection.execute("UPDATE tasks SET state = 'finished', verdict = 'succeeded', finished_at = accepted_at")
            connection.execute("UPDATE attempts SET state = 'finished', verdict = 'succeeded'")
        for table, changed in (
            ("tasks", {"position": "n + 1", "id": "printf('task%08d', n)"}),
            ("attempts", {"position": "n + 1", "id": "printf('task%08d-1-1', n)", "task": "printf('task%08d', n)"}),
        ):
            columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
            values = ", ".join(changed.get(column, f'"{column}"') for column in columns)
            numbers = (
                f"WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {count - 1})"
            )
            connection.execute(
                f"INSERT INTO {table} {numbers} SELECT {values} FROM {table}, numbers WHERE {table}.position = 1"
            )
        connection.execute("UPDATE lanes SET waiting = (SELECT count(*) FROM attempts WHERE state = 'queued')")
    connection.close()


def _listing(client: httpx.AsyncClient, query: str) -> Callable[[], Awaitable[float]]:
    """Return a probe of a page of 50 tasks."""

    async def probe() -> float:
        begun = time.perf_counter()
        answer = await client.get(f"/api/v1/tasks?limit=50{query}")
        seconds = time.perf_counter() - begun
        if len(answer.json()["items"]) != 50:
            raise RuntimeError(answer.text)
        return seconds

    return probe


async def _measure_listing(place: Path, images: Path) -> list[Samples]:
    few, many, waiting = (_new_state(place / name, images) for name in ("few", "many", "waiting"))
    await _fill(few, FEW_TASKS, waiting=False)
    await _fill(many, MANY_TASKS, waiting=False)
    await _fill(waiting, MANY_TASKS, waiting=True)
    async with (
        _held(waiting),
        serving(few) as of_few,
        serving(many) as of_many,
        serving(waiting, running_together="1") as of_waiting,
    ):
        middle = f"task{MANY_TASKS // 2:08}"
        measured = await take_turns(
            "a page of 50 tasks",
            {
                f"cloister, of {MANY_TASKS:,}": _listing(of_many, ""),
                f"cloister, of {MANY_TASKS:,}, in the middle": _listing(of_many, f"&cursor={middle}"),
                f"cloister, of {MANY_TASKS:,} that wait": _listing(of_waiting, ""),
                f"cloister, of {FEW_TASKS}": _listing(of_few, ""),
            },
            rounds=PAGES,
        )
    return [*measured.values()]


@asynccontextmanager
async def _held(state: Path) -> AsyncIterator[EmbeddedQueue]:
    """Be a worker that has the oldest attempt, so that with a limit of one no other starts."""
    async with (
        Database.open(state / "cloister.db") as database,
        EmbeddedQueue.open(SqlLedger(database), state / "workers") as queue,
    ):
        await queue.claim()
        yield queue


async def _read(socket: Path, path: str, arrived: list[float], ready: Callable[[], None]) -> None:
    """Read a stream, and note how late each event arrived that has the time of its record in it, from now on.

    A client of HTTP would be the slower end.
    """
    began = time.time()
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    async for line in reader:
        if b"task_accepted" in line and line.startswith(b"data: "):
            ready()
        elif line.startswith(b"data: ") and b'"event": "output"' in line:
            recorded = float(json.loads(line[6:])["text"])
            if recorded < began:
                continue
            arrived.append(time.time() - recorded)
            if len(arrived) == TOLD:
                break
    writer.close()


async def _tell_all(socket: Path, paths: Sequence[str], tell: Callable[[], Awaitable[None]]) -> tuple[list[float], int]:
    """Open the streams, tell of events, and return how late each arrived, and how many never did."""
    arrivals: list[list[float]] = [[] for _ in paths]
    opened = 0

    def ready() -> None:
        nonlocal opened
        opened += 1

    with anyio.move_on_after(300):
        async with anyio.create_task_group() as group:
            for path, arrived in zip(paths, arrivals, strict=True):
                group.start_soon(_read, socket, path, arrived, ready)
            while opened < len(paths):  # noqa: ASYNC110
                await anyio.sleep(0.05)
            await anyio.sleep(2)
            for _ in range(TOLD):
                await tell()
                await anyio.sleep(1)
    late = [seconds * 1000 for arrived in arrivals for seconds in arrived]
    return late, len(paths) * TOLD - len(late)


async def _measure_streams(place: Path, images: Path) -> tuple[list[Samples], int]:
    state = _new_state(place / "streams", images)
    async with (
        Database.open(state / "cloister.db") as database,
        EmbeddedQueue.open(SqlLedger(database), state / "workers") as queue,
    ):
        for number in range(FOLLOWED):
            await queue.submit(_new_task(number))
        attempts = [attempt for _ in range(FOLLOWED) if (attempt := await queue.claim())]

        async def tell() -> None:
            for offset, attempt in enumerate(attempts):
                output = Output(stream="stdout", text=f"{time.time():.6f}", command="agent", offset=offset)
                await queue.record(attempt, Phase.AGENT, output)

        paths = [f"/api/v1/tasks/{attempt.task.id}/events" for attempt in attempts]
        async with serving(state):
            one, _ = await _tell_all(state / "cloister.sock", paths[:1], tell)
            many, missed = await _tell_all(state / "cloister.sock", [paths[n % FOLLOWED] for n in range(STREAMS)], tell)
    bare = await _measure_bare_streams(place)
    row = "an event, from its record to a reader"
    return [
        Samples(row=row, subject=f"cloister, {STREAMS:,} streams of {FOLLOWED} tasks", values=tuple(many)),
        Samples(row=row, subject="cloister, 1 stream", values=tuple(one)),
        Samples(row=row, subject=f"uvicorn alone, {STREAMS:,} streams", values=tuple(bare)),
    ], missed


async def _measure_bare_streams(place: Path) -> list[float]:
    """Tell as many readers of the same from memory, by the same HTTP server."""
    waiting: list[anyio.Event] = []
    told: list[bytes] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/event-stream")]})
        await send({"type": "http.response.body", "body": b"data: task_accepted\n\n", "more_body": True})
        seen = len(told)
        while True:
            if seen == len(told):
                waiting.append(event := anyio.Event())
                await event.wait()
            for line in told[seen:]:
                await send({"type": "http.response.body", "body": line, "more_body": True})
            seen = len(told)

    async def tell() -> None:
        told.append(f"data: {json.dumps({'event': 'output', 'text': f'{time.time():.6f}'})}\n\n".encode())
        for event in waiting:
            event.set()
        waiting.clear()

    socket = place / "bare.sock"
    server = uvicorn.Server(
        uvicorn.Config(app, uds=str(socket), log_config=None, lifespan="off", timeout_graceful_shutdown=1)
    )
    async with anyio.create_task_group() as group:
        group.start_soon(server.serve)
        while not server.started:  # noqa: ASYNC110
            await anyio.sleep(0.05)
        late, _ = await _tell_all(socket, ["/"] * STREAMS, tell)
        server.should_exit = True
    return late


def _new_state(path: Path, images: Path) -> Path:
    path.mkdir(mode=0o700)
    if images.exists():
        (path / "images").symlink_to(images)
    return path


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="control-", dir=state))
    images = state / "images"
    try:
        repository = make_project(place / "project", files=100).mirror
        accepted, alone, bare = await _measure_accepting(place, repository, images)
        many, middle, waiting, few = await _measure_listing(place, images)
        streams, missed = await _measure_streams(place, images)
    finally:
        shutil.rmtree(place)
    about = (
        f"A server as a process, spoken to over its socket. {ACCEPTED_AT_ONCE} tasks asked for by {CALLERS} callers at "
        "once, and by one, until each is on disk and synced: the seconds of all, divided by their number, with the "
        "look at a bare repository on the same machine, which does not change, in them. Beside it a row of "
        f"{_BODY_BYTES:,} bytes that SQLite alone commits and syncs on the same disk. "
        f"A page of 50 tasks of {MANY_TASKS:,}: the newest, some in the middle, and the newest where all wait, with "
        f"their places in the queue; beside it the same page of {FEW_TASKS}. {STREAMS:,} event streams "
        f"of {FOLLOWED} tasks, in each of which another process records an event every second: from its record to its "
        "arrival; beside it one stream, and the same readers of a program that tells them all from memory by the same "
        "HTTP server. Readers and writers share the machine's cores with the server."
    )
    late = streams[0]
    bars = (
        Bar(what="a task accepted, 200 in a second", value=accepted.p50, at_most=5.0, unit="ms"),
        Bar(what=f"{CALLERS} callers / 1 caller, median of pairs", value=paired_ratio(accepted, alone), at_most=1.0),
        Bar(what=f"a page of {MANY_TASKS:,} tasks, 95 %", value=many.p95, at_most=50.0, unit="ms"),
        Bar(what=f"a page of {MANY_TASKS:,} tasks that wait, 95 %", value=waiting.p95, at_most=50.0, unit="ms"),
        Bar(
            what=f"a page of {MANY_TASKS:,} / of {FEW_TASKS}, median of pairs",
            value=paired_ratio(many, few),
            at_most=1.5,
        ),
        Bar(what=f"events that one of {STREAMS:,} streams was not told", value=missed, at_most=0, unit=""),
        Bar(what=f"the latest event / the median, {STREAMS:,} streams", value=max(late.values) / late.p50, at_most=5.0),
    )
    samples = (accepted, alone, bare, many, middle, waiting, few, *streams)
    return publish(Report(name="control", title="Control plane", about=about, samples=samples, bars=bars))
