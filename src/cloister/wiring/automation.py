"""What a server does by itself: schedules, webhooks, notifications, and the work that is asked for at the forge."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

from cloister.audit import Audit
from cloister.automation import Automation
from cloister.automation.notifications import Notifications
from cloister.automation.review_poster import ReviewPoster
from cloister.automation.schedules import Schedules
from cloister.automation.webhooks import Webhooks
from cloister.forges.github.host import GitHubHost
from cloister.forges.github.threads import GitHubThreads
from cloister.intake import Intake
from cloister.model.secret import SecretValue
from cloister.model.thread import Permission
from cloister.protocols import WebhookSender
from cloister.settings import Settings
from cloister.stores.asked import SqlAskedStore
from cloister.stores.audit import SqlAuditStore
from cloister.stores.database import Database
from cloister.stores.inbox import SqlInboxStore
from cloister.stores.notifications import SqlReceiverStore
from cloister.stores.publications import SqlPublicationStore
from cloister.stores.schedules import SqlScheduleStore
from cloister.stores.tokens import SqlTokenStore
from cloister.stores.users import SqlUserStore
from cloister.stores.webhooks import SqlWebhookStore
from cloister.tokens import Tokens
from cloister.triggers.gatekeeper import Gatekeeper, TriggerRules
from cloister.triggers.handling import Handler
from cloister.triggers.inbox import Inbox
from cloister.triggers.inbox_watcher import InboxWatcher, Unwatched
from cloister.triggers.signature import WebhookSecrets
from cloister.triggers.slow_lane import SlowLane
from cloister.users import Users
from cloister.wiring.clock import utc_now

if TYPE_CHECKING:
    from cloister.triggers.following import Following
    from cloister.triggers.mention import Command
    from cloister.triggers.reviewing import ReviewPace


def automation_of(
    settings: Settings,
    database: Database,
    intake: Intake,
    sender: WebhookSender,
    watcher: InboxWatcher | None = None,
) -> Automation:
    """Return what a server shall do by itself; `watcher` is told of deliveries."""
    return Automation(
        schedules=Schedules(store=SqlScheduleStore(database), intake=intake, now=utc_now),
        webhooks=Webhooks(store=SqlWebhookStore(database), vault=intake.vault, sender=sender, now=utc_now),
        inbox=_inbox_of(settings, database, intake, watcher or Unwatched()),
        notifications=Notifications(
            store=SqlReceiverStore(database),
            vault=intake.vault,
            sender=sender,
            intake=intake,
            tokens=Tokens(store=SqlTokenStore(database), now=utc_now),
            users=Users(store=SqlUserStore(database), rules={}, now=utc_now),
            now=utc_now,
            public_url=settings.public_url,
        ),
        reviews=ReviewPoster(reviews=intake.reviews, now=utc_now) if intake.reviews is not None else None,
        following=partial(_following_of, settings, database, intake),
    )


def _inbox_of(settings: Settings, database: Database, intake: Intake, watcher: InboxWatcher) -> Inbox:
    """Return what takes deliveries of the forge, and works them off."""
    table = settings.github
    given = [SecretValue(it.get_secret_value()) for it in (table.webhook_secret, table.webhook_secret_former) if it]
    secrets = WebhookSecrets(vault=intake.vault, given=given)
    lane = SlowLane()
    load = partial(_handlers_of, settings, database, intake, lane)
    return Inbox(store=SqlInboxStore(database), secrets=secrets, load=load, watcher=watcher, slow=lane, now=utc_now)


def _handlers_of(settings: Settings, database: Database, intake: Intake, lane: SlowLane) -> Sequence[Handler]:
    """Return what works deliveries off."""
    from cloister.triggers.mentions import Mentions  # here: no start waits for what servers alone need
    from cloister.triggers.reviewing import ReviewPace
    from cloister.triggers.starting import Starter

    threads, rules, host = _threads_of(intake), _trigger_rules_of(settings), intake.host
    assert host is not None
    gatekeeper = Gatekeeper(host=host, threads=threads, rules=rules)
    pace = ReviewPace(intake=intake, rules=rules)
    mentions = Mentions(
        gatekeeper=gatekeeper,
        threads=threads,
        store=SqlAskedStore(database),
        starter=Starter(
            intake=intake,
            threads=threads,
            publications=SqlPublicationStore(database),
            store=SqlAskedStore(database),
            rules=rules,
        ),
        audit=Audit(store=SqlAuditStore(database), now=utc_now),
        now=utc_now,
        public_url=settings.public_url,
        commands=_commands_of(intake, gatekeeper, pace, lane),
    )
    return (mentions, *_review_handlers_of(settings, intake, gatekeeper, pace, lane))


def _commands_of(intake: Intake, gatekeeper: Gatekeeper, pace: "ReviewPace", lane: SlowLane) -> "Mapping[str, Command]":
    """Return what words behind a mention stand for."""
    from cloister.triggers.review_command import ReviewCommand

    if intake.reviews is None:
        return {}
    review = ReviewCommand(
        rules=gatekeeper.rules,
        threads=gatekeeper.threads,
        intake=intake,
        reviews=intake.reviews,
        pace=pace,
        lane=lane,
    )
    return {review.word: review}


def _following_of(settings: Settings, database: Database, intake: Intake) -> "Following":
    from cloister.triggers.following import Following

    assert intake.pull_requests is not None
    return Following(
        intake=intake,
        pull_requests=intake.pull_requests,
        store=SqlAskedStore(database),
        threads=_threads_of(intake),
        now=utc_now,
        public_url=settings.public_url,
        draft=settings.github.draft,
    )


def _threads_of(intake: Intake) -> GitHubThreads:
    assert isinstance(intake.host, GitHubHost)
    return GitHubThreads(intake.host)


def _review_handlers_of(
    settings: Settings, intake: Intake, gatekeeper: Gatekeeper, pace: "ReviewPace", lane: SlowLane
) -> Sequence[Handler]:
    """Return what works off deliveries about reviews and checks."""
    from cloister.triggers.check_runs import ChecksAgain
    from cloister.triggers.failed_checks import FailedChecks
    from cloister.triggers.reviewing import AutomaticReviews

    rules, host, pulls, reviews = gatekeeper.rules, gatekeeper.host, intake.pull_requests, intake.reviews
    assert pulls is not None
    assert pulls.checks is not None
    assert reviews is not None
    return (
        AutomaticReviews(rules=rules, threads=gatekeeper.threads, intake=intake, reviews=reviews, pace=pace, lane=lane),
        ChecksAgain(
            gatekeeper=gatekeeper,
            intake=intake,
            forge=intake.forge,
            board=pulls.checks,
            publications=pulls.publications,
            public_url=settings.public_url,
        ),
        FailedChecks(
            rules=rules,
            intake=intake,
            host=host,
            board=pulls.checks,
            publications=pulls.publications,
            pull_requests=pulls,
            lane=lane,
        ),
    )


def _trigger_rules_of(settings: Settings) -> TriggerRules:
    """Return what the settings say about work that is asked for at the forge."""
    table = settings.github
    return TriggerRules(
        url=table.url,
        mention=table.mention,
        repositories=table.repositories,
        least=Permission[table.trigger_permission.upper()],
        own_login=table.own_login,
        label=table.label,
        assign=table.assign,
        draft=table.draft,
        per_person=table.tasks_per_person,
        per_repository=table.tasks_per_repository,
        review_all=table.review_all,
        fix_checks=table.fix_checks,
        environment=table.environment,
    )
