"""Has the record of an attempt signed, when it is over. That it cannot be never keeps an attempt from ending."""

import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import anyio.to_thread
import structlog

from cloister.envelope import bytes_to_sign, make_envelope
from cloister.errors import CloisterError, LeaseLostError
from cloister.git import run_git
from cloister.model.ceiling import Ceiling
from cloister.model.event import RecordedEvent, RecordMissed
from cloister.model.record import SignedRecord
from cloister.model.task import Attempt, Outcome
from cloister.protocols import AttemptQueue, Vault
from cloister.record import Maker, make_statement

_log = structlog.get_logger(__name__)


class Notary:
    """Makes the records of one worker's attempts."""

    def __init__(self, queue: AttemptQueue, vault: Vault, ceiling: Ceiling) -> None:
        self._queue = queue
        self._vault = vault
        self._ceiling = ceiling
        self._maker: Maker | None = None

    async def sign(self, attempt: Attempt, outcome: Outcome) -> SignedRecord | RecordMissed:
        """Return the record for how the attempt ends, and for its being cancelled; or why there is none.

        Raises LeaseLostError alone.
        """
        try:
            told = await self._queue.told(attempt)
            if self._maker is None:
                self._maker = Maker(versions=await _versions(), ceiling=self._ceiling)
            return await self._sign_each(attempt, outcome, told, self._maker)
        except LeaseLostError:
            raise
        except CloisterError as error:
            _log.error("no record", attempt=attempt.id, error=str(error))
            return RecordMissed(reason=str(error))
        except Exception:  # a bug must not cost the attempt
            _log.exception("no record", attempt=attempt.id)
            return RecordMissed(reason="an error of Cloister's own; its log has the details")

    async def _sign_each(
        self, attempt: Attempt, outcome: Outcome, told: Sequence[RecordedEvent], maker: Maker
    ) -> SignedRecord:
        now = datetime.now(UTC)
        envelopes = {}
        for said in (outcome, outcome.as_cancelled()):
            if said.verdict not in envelopes:
                # In a thread: a diff may have tens of megabytes, and a log a hundred thousand requests.
                payload = await anyio.to_thread.run_sync(make_statement, attempt, said, told, maker, now)
                signature = await self._vault.sign(bytes_to_sign(payload))
                envelopes[said.verdict] = make_envelope(payload, signature)
        return SignedRecord(envelopes=envelopes)


async def _versions() -> Mapping[str, str]:
    git = await run_git(["--version"], git_dir=Path("/"))
    return {
        "cloister": version("cloister"),
        "python": platform.python_version(),
        "kernel": f"{sys.platform} {platform.release()}",
        "git": git.stdout.decode().strip().removeprefix("git version "),
    }
