import re
from pathlib import Path

import pytest

from cloister.testing import read_script
from cloister.testing.script import Turn

PAGE = (Path(__file__).parents[3] / "docs/how-to/scripted-model.md").read_text()
FILES = [text for text in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL) if "turns" in text]


@pytest.mark.parametrize("text", FILES)
def test_the_files_of_the_page_can_be_played(text: str) -> None:
    assert read_script(text.encode(), source="the page").played


def test_every_key_of_a_turn_is_on_the_page() -> None:
    expected = Turn.model_fields["expect"].annotation
    keys = {key for key in Turn.model_fields if key != "expect"}
    keys |= {f"expect.{key}" for key in expected.model_fields}  # type: ignore[union-attr]
    rows = [line.split("|")[1] for line in PAGE.splitlines() if line.startswith("| `")]
    assert {key for row in rows for key in re.findall(r"`([a-z_.]+)`", row)} == keys
