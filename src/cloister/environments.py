"""Environments as objects: which one a task gets, and those that are stored."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cloister.environment_file import REPOSITORY_FILE, read_environment
from cloister.errors import ConflictError, DeniedError, EnvironmentFileError, NotFoundError, UsageError
from cloister.model.environment import Environment
from cloister.model.environment_source import EnvironmentSource, SourceKind, source_to_text
from cloister.model.request import EnvironmentChoice, EnvironmentName, EnvironmentText, RepositoryFile
from cloister.model.stored_environment import StoredEnvironment, check_stored_name, unknown
from cloister.model.task import Repository, Revision
from cloister.protocols import EnvironmentStore, Forge, Vault
from cloister.repository_address import is_path, parse_repository
from cloister.request_checks import check_limits, check_ref


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentReport:
    """A version of a stored environment, and what it says."""

    stored: StoredEnvironment
    environment: Environment | None
    """None when this Cloister cannot read the text any more."""
    problem: str
    """Why not; else empty."""
    without_value: tuple[str, ...]
    """Names of its secrets that the vault has no value for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environments:
    """The part of the front door that keeps environments. What is wrong is refused, and changes nothing."""

    store: EnvironmentStore
    forge: Forge
    vault: Vault
    now: Callable[[], datetime]
    """Aware, UTC."""

    async def read(
        self, choice: EnvironmentChoice | None, repository: Repository, revision: Revision
    ) -> tuple[Environment, EnvironmentSource]:
        """Return the chosen environment, else the repository's at the base commit, else the defaults.

        NotFoundError for a name that is not stored, EnvironmentFileError for a text that is none.
        """
        match choice:
            case EnvironmentName():
                stored = await self.get(choice.name, choice.version)
                return _read(stored), EnvironmentSource(kind=SourceKind.STORED, version=stored.version)
            case EnvironmentText():
                found = read_environment(choice.raw, source=choice.source, default_name=repository.address)
                return found, EnvironmentSource.of_file(choice.source)
        # What an agent wrote must not choose what it gets: as with a fork, the default branch's file counts.
        commit = revision.default_commit if revision.foreign else revision.commit
        raw = await self.forge.read_file(repository, commit, REPOSITORY_FILE)
        if raw is None:
            source = EnvironmentSource(kind=SourceKind.DEFAULTS)
        else:
            source = EnvironmentSource(kind=SourceKind.REPOSITORY, file=REPOSITORY_FILE, commit=commit)
        return read_environment(raw or b"", source=source_to_text(source), default_name=repository.address), source

    async def create(
        self, name: str, content: EnvironmentText | RepositoryFile, *, paths: bool = False
    ) -> EnvironmentReport:
        """Store a text under a name that is not in use; on disk when this returns.

        With `paths`, its repository may be a path of this machine, and anywhere; else that is a DeniedError.
        Raises ConflictError when it is in use, UsageError when it cannot be a name, and as `read` for the text.
        """
        try:
            check_stored_name(name)
        except ValueError as error:
            raise UsageError(f"{name!r} cannot be stored: {error}") from error
        return await self._add(name, content, after=None, paths=paths)

    async def edit(
        self, name: str, content: EnvironmentText | RepositoryFile, *, base: int | None = None, paths: bool = False
    ) -> EnvironmentReport:
        """Store the next version. A text that is as the newest version's makes none. `paths` as for `create`.

        `base` is the version that was changed: ConflictError when there is a newer one. None is the newest.
        """
        newest = await self.store.find(name)
        if newest is None and base is None:
            raise await self._unknown(name)
        return await self._add(name, content, after=newest.version if base is None and newest else base, paths=paths)

    async def get(self, name: str, version: int | None = None) -> StoredEnvironment:
        """The newest version, or that one, deleted or not. NotFoundError names what there is."""
        stored = await self.store.find(name, version)
        if stored is not None:
            return stored
        versions = await self.store.versions(name)
        if version is None or not versions:
            raise await self._unknown(name)
        raise NotFoundError(f"environment {name!r} has no version {version}; the newest is {versions[0].version}")

    async def describe(self, name: str, version: int | None = None) -> EnvironmentReport:
        """As `get`, with what the text says."""
        return await self._describe(await self.get(name, version))

    async def list(self) -> Sequence[StoredEnvironment]:
        """The newest version of each, by name."""
        return await self.store.list()

    async def versions(self, name: str) -> Sequence[StoredEnvironment]:
        """All versions of a name, newest first, also of a deleted one. NotFoundError."""
        versions = await self.store.versions(name)
        if not versions:
            raise await self._unknown(name)
        return versions

    async def delete(self, name: str, *, with_secrets: bool) -> Sequence[str]:
        """Take a name out of use, and return which secrets went with it.

        ConflictError while its vault has secrets, unless they are to be forgotten too: whoever creates an environment
        of that name later must not find them. NotFoundError.
        """
        await self.get(name)
        kept = [secret.name for secret in await self.vault.list(name)]
        if kept and not with_secrets:
            raise ConflictError(
                f"the vault of environment {name!r} has secrets: {', '.join(kept)}",
                hint=f"to forget them too: cloister env delete {name} --with-secrets",
            )
        for secret in kept:  # first: what is left of a delete that was cut off is not a vault without an owner
            await self.vault.remove(name, secret)
        if not await self.store.delete(name, deleted_at=self.now()):
            raise await self._unknown(name)
        return kept

    async def _add(
        self, name: str, content: EnvironmentText | RepositoryFile, *, after: int | None, paths: bool
    ) -> EnvironmentReport:
        raw, source, origin = await self._content(content, guarded=not paths)
        environment = read_environment(raw, source=source, default_name=name)
        if environment.name != name:
            raise EnvironmentFileError(
                f"{source}: it names itself {environment.name!r}, and is to be stored as {name!r}",
                hint="leave its key `name` out, or let both be the same",
            )
        check_limits(environment.limits)
        if environment.repository is not None:
            _check_repository(environment.repository, source, paths=paths)
        newest = await self.store.find(name)
        text = raw.decode()
        if newest is None or (after, text) != (newest.version, newest.text):
            newest = await self.store.add(name, text, origin=origin, created_at=self.now(), after=after)
        return await self._describe(newest)

    async def _content(self, content: EnvironmentText | RepositoryFile, *, guarded: bool) -> tuple[bytes, str, str]:
        """Return a text, its name in messages, and where it came from."""
        if isinstance(content, EnvironmentText):
            origin = content.source.encode(errors="replace").decode()
            return content.raw, content.source, origin
        check_ref(content.ref)
        repository = parse_repository(content.repository, guarded=guarded)
        revision = await self.forge.resolve(repository, content.ref)
        if revision.foreign:
            raise UsageError(
                f"an agent wrote {revision.ref}, and no person has merged it",
                hint="read its environment file, and give what you want of it: --file FILE",
            )
        raw = await self.forge.read_file(repository, revision.commit, REPOSITORY_FILE)
        source = f"{REPOSITORY_FILE} at {revision.commit[:12]}"
        if raw is None:
            raise NotFoundError(f"{repository.address} has no {source}", hint="give a file: --file FILE")
        return raw, source, f"{source} of {repository.address}"

    async def _describe(self, stored: StoredEnvironment) -> EnvironmentReport:
        try:
            environment, problem = _read(stored), ""
        except EnvironmentFileError as error:
            environment, problem = None, error.message
        wanted = [secret.name for secret in environment.secrets] if environment else []
        kept = {secret.name for secret in await self.vault.list(stored.name)} if wanted else set()
        missing = tuple(name for name in wanted if name not in kept)
        return EnvironmentReport(stored=stored, environment=environment, problem=problem, without_value=missing)

    async def _unknown(self, name: str) -> NotFoundError:
        versions = await self.store.versions(name)
        known = [stored.name for stored in await self.store.list()]
        return unknown(name, known=known, deleted_at=versions[0].deleted_at if versions else None)


def _check_repository(address: str, source: str, *, paths: bool) -> None:
    try:
        parse_repository(address)
    except UsageError as error:
        raise EnvironmentFileError(f"{source}: repository: {error.message}") from error
    if is_path(address) and not paths:
        raise DeniedError(f"{source}: repository: only the owner of this machine may name a path of it")


def _read(stored: StoredEnvironment) -> Environment:
    source = f"environment {stored.name}, version {stored.version}"
    try:
        return read_environment(stored.text.encode(), source=source, default_name=stored.name)
    except EnvironmentFileError as error:
        raise EnvironmentFileError(error.message, hint=f"correct it: cloister env edit {stored.name}") from error
