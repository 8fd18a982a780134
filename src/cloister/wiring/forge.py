"""The forge: where repositories live, and what is published and reviewed there."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from cloister.environments import Environments
from cloister.forges.branches import MirrorBranches
from cloister.forges.github.checks import GitHubChecks
from cloister.forges.github.credentials import LoginSource
from cloister.forges.github.host import GitHubHost
from cloister.forges.github.job_logs import JobLogs
from cloister.forges.github.reviews import GitHubReviews
from cloister.forges.signing import CommitSigner
from cloister.github_settings import GITHUB_WEBHOOK
from cloister.protocols import Forge, TaskStore, Vault
from cloister.pull_requests import PullRequests
from cloister.reviews import Reviews
from cloister.settings import Settings
from cloister.stores.database import Database
from cloister.stores.publications import SqlPublicationStore
from cloister.stores.reviews import SqlReviewStore
from cloister.wiring.clock import utc_now
from cloister.wiring.network import reach_of_forge


@asynccontextmanager
async def open_host(settings: Settings, vault: Vault) -> AsyncIterator[GitHubHost]:
    """Return the forge of the settings, which is asked nothing before anybody needs it."""
    table = settings.github
    source = LoginSource(
        app=table.app,
        key_file=Path(table.key_file) if table.key_file else None,
        names_webhook_secret=table.webhook_secret is not None,
        token_file=Path(table.token_file) if table.token_file else None,
    )
    webhook = f"{settings.public_url.rstrip('/')}{GITHUB_WEBHOOK}" if settings.public_url else None
    async with GitHubHost.open(table.url, vault, source, only=table.repositories, webhook=webhook) as host:
        yield host


def pull_requests_of(
    settings: Settings, database: Database, tasks: TaskStore, forge: Forge, host: GitHubHost
) -> PullRequests:
    """Return what publishes changes."""
    return PullRequests(
        tasks=tasks,
        publications=SqlPublicationStore(database),
        forge=forge,
        host=host,
        branches=MirrorBranches(
            forge=forge,
            host=host,
            reach=reach_of_forge(settings),
            signer=CommitSigner(
                ssh_key=Path(settings.github.signing_key) if settings.github.signing_key else None,
                gpg_key=Path(settings.github.signing_gpg_key) if settings.github.signing_gpg_key else None,
            ),
        ),
        now=utc_now,
        public_url=settings.public_url,
        checks=GitHubChecks(host, JobLogs(host, replace(reach_of_forge(settings), what="log of a job").find)),
    )


def reviews_of(
    settings: Settings, database: Database, tasks: TaskStore, environments: Environments, host: GitHubHost
) -> Reviews:
    """Return what reviews pull requests."""
    return Reviews(
        tasks=tasks,
        known=SqlReviewStore(database),
        forge=environments.forge,
        host=host,
        board=GitHubReviews(host),
        environments=environments,
        now=utc_now,
        public_url=settings.public_url,
    )
