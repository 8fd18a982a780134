"""The pages: how much they weigh, when something is seen, a flood of output, and a long diff."""

import shutil
import socket
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
from measure import Bar, Report, Samples, paired_ratio, publish, take_turns
from playwright.async_api import Browser, BrowserContext, Page, async_playwright
from sandboxes import make_project
from served import connect, running

ROUNDS = 7
CHROMIUM = "/usr/bin/chromium"
PATIENCE_MILLISECONDS = 180_000
LINES_A_SECOND, SECONDS = 5000, 10
LONG, SHORT = 10_000, 100
_VIEW = {"width": 1280, "height": 860}
_FLOOD = (
    f"i=0; while [ $i -lt {SECONDS * 20} ]; do seq -f 'line %g of a build that says a lot' "
    f"$((i * {LINES_A_SECOND // 20} + 1)) $(((i + 1) * {LINES_A_SECOND // 20})); i=$((i + 1)); sleep 0.045; done; "
    "echo the end is here; sleep 5"
)
_WATCH = """() => {
  window.gaps = [];
  let before = performance.now();
  const look = (now) => { window.gaps.push(now - before); before = now; requestAnimationFrame(look); };
  requestAnimationFrame((now) => { before = now; requestAnimationFrame(look); });
}"""
_ENVIRONMENT = 'image = "base"\nagent = "command"\n[setup]\nautomatic = false\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class Site:
    """A server that somebody's browser is logged in at."""

    api: httpx.AsyncClient
    context: BrowserContext
    address: str
    repository: Path

    async def task(self, command: str) -> str:
        """Give a task, and return its id."""
        body = {
            "repository": str(self.repository),
            "prompt": "Say a lot",
            "command": command,
            "environment": {"text": _ENVIRONMENT},
        }
        answer = await self.api.post("/api/v1/tasks", json=body)
        if answer.status_code != 201:
            raise RuntimeError(answer.text)
        return str(answer.json()["id"])

    async def ended(self, command: str) -> str:
        """The same, when it is over."""
        task = await self.task(command)
        await self.api.get(f"/api/v1/tasks/{task}/events", headers={"Accept": "text/event-stream"})
        return task


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port: int = listening.getsockname()[1]
        return port


@asynccontextmanager
async def _site(state: Path, repository: Path, browser: Browser) -> AsyncIterator[Site]:
    address = f"127.0.0.1:{_free_port()}"
    async with running(state, listen=address), connect(state / "cloister.sock") as api:
        made = (await api.post("/api/v1/tokens", json={"name": "bench", "role": "member"})).json()
        context = await browser.new_context(base_url=f"http://{address}", viewport=_VIEW)
        context.set_default_timeout(PATIENCE_MILLISECONDS)
        page = await context.new_page()
        await page.goto("/login")
        await page.get_by_label("Token").fill(made["token"])
        await page.get_by_role("button", name="Log in").click()
        await page.wait_for_url("**/")
        await page.close()
        yield Site(api=api, context=context, address=f"http://{address}", repository=repository)
        await context.close()


async def _weight(browser: Browser, site: Site, path: str, *, ready: str = "") -> int:
    """Return the bytes that came over the wire for a page, with nothing kept from before."""
    context = await browser.new_context(
        base_url=site.address, viewport=_VIEW, storage_state=await site.context.storage_state()
    )
    page = await context.new_page()
    session = await context.new_cdp_session(page)
    await session.send("Network.enable")
    weighed: list[float] = []
    session.on("Network.loadingFinished", lambda event: weighed.append(event["encodedDataLength"]))
    await page.goto(path, wait_until="load")
    if ready:
        await page.locator(ready).first.wait_for(state="attached", timeout=PATIENCE_MILLISECONDS)
    await page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done, 200)))")
    await context.close()
    return round(sum(weighed))


def _painted(context: BrowserContext, address: str) -> Callable[[], Awaitable[float]]:
    """Return a probe of the seconds from a navigation to the first contentful paint, with warm scripts."""

    async def probe() -> float:
        page = await context.new_page()
        await page.goto(address, wait_until="load")
        painted: float = await page.evaluate(
            """() => new Promise(done => new PerformanceObserver((list) => done(list.getEntries()[0].startTime))
            .observe({type: 'paint', buffered: true}))"""
        )
        await page.close()
        return painted / 1000

    return probe


def _shown(site: Site, path: str) -> Callable[[], Awaitable[float]]:
    """Return a probe of the seconds until a page is loaded and laid out."""

    async def probe() -> float:
        page = await site.context.new_page()
        begun = time.perf_counter()
        await page.goto(path, wait_until="load")
        await page.evaluate("new Promise(done => requestAnimationFrame(() => done(document.body.offsetHeight)))")
        seconds = time.perf_counter() - begun
        await page.close()
        return seconds

    return probe


async def _gaps(page: Page) -> tuple[float, ...]:
    found: list[float] = await page.evaluate("window.gaps.slice(5)")
    return tuple(found)


async def _flooded(site: Site, command: str, until: str) -> tuple[tuple[float, ...], int]:
    """Watch a task; return milliseconds between frames while it printed, and the elements of its page at the end."""
    page = await site.context.new_page()
    task = await site.task(command)
    await page.goto(f"/tasks/{task}")
    await page.locator("[data-kind=output]").scroll_into_view_if_needed()
    await page.locator(".xterm-rows").wait_for()
    await page.evaluate(_WATCH)
    await page.locator(".xterm-rows", has_text=until).wait_for()
    gaps, elements = await _gaps(page), await page.evaluate("document.querySelectorAll('*').length")
    await page.close()
    return gaps, elements


def _long_diff(lines: int) -> str:
    return f"seq -f 'this is line %g of a file that the agent wrote' {lines} > long.txt"


async def _measure(state: Path, repository: Path) -> tuple[list[Samples], list[Bar]]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        async with _site(state, repository, browser) as site:
            return await _measure_site(browser, site)


async def _measure_site(browser: Browser, site: Site) -> tuple[list[Samples], list[Bar]]:
    short, long = await site.ended(_long_diff(SHORT)), await site.ended(_long_diff(LONG))
    waits = await site.task("echo it waits; exec sleep 600")
    weights = {
        "the list of tasks": await _weight(browser, site, "/"),
        "a finished task": await _weight(browser, site, f"/tasks/{short}"),
        "a running task, with its terminal": await _weight(browser, site, f"/tasks/{waits}", ready=".xterm-rows"),
        f"a diff of {LONG:,} lines": await _weight(browser, site, f"/tasks/{long}/changes"),
    }
    painted = await take_turns(
        "first contentful paint on loopback",
        {
            "the list of tasks": _painted(site.context, site.address),
            "a finished task": _painted(site.context, f"{site.address}/tasks/{short}"),
            "a page of one word, of a file": _painted(site.context, _bare_page(site.repository)),
        },
        rounds=ROUNDS,
    )
    diffs = await take_turns(
        "a diff loaded and laid out",
        {
            f"{LONG:,} lines": _shown(site, f"/tasks/{long}/changes?file=1"),
            f"{SHORT} lines": _shown(site, f"/tasks/{short}/changes?file=1"),
        },
        rounds=ROUNDS,
    )
    await site.api.post(f"/api/v1/tasks/{waits}/cancel")
    quiet, _ = await _flooded(
        site, f"echo it begins; sleep {SECONDS}; echo the end is here; sleep 3", "the end is here"
    )
    flooded, elements = await _flooded(site, _FLOOD, "the end is here")
    row = "milliseconds between frames"
    frames = [
        Samples(row=row, subject=f"{LINES_A_SECOND:,} lines a second", values=flooded),
        Samples(row=row, subject="nothing printed", values=quiet),
    ]
    weighed = [
        Samples(row="over the wire, nothing kept", subject=name, values=(size / 1000,), unit="kB")
        for name, size in weights.items()
    ]
    listed, _, bare = painted.values()
    of_long, of_short = diffs.values()
    bars = [
        Bar(what="the first page, compressed", value=weights["the list of tasks"] / 1000, at_most=150, unit="kB"),
        Bar(what="a running task, with its terminal", value=weighed[2].p50, at_most=200, unit="kB"),
        Bar(what="first paint: the list / a page of one word", value=paired_ratio(listed, bare), at_most=6.0),
        Bar(what=f"a diff of {LONG:,} / of {SHORT} lines", value=paired_ratio(of_long, of_short), at_most=8.0),
        Bar(what="frames in a flood / without, median", value=frames[0].p50 / frames[1].p50, at_most=2.0),
        Bar(what="the longest gap between frames in a flood", value=max(flooded), at_most=500, unit="ms"),
        Bar(what=f"elements after {LINES_A_SECOND * SECONDS:,} lines", value=elements, at_most=3000, unit=""),
    ]
    return [*weighed, *painted.values(), *diffs.values(), *frames], bars


def _bare_page(place: Path) -> str:
    page = place.parent / "bare.html"
    page.write_text("<!doctype html><title>bare</title><p>word")
    return page.as_uri()


async def run(state: Path) -> bool:
    """Measure and publish."""
    place = Path(tempfile.mkdtemp(prefix="web-", dir=state))
    try:
        samples, bars = await _measure(state, make_project(place / "project", files=20).tree)
    finally:
        shutil.rmtree(place)
    about = (
        "A server as a process, at loopback, and Chromium without a screen on the same cores. What pages weigh: all "
        "bytes that come over the wire, with nothing kept from before. First contentful paint, with scripts kept, "
        f"beside a page of one word that is read from a file. A diff of {LONG:,} added lines of one file, shown in "
        f"parts, beside one of {SHORT}. A task that prints {LINES_A_SECOND:,} lines a second for {SECONDS} seconds, "
        "watched in its page's terminal: the time between two frames that the page gets to draw, beside the same page "
        "while nothing is printed; and how many elements the page has when all is drawn."
    )
    return publish(Report(name="web", title="Pages", about=about, samples=tuple(samples), bars=tuple(bars)))
