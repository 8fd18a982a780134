"""Who callers are: tokens, users, their logins and the audit of what they did."""

from datetime import timedelta

from cloister.access import Access
from cloister.audit import Audit
from cloister.certificates import read_certificates
from cloister.protocols import IdentityProvider
from cloister.sessions import Sessions
from cloister.settings import Settings
from cloister.stores.audit import SqlAuditStore
from cloister.stores.database import Database
from cloister.stores.sessions import SqlSessionStore
from cloister.stores.tokens import SqlTokenStore
from cloister.stores.users import SqlUserStore
from cloister.tokens import Tokens
from cloister.users import Users
from cloister.wiring.clock import utc_now


def access_of(settings: Settings, database: Database) -> Access:
    """Return what knows callers from elsewhere."""
    tokens = Tokens(store=SqlTokenStore(database), now=utc_now)
    users = Users(store=SqlUserStore(database), rules=settings.oidc.rules if settings.oidc else {}, now=utc_now)
    sessions = Sessions(
        store=SqlSessionStore(database),
        tokens=tokens,
        users=users,
        lifetime=timedelta(seconds=settings.session_lifetime),
        idle=timedelta(seconds=settings.session_idle),
        now=utc_now,
    )
    audit = Audit(store=SqlAuditStore(database), now=utc_now)
    return Access(
        tokens=tokens,
        sessions=sessions,
        audit=audit,
        users=users,
        provider=_provider_of(settings),
        public_url=settings.public_url,
    )


def _provider_of(settings: Settings) -> IdentityProvider | None:
    if (table := settings.oidc) is None:
        return None
    from cloister.identity.oidc import OidcClient, OidcProvider  # no start waits for it that does not need it

    client = OidcClient(
        issuer=table.issuer,
        client_id=table.client_id,
        client_secret=table.secret(),
        scopes=table.scopes,
        role_claim=table.role_claim,
        name_claim=table.name_claim,
    )
    return OidcProvider(client, authorities=read_certificates(settings.authorities))
