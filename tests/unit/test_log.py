"""The log has one form, and no credential in it."""

import json
import logging

import pytest
import structlog
from structlog.contextvars import bound_contextvars

from cloister.log import Format, logging_to_stderr, mask_credentials

TOKEN = "clo_" + "a1B2" * 8


def entries(text: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (f"sent {TOKEN} to it", "sent *** to it"),
        ("signed with whsec_abcdefghijklmnopqrst==", "signed with ***"),
        ("Authorization: Bearer sk-0123456789abcdef.x", "Authorization: Bearer ***"),
        ("at https://ann:hunter2@git.example/p.git", "at https://ann:***@git.example/p.git"),
    ],
)
def test_what_looks_like_a_credential_is_masked(text: str, shown: str) -> None:
    assert mask_credentials(text) == shown


@pytest.mark.parametrize(
    "text", ["token list", "a bearer of news", "https://git.example:8443/p", "clo_short", "12:30@x"]
)
def test_what_does_not_stays(text: str) -> None:
    assert mask_credentials(text) == text


def test_an_entry_is_an_object_a_line_with_what_it_is_about(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("info"), bound_contextvars(task="t1", attempt="t1-1-1", trace="ab" * 16):
        structlog.get_logger("x").info("begun", error=f"with {TOKEN}\nand more")
        structlog.get_logger("x").debug("left out")
        logging.getLogger("a.library").warning("a library says %s", TOKEN)
        logging.getLogger("a.library").info("left out")
    ours, library = entries(capsys.readouterr().err)
    assert (ours["event"], ours["level"], ours["error"]) == ("begun", "info", "with ***\nand more")
    assert {key: ours[key] for key in ("task", "attempt")} == {"task": "t1", "attempt": "t1-1-1"}
    assert ours["trace"] == library["trace"] == "ab" * 16
    assert (library["event"], library["logger"], library["level"]) == ("a library says ***", "a.library", "warning")


@pytest.mark.parametrize("form", ["json", "console"])
def test_a_traceback_shows_no_variables(capsys: pytest.CaptureFixture[str], form: Format) -> None:
    value = "a secret in a variable"
    with logging_to_stderr("info", form):
        try:
            int(value[:1])
        except ValueError:
            structlog.get_logger("x").exception("broke")
    told = capsys.readouterr().err
    assert "ValueError" in told and "Traceback" in told
    assert value not in told


def test_for_people_it_is_text(capsys: pytest.CaptureFixture[str]) -> None:
    with logging_to_stderr("info", "console"), bound_contextvars(task="t1"):
        structlog.get_logger("x").info("begun")
    told = capsys.readouterr().err
    assert "begun" in told and "task=t1" in told
    assert "\x1b" not in told, "colour only on a terminal"


def test_afterwards_libraries_log_as_before() -> None:
    before = (list(logging.getLogger().handlers), logging.getLogger().level)
    with logging_to_stderr("warning"):
        pass
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == before
