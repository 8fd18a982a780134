"""What a program finds in its environment: what cannot be replaced, and that the reference says it all."""

import re
from collections import ChainMap
from pathlib import Path

import pytest

from cloister.model.container import Foundation, container_variables
from cloister.model.environment import Environment
from cloister.model.model_access import ModelAccess, ModelApi
from cloister.model.phase import Phase

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "sandbox.md"


@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "CLOISTER_PHASE", "NO_PROXY"])
def test_a_variable_cannot_change_what_the_table_of_phases_says(new_task, name: str) -> None:
    plain = container_variables(new_task(), Phase.AGENT)
    task = new_task(environment=Environment(name="web", variables={name: "mine"}))
    assert container_variables(task, Phase.AGENT)[name] == plain[name]


def test_a_variable_may_replace_the_rest(new_task) -> None:
    task = new_task(environment=Environment(name="web", variables={"PATH": "/opt/bin", "DATABASE_URL": "sqlite://"}))
    variables = container_variables(task, Phase.SETUP)
    assert (variables["PATH"], variables["DATABASE_URL"]) == ("/opt/bin", "sqlite://")


PROTECTED = ("HTTPS_PROXY", "https_proxy", "no_proxy", "SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "CLOISTER_TASK", "HOME")


def test_what_an_image_says_lies_below_everything_else(new_task) -> None:
    image = dict.fromkeys((*PROTECTED, "CLOISTER_OTHER", "LANG", "DATABASE_URL", "GOROOT", "OWN"), "of the image")
    task = new_task(environment=Environment(name="web", variables={"DATABASE_URL": "sqlite://"}))
    foundation = Foundation(variables={"GOROOT": "/opt/go"}, image=image)
    plain, found = container_variables(task, Phase.AGENT), container_variables(task, Phase.AGENT, foundation)
    assert found == {**plain, "GOROOT": "/opt/go", "OWN": "of the image"}


def test_an_images_path_takes_the_place_of_the_usual_one_behind_what_was_installed(new_task) -> None:
    foundation = Foundation(path=("/venv/bin",), image={"PATH": "/opt/own:/bin"})
    assert container_variables(new_task(), Phase.SETUP, foundation)["PATH"] == "/venv/bin:/opt/own:/bin"
    usual = container_variables(new_task(), Phase.SETUP)["PATH"]
    assert container_variables(new_task(), Phase.SETUP, Foundation(image={"PATH": ""}))["PATH"] == usual


def test_pip_installs_without_a_virtual_environment(new_task) -> None:
    assert container_variables(new_task(), Phase.SETUP)["PIP_BREAK_SYSTEM_PACKAGES"] == "1"


def test_only_what_comes_after_setup_reads_its_bashrc(new_task) -> None:
    assert "BASH_ENV" not in container_variables(new_task(), Phase.SETUP)
    assert container_variables(new_task(), Phase.AGENT)["BASH_ENV"] == "/root/.bashrc"


def test_the_reference_lists_every_variable_and_no_other(new_task) -> None:
    table = PAGE.read_text().partition("## Environment variables")[2].partition("## Scripts")[0]
    cells = [line.split("|")[1] for line in table.splitlines() if line.startswith("| `")]
    listed = {name for cell in cells for name in re.findall(r"`([A-Z_]+)`", cell)}
    model = [
        ModelAccess(provider="p", api=api, base_url="http://127.0.0.1:1", model="m", placeholder="x").variables
        for api in ModelApi
    ]
    variables = ChainMap(dict(container_variables(new_task(), Phase.AGENT)), *map(dict, model))
    assert listed == {name.upper() for name in variables}
