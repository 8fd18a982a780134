"""The tables, on one page. A test keeps them equal to what the migrations make."""

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    DateTime,
    Dialect,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    TypeDecorator,
    text,
)


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC times. SQLite keeps no zone, so the zone is checked on the way in and put back on the way out."""

    impl = DateTime
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse a naive time: nobody knows what it means."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a naive time cannot be stored")
        return value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Put the zone back."""
        return None if value is None else value.replace(tzinfo=UTC)


METADATA = MetaData()

TASKS = Table(
    "tasks",
    METADATA,
    Column("position", Integer, primary_key=True),  # the order of acceptance
    Column("id", Text, nullable=False, unique=True),
    Column("document", Text, nullable=False),  # the task as JSON, without its bytes
    Column("patch", LargeBinary),  # compressed; absent when empty
    Column("sealed_secrets", LargeBinary),
    Column("state", Text, nullable=False),
    Column("verdict", Text),
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("last_seq", Integer, nullable=False),  # of its events
    Column("environment", Text),  # its name
    Column("archived", Boolean, nullable=False),
    Index("tasks_by_environment", "environment", "position"),
    Index("tasks_by_sight", "archived", "position"),
    Index("tasks_by_acceptance", "accepted_at", "state", "verdict"),  # a dashboard counts by it alone
)

ATTEMPTS = Table(
    "attempts",
    METADATA,
    Column("position", Integer, primary_key=True),  # the order in which they are claimed
    Column("id", Text, nullable=False, unique=True),
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("number", Integer, nullable=False),
    Column("retry", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("worker", Text),  # of the newest claim
    Column("cancel_requested", Boolean, nullable=False),
    Column("cancel_grace_seconds", Float),
    Column("cancel_collect", Boolean),
    Column("verdict", Text),
    Column("outcome", Text),  # as JSON, without the diff
    Column("diff", LargeBinary),  # compressed; absent when there is no change
    Column("asked_by", Text),  # this and the priority say which lane it waits in
    Column("priority", Text),
    Column("environment", Text),  # its name
    Index("attempts_by_task", "task", "number"),
    Index("attempts_by_lane", "state", "asked_by", "priority", "position"),
)

EFFORTS = Table(
    "efforts",  # of an attempt that is over, what is counted: short, so that all of a year can be
    METADATA,
    Column("attempt", Text, ForeignKey("attempts.id", ondelete="CASCADE"), primary_key=True),
    Column("accepted_at", UtcDateTime, nullable=False),  # its task was
    Column("agent", Text, nullable=False),
    Column("verdict", Text, nullable=False),
    Column("start_seconds", Float),  # from acceptance to the agent's start
    Column("calls", Integer),  # of models
    Column("input_tokens", Integer),
    Column("output_tokens", Integer),
    Column("cost", Float),
    Index(
        "efforts_by_acceptance",
        "accepted_at",
        "start_seconds",
        "agent",
        "verdict",
        "calls",
        "input_tokens",
        "output_tokens",
        "cost",
    ),
)

LANES = Table(
    "lanes",
    METADATA,
    Column("asked_by", Text, primary_key=True),
    Column("priority", Text, primary_key=True),
    Column("served", Integer, nullable=False),  # number of its last start, counted over all lanes
    Column("waiting", Integer, nullable=False, server_default="0"),  # attempts; counting them takes time
)

TURNS = Table(
    "turns",  # after the first, which is the task itself
    METADATA,
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("prompt", Text, nullable=False),
    Column("continues", Text, nullable=False),  # the attempt that it goes on from
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("seq", Integer, nullable=False),  # of the event that it begins with
    Column("files", JSON),  # that came with the prompt
    Column("given", Text),  # whose those are in the store of files
)

EVENTS = Table(
    "events",
    METADATA,
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("attempt", Text),
    Column("phase", Text),
    Column("name", Text, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("command", Text),  # of output events alone
    Column("output_end", Integer),
    sqlite_with_rowid=False,
)
Index(
    "events_by_command",
    EVENTS.c.attempt,
    EVENTS.c.command,
    EVENTS.c.output_end,
    sqlite_where=EVENTS.c.command.is_not(None),
)
for _counted in ("egress_allowed", "egress_refused", "snapshot_hit", "snapshot_missed"):
    Index(f"events_{_counted}", EVENTS.c.at, sqlite_where=text(f"name = '{_counted}'"))

RECORDS = Table(
    "records",
    METADATA,
    Column("attempt", Text, primary_key=True),
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("envelope", LargeBinary, nullable=False),  # compressed
)

SNAPSHOTS = Table(
    "snapshots",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("environment", Text, nullable=False),
    Column("repository", Text, nullable=False),
    Column("commit", Text, nullable=False),
    Column("parts", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("path", JSON),
    Column("variables", JSON),
    Column("last_used_at", UtcDateTime),
    Column("size_bytes", BigInteger),  # absent until it is counted
    Column("ref", Text),  # of one that is for this ref alone
    Column("below", Text),  # key of the one that it stands on
    Column("attempt", Text),  # whose final disk it is, for follow-ups; absent for what setup made
    Index("snapshots_by_use", "environment", "repository", "created_at"),
)

ENVIRONMENTS = Table(
    "environments",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("text", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("deleted_at", UtcDateTime),  # of the name, at the version that was the newest then
)

SECRETS = Table(
    "secrets",
    METADATA,
    Column("environment", Text, primary_key=True),
    Column("name", Text, primary_key=True),
    Column("version", Text, nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("rule", Text),  # of a brokered secret, as JSON
)

REQUEST_KEYS = Table(
    "request_keys",
    METADATA,
    Column("digest", Text, primary_key=True),  # of the key and whose it is
    Column("fingerprint", Text, nullable=False),  # of the request
    Column("at", UtcDateTime, nullable=False),
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("turn", Integer, nullable=False),
    Index("request_keys_by_age", "at"),
    Index("request_keys_by_task", "task"),
)

TOKENS = Table(
    "tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),  # of the text that its holder sends
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("digest", Text, nullable=False, unique=True),  # of the text in its browser's cookie
    Column("token", Text),  # that it was begun with
    Column("address", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("expires_at", UtcDateTime, nullable=False),
    Column("last_used_at", UtcDateTime, nullable=False),
    Column("user", Text),  # who began it, without a token
)

AUDIT = Table(
    "audit",  # triggers refuse changes and removals
    METADATA,
    Column("number", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("who", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("method", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("about", JSON, nullable=False),
    Column("fields", JSON, nullable=False),
    Column("status", Integer, nullable=False),
)

SCHEDULES = Table(
    "schedules",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("cron", Text, nullable=False),
    Column("timezone", Text, nullable=False),
    Column("missed", Text, nullable=False),
    Column("request", Text, nullable=False),  # as JSON
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("next_at", UtcDateTime),  # absent while it is paused
)

SCHEDULED_RUNS = Table(
    "scheduled_runs",
    METADATA,
    Column("schedule", Text, ForeignKey("schedules.name", ondelete="CASCADE"), primary_key=True),
    Column("due_at", UtcDateTime, primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("missed", Integer, nullable=False),
    Column("task", Text),
    Column("reason", Text, nullable=False),
)

USERS = Table(
    "users",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("last_login_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
    Index("users_by_subject", "issuer", "subject", unique=True),
)

WEBHOOKS = Table(
    "webhooks",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("events", JSON, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("paused", Boolean, nullable=False),
    Column("reason", Text, nullable=False),
    Column("rotated_at", UtcDateTime),
)

DELIVERIES = Table(
    "webhook_deliveries",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("webhook", Text, ForeignKey("webhooks.id", ondelete="CASCADE"), nullable=False),
    Column("event", Text, nullable=False),
    Column("task", Text),  # with `seq`, the event that it tells of
    Column("seq", Integer),
    Column("created_at", UtcDateTime, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", UtcDateTime),  # absent when it is over
    Column("delivered_at", UtcDateTime),
    Column("status", Integer),
    Column("error", Text, nullable=False),
    Index("webhook_deliveries_by_webhook", "webhook", "created_at"),
)
Index("webhook_deliveries_due", DELIVERIES.c.next_at, sqlite_where=DELIVERIES.c.next_at.is_not(None))

PUBLICATIONS = Table(
    "publications",
    METADATA,
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("document", Text, nullable=False),  # of its branch and pull request, as JSON
    Column("at", UtcDateTime, nullable=False),
)

ADOPTED = Table(
    "adopted",
    METADATA,
    Column("commit", Text, primary_key=True),  # that was pushed, or about to be; it outlives its task
    Column("branch", Text, nullable=False),  # of a person's pull request
    Column("at", UtcDateTime, nullable=False),
)

REVIEWS = Table(
    "reviews",
    METADATA,
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), primary_key=True),
    Column("repository", Text, nullable=False),
    Column("number", Integer, nullable=False),
    Column("waiting", Boolean, nullable=False),  # to be posted when its task is over
    Column("document", Text, nullable=False),  # as JSON
    Column("at", UtcDateTime, nullable=False),
    Index("reviews_by_pull_request", "repository", "number"),
)

INBOX = Table(
    "inbox",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),  # empty when it is over
    Column("arrived_at", UtcDateTime, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", UtcDateTime),  # absent when it is over
    Column("outcome", Text, nullable=False),
    Index("inbox_by_digest", "digest", unique=True),
    Index("inbox_by_arrival", "arrived_at"),
)
Index("inbox_due", INBOX.c.next_at, sqlite_where=INBOX.c.next_at.is_not(None))

RECEIVERS = Table(
    "receivers",  # of word of tasks
    METADATA,
    Column("id", Text, primary_key=True),
    Column("holder", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),  # of the address, which the vault has
    Column("occasions", JSON, nullable=False),
    Column("everybody", Boolean, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("sent_at", UtcDateTime),
    Column("error", Text, nullable=False),
    Index("receivers_by_holder", "holder", "created_at"),
)

NOTICES = Table(
    "notices",  # that are to be told
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("receiver", Text, ForeignKey("receivers.id", ondelete="CASCADE"), nullable=False),
    Column("task", Text, ForeignKey("tasks.id", ondelete="CASCADE"), nullable=False),
    Column("turn", Integer, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("next_at", UtcDateTime, nullable=False),
    Index("notices_due", "next_at"),
    Index("notices_by_receiver", "receiver"),
    Index("notices_by_task", "task"),
)

ASKED = Table(
    "asked",
    METADATA,
    Column("key", Text, primary_key=True),
    Column("person", Text, nullable=False),
    Column("repository", Text, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("next_at", UtcDateTime),  # absent when it is over
    Column("document", Text, nullable=False),  # as JSON
    Index("asked_by_time", "at"),
)
Index("asked_due", ASKED.c.next_at, sqlite_where=ASKED.c.next_at.is_not(None))
