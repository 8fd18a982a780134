"""What the tour asks for, whoever takes it: the task of the demo project, which a shell script does."""

from importlib.resources import files
from pathlib import Path

from cloister.model.request import EnvironmentText, Request
from cloister.model.secret import SecretValue

PROMPT = "Short help that is exactly as long as allowed is cut off. Find out why, and fix it."
_SECRET = {"DEMO_TOKEN": SecretValue("demo-token-that-opens-nothing")}
"""The same each time, because a new value is a new environment: the second tour shall start warm."""


def tour_request(repository: Path) -> Request:
    """Return what is asked, of the project that `prepare_project` returned. No model is needed for it."""
    package = files("cloister.demo")
    return Request(
        repository=str(repository),
        prompt=PROMPT,
        environment=EnvironmentText(source="environment.toml", raw=(package / "environment.toml").read_bytes()),
        secrets=_SECRET,
        command=(package / "agent.sh").read_text(),
    )
