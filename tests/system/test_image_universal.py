"""The real image `universal` has what its manifest says, for those who work in it."""

import json
from pathlib import Path

from cloister.model.image import LANGUAGES, PACKAGE_MANAGERS, Image

from .installation import QUIET, Installation

PROBE = (Path(__file__).parent / "probes/toolchains.py").read_text()


async def test_every_version_of_the_manifest_answers_in_a_sandbox(installation: Installation, universal: Image) -> None:
    installation.project.commit({"probe.py": PROBE})
    async with installation.opened() as running:
        finished = await running.run("python3 probe.py", environment='image = "universal"\n' + QUIET)
    answers = json.loads(finished.printed("agent"))
    for toolchain, answer in zip(universal.toolchains, answers["toolchains"], strict=True):
        assert toolchain.version in answer, (toolchain, answer)
    for name, version in universal.package_managers.items():
        assert version in answers["managers"][name], (name, answers["managers"][name])
    assert {name: answers["builds"][name] for name in ("rust", "java", "global npm")} == {
        "rust": "rust",
        "java": "java",
        "global npm": "/usr/local",
    }
    assert answers["builds"]["c"].startswith("1."), answers["builds"]["c"]
    assert answers["go builds"] == ["go", "go"]


def test_it_has_the_languages_their_versions_and_their_package_managers(universal: Image) -> None:
    majors: dict[str, list[str]] = {}
    for toolchain in universal.toolchains:
        majors.setdefault(toolchain.language, []).append(toolchain.version.split(".")[0])
    assert set(majors) == set(LANGUAGES) - {"swift"}
    assert sorted(majors["node"]) == ["20", "22", "24"]
    assert len(majors["go"]) >= 3
    promised = {name for names in PACKAGE_MANAGERS.values() for name in names} - {"bun"}
    assert set(universal.package_managers) == promised


def test_of_each_language_the_first_needs_no_choosing_and_the_others_do(universal: Image) -> None:
    seen: set[str] = set()
    for toolchain in universal.toolchains:
        assert bool(toolchain.path) is (toolchain.language in seen), toolchain
        seen.add(toolchain.language)
