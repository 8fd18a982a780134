"""Go, Rust, Ruby, PHP and Java: each has one usual package manager."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from cloister.detection.tools import debian_package
from cloister.model.project import ProjectFiles, path_in
from cloister.model.setup_plan import InstallStep


@dataclass(frozen=True, slots=True, kw_only=True)
class _Manager:
    """How one package manager is told from its files, and what it is asked to do."""

    tool: str
    manifests: tuple[str, ...]
    """Any of these is a project of its."""
    lock: str | None = None
    commands: tuple[str, ...]
    """`{program}` is the wrapper, where there is one."""
    locked: str | None = None
    """With the lock file; None when the commands are the same."""
    program: str
    package: str
    """Of Debian, that has the program."""
    variables: Mapping[str, str] = field(default_factory=dict)
    wrapper: str | None = None
    """A script of the project that gets hold of the version it wants, and is called in the program's place."""
    wrapper_needs: tuple[str, str] = ("", "")
    """A program, and Debian's package of it, that is enough where there is a wrapper."""
    wrapper_version: str = ""
    """The file that names that version."""


_JDK = ("javac", "default-jdk-headless")

# A pattern of all tests and no method: surefire fetches what runs them only when there is a class to run, and neither
# `dependency:go-offline` nor `test-compile` asks for it. (`go-offline` also fails where modules need each other.)
_NO_TEST = "-Dtest='*#none' -DfailIfNoTests=false -Dsurefire.failIfNoSpecifiedTests=false"

# Compiling fetches what compiling needs; what tests need to run (`testRuntimeOnly`) is fetched when it is asked for.
_FETCH_ALL = "/tmp/cloister-fetch.gradle"
_GRADLE_SCRIPT = (
    'allprojects { tasks.create("cloisterFetch").doLast { project.configurations.findAll { it.canBeResolved }'
    ".each { it.incoming.artifactView { lenient(true) }.files.files } } }"
)


_MANAGERS = (
    _Manager(
        tool="go",
        manifests=("go.work", "go.mod"),
        lock="go.sum",
        commands=("go mod download",),
        program="go",
        package="golang-go ca-certificates",
    ),
    _Manager(
        tool="cargo",
        manifests=("Cargo.toml",),
        lock="Cargo.lock",
        commands=("cargo fetch",),
        locked="cargo fetch --locked",
        program="cargo",
        package="cargo",
    ),
    _Manager(
        tool="bundler",
        manifests=("Gemfile",),
        lock="Gemfile.lock",
        commands=("bundle install",),
        locked="BUNDLE_FROZEN=true bundle install",
        program="bundle",
        package="ruby-bundler ruby-dev",
        variables={"BUNDLE_PATH": "/opt/bundle", "BUNDLE_SILENCE_ROOT_WARNING": "true"},
    ),
    _Manager(
        tool="composer",
        manifests=("composer.json",),
        lock="composer.lock",
        commands=("composer install --no-interaction --no-progress",),
        program="composer",
        package="composer php-curl php-mbstring php-xml unzip",
        variables={"COMPOSER_ALLOW_SUPERUSER": "1"},
    ),
    _Manager(
        tool="maven",
        manifests=("pom.xml",),
        commands=(f"{{program}} --batch-mode --quiet test {_NO_TEST}",),
        program="mvn",
        package="maven default-jdk-headless",
        wrapper="mvnw",
        wrapper_needs=_JDK,
        wrapper_version=".mvn/wrapper/maven-wrapper.properties",
    ),
    _Manager(
        tool="gradle",
        manifests=("settings.gradle", "settings.gradle.kts", "build.gradle", "build.gradle.kts"),
        lock="gradle.lockfile",
        commands=(
            f"echo '{_GRADLE_SCRIPT}' >{_FETCH_ALL}",
            "{program} --no-daemon --console=plain -Dorg.gradle.configuration-cache=false "
            f"--init-script {_FETCH_ALL} cloisterFetch testClasses",
        ),
        program="gradle",
        package="gradle default-jdk-headless",
        wrapper="gradlew",
        wrapper_needs=_JDK,
        wrapper_version="gradle/wrapper/gradle-wrapper.properties",
    ),
)


def steps(files: ProjectFiles) -> Iterator[InstallStep]:
    """Yield one step for each project; what lies below one without a lock file of its own is a part of it."""
    for manager in _MANAGERS:
        outer: list[str] = []
        for folder in files.folders_with(manager.manifests):
            lock = path_in(folder, manager.lock) if manager.lock else ""
            has_lock = lock in files.files
            if any(folder.startswith(f"{found}/" if found else "") for found in outer) and not has_lock:
                continue
            outer.append(folder)
            yield _step(manager, files, folder, lock if has_lock else None)


def _step(manager: _Manager, files: ProjectFiles, folder: str, lock: str | None) -> InstallStep:
    manifests = [path_in(folder, name) for name in manager.manifests if files.find(folder, name)]
    has_wrapper = manager.wrapper is not None and files.find(folder, manager.wrapper) is not None
    program = f"sh ./{manager.wrapper}" if has_wrapper else manager.program
    commands = (manager.locked,) if lock and manager.locked else manager.commands
    version = path_in(folder, manager.wrapper_version)
    return InstallStep(
        tool=manager.tool,
        folder=folder,
        reason=lock or manifests[0],
        commands=tuple(command.replace("{program}", program) for command in commands),
        inputs=(*((lock,) if lock else manifests), *((version,) if has_wrapper and version in files.files else ())),
        prelude=debian_package(*(manager.wrapper_needs if has_wrapper else (manager.program, manager.package))),
        variables=manager.variables,
    )
