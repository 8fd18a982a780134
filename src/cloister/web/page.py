"""Pages: templates, in which everything is harmless and escaped unless it was made here, and errors as pages too."""

import json
import re
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from functools import cache
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from cloister.api.caller import Caller
from cloister.api.problem import Problem, error_to_problem
from cloister.api.problem_answers import validation_to_error
from cloister.errors import CloisterError
from cloister.model.fairness import held_to_text
from cloister.model.task import TaskState, TaskStatus, task_of
from cloister.narration import stats_to_text, usage_to_text
from cloister.neutral_text import neutralize
from cloister.web.assets import asset_address
from cloister.web.markdown import to_html

_SHORT = 12
_COMMIT = re.compile("[0-9a-f]{40}")
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


class PageRoute(APIRoute):
    """A route whose errors are pages."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler."""
        handle = super().get_route_handler()

        async def handle_with_error_page(request: Request) -> Response:
            try:
                return await handle(request)
            except CloisterError as error:
                if request.headers.get("accept") == "application/json":
                    raise  # a script of a page asks, and says itself what went wrong
                return error_page(request, error_to_problem(error))
            except RequestValidationError as error:
                return error_page(request, error_to_problem(validation_to_error(error)))

        return handle_with_error_page


def render(request: Request, template: str, *, code: int = 200, **values: object) -> HTMLResponse:
    """Return a page. Nobody keeps it: it is for whoever asked, now."""
    return HTMLResponse(to_text(request, template, **values), status_code=code, headers={"Cache-Control": "no-store"})


def render_form(request: Request, template: str, error: CloisterError | None, **values: object) -> HTMLResponse:
    """Return a page with a form; where it was refused, `problem` in it says why, and the answer has that status."""
    problem = error_to_problem(error) if error else None
    return render(request, template, code=problem.status if problem else 200, problem=problem, **values)


def to_text(request: Request, template: str, **values: object) -> str:
    """Return a page, or a part of one."""
    caller: Caller | None = getattr(request.state, "caller", None)
    return _templates().get_template(template).render(me=caller, path=request.url.path, **values)


def error_page(request: Request, problem: Problem) -> HTMLResponse:
    """Return what went wrong, and what to do about it."""
    return render(request, "error.html", code=problem.status, problem=problem)


def ago(at: datetime) -> str:
    """Return how long ago that was, in one unit."""
    seconds = max(0, int((datetime.now(UTC) - at).total_seconds()))
    for unit, name in ((_DAY, "d"), (_HOUR, "h"), (_MINUTE, "min")):
        if seconds >= unit:
            return f"{seconds // unit} {name} ago"
    return "just now"


def moment(at: datetime) -> str:
    """Return a time to the minute, also one that is to come."""
    return at.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def duration(seconds: float) -> str:
    """Return a duration as people read it: `84 ms`, `2.3 s`, `4 min 10 s`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < _MINUTE:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), _MINUTE)
    hours, minutes = divmod(minutes, _MINUTE)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def size(count: float) -> str:
    """Return a number of bytes as people read it."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def with_code(text: str) -> Markup:
    """Return a sentence of ours in which `backticks` stand around what is code."""
    parts = enumerate(text.split("`"))
    return Markup("").join(Markup("<code>{}</code>").format(part) if number % 2 else part for number, part in parts)


def heading(prompt: str) -> str:
    """Return the first line of a prompt that says something, for headings and lists."""
    lines = (line.strip("# \t") for line in prompt.splitlines())
    return next((line for line in lines if line), "(no words)")


def short_ref(ref: str) -> str:
    """Return a branch or tag, and of a commit its beginning."""
    return ref[:_SHORT] if _COMMIT.fullmatch(ref) else ref


def state_of_task(status: TaskStatus) -> str:
    """Return its verdict once it is over, and else its state."""
    return str(status.verdict) if status.state is TaskState.FINISHED and status.verdict else str(status.state)


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=PackageLoader("cloister.web"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_finalize,
    )
    templates.filters |= {
        "ago": ago,
        "duration": duration,
        "size": size,
        "heading": heading,
        "markdown": to_html,
        "short_ref": short_ref,
        "held": held_to_text,
        "short": lambda text: str(text)[:_SHORT],
        "iso": lambda at: at.isoformat(),
        "moment": moment,
        "task_of": task_of,
        "usage": usage_to_text,
        "stats": lambda stats: stats_to_text(stats.files, stats.added, stats.removed),
        "state": state_of_task,
        "tojson_text": json.dumps,
        "with_code": with_code,
        "until": lambda seconds: f"in {duration(seconds)}" if seconds > 0 else "it has",
    }
    templates.globals["asset"] = asset_address
    return templates


def _finalize(value: object) -> object:
    """Whatever is printed may come from a sandbox: only what was made here, as markup, is left as it is."""
    if value is None:
        raise TypeError("nothing is there to be printed")
    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return neutralize(value).encode(errors="replace").decode()
