from datetime import timedelta

import pytest

from cloister.errors import NotFoundError
from cloister.intake import Intake
from cloister.model.sandbox import Commit
from cloister.model.snapshot import SnapshotRecord
from cloister.sandboxes.fake import FakeNode

from .conftest import FEATURE, NOW, TIP, WRITTEN, environment_text


async def test_a_preview_says_what_would_run_and_accepts_nothing(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[FEATURE, "package.json"] = b'{"dependencies": {"a": "1"}}'
    preview = await intake.repositories.preview("/srv/project", "feature", None)
    assert (preview.environment.name, preview.revision.commit) == ("/srv/project", FEATURE)
    assert [step.tool for step in preview.needs.scripts.plan.steps] == ["npm"]
    assert preview.needs.scripts.differing == ("package.json",)
    own = await intake.repositories.preview(
        "/srv/project", "feature", environment_text('[setup]\nscript = "make deps"\n')
    )
    assert (own.needs.scripts.setup, own.needs.scripts.plan.steps) == ("make deps", ())
    with pytest.raises(NotFoundError):
        await intake.repositories.preview("/srv/project", "none", None)
    assert await intake.tasks() == []


async def test_an_import_reads_the_asked_commit_and_accepts_nothing(
    intake: Intake, files: dict[tuple[Commit, str], bytes]
) -> None:
    files[TIP, ".devcontainer.json"] = b'{"postCreateCommand": "make tip"}'
    files[FEATURE, ".devcontainer.json"] = b'{"containerEnv": {"ROOT": "${containerWorkspaceFolder}"}}'
    files[FEATURE, ".devcontainer/web/devcontainer.json"] = b'{"postCreateCommand": "make web"}'
    assert "make tip" in (await intake.repositories.import_environment("/srv/project", None)).text
    imported = await intake.repositories.import_environment("/srv/project", "feature")
    assert 'ROOT = "/workspace/project"' in imported.text
    assert imported.others == (".devcontainer/web/devcontainer.json",)
    chosen = await intake.repositories.import_environment("/srv/project", "feature", imported.others[0])
    assert "make web" in chosen.text and chosen.others == (".devcontainer.json",)
    assert await intake.tasks() == []


@pytest.mark.parametrize("path", [None, ".devcontainer.json", "README", "../README", ".cursor/environment.json"])
async def test_an_import_of_what_is_not_there_names_what_is(
    intake: Intake, files: dict[tuple[Commit, str], bytes], path: str | None
) -> None:
    files[TIP, "README"] = b"x"
    if path is not None:
        files[TIP, ".openhands/setup.sh"] = b"make"
    with pytest.raises(NotFoundError, match="nothing to import at main") as caught:
        await intake.repositories.import_environment("/srv/project", None, path)
    assert (path or "copilot-setup-steps.yml") in str(caught.value)
    assert ("there is .openhands/setup.sh" in str(caught.value)) == (path is not None)


async def test_why_names_the_parts_that_differ_and_changes_nothing(intake: Intake, node: FakeNode) -> None:
    await intake.set_secret("web", "TOKEN", "hunter2")
    text = 'name = "web"\n[secrets]\nTOKEN = {}\n[setup]\nscript = "make deps"\n'
    first = await intake.repositories.why("/srv/project", None, environment_text(text))
    assert (first.fit.reason, first.fit.nearest, first.last_miss) == ("first use of this environment", None, None)
    await intake.images.ensure("base")
    cold = await intake.repositories.why("/srv/project", None, environment_text(text))
    await intake.catalog.add(
        SnapshotRecord(
            key=cold.recipe.key,
            environment="web",
            repository="/srv/project",
            commit=TIP,
            parts=cold.recipe.parts,
            created_at=NOW - timedelta(minutes=1),
            expires_at=NOW + timedelta(hours=1),
        )
    )
    assert (
        await intake.repositories.why("/srv/project", None, environment_text(text))
    ).fit.reason == "its disk is gone"
    node.snapshots.add(cold.recipe.key)
    warm = await intake.repositories.why("/srv/project", None, environment_text(text))
    assert (warm.fit.reason, warm.differing) == (None, frozenset())
    other = await intake.repositories.why("/srv/project", None, environment_text(text.replace("deps", "all")))
    assert (other.fit.reason, other.differing) == ("changed: setup script", {"setup script"})
    short = await intake.repositories.why("/srv/project", None, environment_text(text + '[cache]\nttl = "30s"\n'))
    assert short.fit.reason == "expired"
    await intake.set_secret("web", "TOKEN", "hunter3")
    rotated = await intake.repositories.why("/srv/project", None, environment_text(text))
    assert rotated.fit.reason == "changed: secrets"
    assert node.snapshots == {cold.recipe.key}
    assert await intake.tasks() == []


async def test_why_tells_of_the_disk_that_is_a_refs_own(
    intake: Intake, files: dict[tuple[Commit, str], bytes], node: FakeNode
) -> None:
    for commit, locked in ((TIP, b"1"), (FEATURE, b"2"), (WRITTEN, b"2")):
        files[commit, "package.json"] = b"{}"
        files[commit, "package-lock.json"] = locked
    assert (await intake.repositories.why("/srv/project", None, None)).own is None
    assert (await intake.repositories.why("/srv/project", "cloister/t0", None)).own is None
    answer = await intake.repositories.why("/srv/project", "feature", None)
    assert answer.own is not None
    assert (answer.own.ref, answer.own.reason) == ("feature", "first use of this environment")
    assert answer.own.key != answer.recipe.key
    shared = (await intake.repositories.why("/srv/project", None, None)).recipe
    assert answer.recipe == shared
