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
    command: str
    locked: str | None = None
    """With the lock file; None when the command is the same."""
    program: str
    package: str
    """Of Debian, that has the program."""
    variables: Mapping[str, str] = field(default_factory=dict)


_MANAGERS = (
    _Manager(
        tool="go",
        manifests=("go.work", "go.mod"),
        lock="go.sum",
        command="go mod download",
        program="go",
        package="golang-go ca-certificates",
    ),
    _Manager(
        tool="cargo",
        manifests=("Cargo.toml",),
        lock="Cargo.lock",
        command="cargo fetch",
        locked="cargo fetch --locked",
        program="cargo",
        package="cargo",
    ),
    _Manager(
        tool="bundler",
        manifests=("Gemfile",),
        lock="Gemfile.lock",
        command="bundle install",
        locked="BUNDLE_FROZEN=true bundle install",
        program="bundle",
        package="ruby-bundler ruby-dev",
        variables={"BUNDLE_PATH": "/opt/bundle"},
    ),
    _Manager(
        tool="composer",
        manifests=("composer.json",),
        lock="composer.lock",
        command="composer install --no-interaction --no-progress",
        program="composer",
        package="composer php-xml php-mbstring unzip",
        variables={"COMPOSER_ALLOW_SUPERUSER": "1"},
    ),
    _Manager(
        tool="maven",
        manifests=("pom.xml",),
        command="mvn --batch-mode --quiet dependency:go-offline",
        program="mvn",
        package="maven default-jdk-headless",
    ),
    _Manager(
        tool="gradle",
        manifests=("settings.gradle", "settings.gradle.kts", "build.gradle", "build.gradle.kts"),
        lock="gradle.lockfile",
        command="gradle --no-daemon --console=plain testClasses",
        program="gradle",
        package="gradle default-jdk-headless",
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
    return InstallStep(
        tool=manager.tool,
        folder=folder,
        reason=lock or manifests[0],
        commands=((lock and manager.locked) or manager.command,),
        inputs=(lock,) if lock else tuple(manifests),
        prelude=debian_package(manager.program, manager.package),
        variables=manager.variables,
    )
