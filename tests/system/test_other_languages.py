"""Go, Rust, Ruby, PHP and Java in one repository: set up from registries in folders, then tested without a network."""

from cloister.cli.terminal import neutralize
from cloister.model.image import Image
from cloister.model.task import Verdict

from .installation import Installation
from .languages import BUNDLER_PROJECT, CARGO_PROJECT, COMPOSER_PROJECT, GRADLE_PROJECT, MAVEN_PROJECT, go_project

PROJECTS = {
    "go": go_project(),
    "cargo": CARGO_PROJECT,
    "bundler": BUNDLER_PROJECT,
    "composer": COMPOSER_PROJECT,
    "maven": MAVEN_PROJECT,
    "gradle": GRADLE_PROJECT,
}
ENVIRONMENT = """
image = "universal"
[variables]
GOPROXY = "file:///workspace/project/go/registry"
GONOSUMDB = "example.com"
"""
TEST = """
set -e
(cd go && GOPROXY=off go test ./... && echo go passed)
(cd cargo && cargo test --offline --quiet && echo cargo passed)
(cd bundler && bundle exec ruby test.rb && echo bundler passed)
(cd composer && php test.php && echo composer passed)
(cd maven && mvn --offline --batch-mode --quiet test && grep -q 'tests="1"' target/surefire-reports/TEST-*.xml)
echo maven passed
(cd gradle && gradle --offline --no-daemon --quiet test && grep -q 'tests="1"' build/test-results/test/TEST-*.xml)
echo gradle passed
"""


async def test_each_is_set_up_in_its_folder_and_tested_offline(installation: Installation, universal: Image) -> None:
    for folder, files in PROJECTS.items():
        for name, content in files.items():
            path = installation.project.path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content if isinstance(content, bytes) else content.encode())
    installation.project.commit({})
    async with installation.opened() as running:
        finished = await running.run(TEST, environment=ENVIRONMENT)
    assert finished.outcome.verdict is Verdict.SUCCEEDED, finished.outcome.reason
    (planned,) = [event["steps"] for event in finished.events if event["event"] == "setup_planned"]
    assert {step.partition(" ")[0] for step in planned} == set(PROJECTS)
    printed = neutralize(finished.printed("agent"))  # Maven resets colours that it never set
    passed = [line.partition(" ")[0] for line in printed.splitlines() if line.endswith(" passed")]
    assert passed == list(PROJECTS)
    assert finished.diff == "", "what setup and tests leave is ignored, or was there before the agent"
