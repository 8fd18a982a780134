"""Of an application that knows callers by other means: nobody has a token or a session, and the audit is in memory."""

from datetime import UTC, datetime

from cloister.access import Access
from cloister.audit import Audit
from cloister.stores.fake import FakeAuditStore


def access_of_nobody() -> tuple[Access, FakeAuditStore]:
    """Return it, and what its audit keeps."""
    store = FakeAuditStore()
    audit = Audit(store=store, now=lambda: datetime.now(UTC))
    return Access(tokens=None, sessions=None, users=None, audit=audit), store  # type: ignore[arg-type]  # nobody asks for them
