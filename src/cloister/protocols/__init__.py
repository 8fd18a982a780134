"""Every part of Cloister that can be swapped, and what each promises.

Names come from the caller, so `create` finds or creates and `destroy` is harmless twice. "It failed"
is a value (`Exit`, `Outcome`), "we failed" an exception from `cloister.errors`. Every method may be
cancelled; what it had begun is then either complete or removed by `destroy`.
"""

from cloister.protocols.access import AuditStore as AuditStore
from cloister.protocols.access import IdentityProvider as IdentityProvider
from cloister.protocols.access import SessionStore as SessionStore
from cloister.protocols.access import TokenStore as TokenStore
from cloister.protocols.access import UserStore as UserStore
from cloister.protocols.agent import Agent as Agent
from cloister.protocols.agent import AgentPacks as AgentPacks
from cloister.protocols.agent import AgentParser as AgentParser
from cloister.protocols.automation import ReceiverStore as ReceiverStore
from cloister.protocols.automation import ScheduleStore as ScheduleStore
from cloister.protocols.automation import WebhookSender as WebhookSender
from cloister.protocols.automation import WebhookStore as WebhookStore
from cloister.protocols.catalog import EnvironmentStore as EnvironmentStore
from cloister.protocols.catalog import SnapshotCatalog as SnapshotCatalog
from cloister.protocols.checks import CheckBoard as CheckBoard
from cloister.protocols.egress import Egress as Egress
from cloister.protocols.egress import FindAsker as FindAsker
from cloister.protocols.forge import BranchWriter as BranchWriter
from cloister.protocols.forge import Forge as Forge
from cloister.protocols.forge import ForgeHost as ForgeHost
from cloister.protocols.forge import PublicationStore as PublicationStore
from cloister.protocols.image import ImageKeeper as ImageKeeper
from cloister.protocols.image import ImageStore as ImageStore
from cloister.protocols.image import SnapshotExporter as SnapshotExporter
from cloister.protocols.inbox import AskedStore as AskedStore
from cloister.protocols.inbox import InboxStore as InboxStore
from cloister.protocols.queue import AttemptQueue as AttemptQueue
from cloister.protocols.queue import FileStore as FileStore
from cloister.protocols.queue import StatisticsStore as StatisticsStore
from cloister.protocols.queue import TaskStore as TaskStore
from cloister.protocols.review import ReviewBoard as ReviewBoard
from cloister.protocols.review import ReviewStore as ReviewStore
from cloister.protocols.sandbox import EnteredShell as EnteredShell
from cloister.protocols.sandbox import Listeners as Listeners
from cloister.protocols.sandbox import Process as Process
from cloister.protocols.sandbox import Sandbox as Sandbox
from cloister.protocols.sandbox import SandboxBackend as SandboxBackend
from cloister.protocols.sandbox import Terminal as Terminal
from cloister.protocols.threads import ForgeThreads as ForgeThreads
from cloister.protocols.vault import Redactor as Redactor
from cloister.protocols.vault import Vault as Vault
