import json
import os
import urllib.error
import urllib.request
from importlib.resources import files

import pytest

from cloister.demo.model import PROVIDER, scripted_model
from cloister.errors import HostError
from cloister.settings_files import load_settings
from cloister.testing import read_script


def _ask(prompt: str) -> int:
    url = os.environ["CLOISTER_MODELS_DEMO_BASE"] + "/responses"
    body = {"model": "m", "input": prompt, "tools": [{"type": "custom", "name": "exec"}]}
    request = urllib.request.Request(url, json.dumps(body).encode())
    try:
        with urllib.request.urlopen(request) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_settings_have_the_model_while_it_is_there_and_a_tour_that_leaves_the_script_is_an_error() -> None:
    with pytest.raises(HostError, match="turn 2 was never asked for"), scripted_model("responses"):
        providers = {provider.name: provider for provider in load_settings(None).providers}
        assert providers[PROVIDER].apis == ("responses",)
        assert providers[PROVIDER].key.absent
        assert _ask("Short help that is exactly as long as allowed is cut off.") == 200
        assert _ask("What is this?") == 400
    assert not [name for name in os.environ if name.startswith("CLOISTER_MODELS_DEMO")]


def test_every_turn_of_the_tour_can_be_played() -> None:
    script = read_script((files("cloister.demo") / "turns.toml").read_bytes(), source="turns.toml")
    assert script.turns
    assert script.turns[-1].say
