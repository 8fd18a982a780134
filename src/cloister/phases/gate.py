"""What a script of setup left is looked through before a disk is kept, and before an agent starts."""

from collections.abc import Sequence

from cloister.errors import TaskFailedError
from cloister.journal import Journal
from cloister.model.environment import Environment
from cloister.model.event import InstructionsRestored, ResidueFound
from cloister.model.residue import Residue
from cloister.model.secret import DeliveredSecrets
from cloister.protocols import Sandbox

_MOST_SHOWN = 20
_MOST_TOLD = 100
"""Paths of one event; how many more there are, it says."""
_PROBABLY_A_WORD = 50
"""Files, caches and logs left out: a value that so many hold is in them by chance."""
_LONGEST_DIFF = 20_000


def refuse_shown_secrets(environment: Environment, secrets: DeliveredSecrets) -> None:
    """Raise TaskFailedError when the agent would read a secret in a variable, and it is not said to be allowed."""
    if environment.setup.residue == "allow":
        return
    brokered = {secret.name: secret.value for secret in secrets.brokered}
    for name, value in {**secrets.values, **brokered}.items():
        for variable, text in environment.variables.items():
            if value.reveal().strip() in text:
                raise TaskFailedError(
                    f"the value of the secret {name} is also in the variable {variable}, which the agent sees",
                    hint=f"take it out of {variable}, or give {name} another value",
                )


async def restore_instructions(sandbox: Sandbox, journal: Journal) -> None:
    """Undo what was done to files that tell agents what to do, and say so. No container may run."""
    found = await sandbox.restore_instructions()
    restored, leading = ([change for change in found if bool(change.leads) is leads] for leads in (False, True))
    if found:
        diff = "".join(change.diff for change in restored)
        journal.record(
            InstructionsRestored(
                paths=tuple(journal.mask_text(change.path) for change in restored[:_MOST_TOLD]),
                diff=journal.mask_text(diff)[:_LONGEST_DIFF],
                more=max(len(restored) - _MOST_TOLD, 0),
                left=tuple(
                    journal.mask_text(f"{change.path} names {', '.join(change.leads)}")
                    for change in leading[:_MOST_TOLD]
                ),
            )
        )


async def search_residue(
    environment: Environment, sandbox: Sandbox, secrets: DeliveredSecrets, journal: Journal
) -> None:
    """Search the disk after a script that had secrets, and do as `setup.residue` says. No container may run.

    TaskFailedError when a value is there and must not be: it names the paths, who probably wrote them, and what to do.
    """
    if not secrets.values:
        return
    found = await sandbox.find_residue(secrets.values)
    if not found:
        return
    how = environment.setup.residue
    left = found
    if how == "scrub" and not _probably_a_word(found):  # taken out of files that mean the word, it would break them
        left = await sandbox.scrub(secrets.values, found)
    _tell(found, journal, action="allowed" if how == "allow" else "refused" if left else "scrubbed")
    if left and how != "allow":
        raise TaskFailedError(_refusal(left, journal, scrubbed=how == "scrub"), hint=_hint(left, how))


def _probably_a_word(found: Sequence[Residue]) -> bool:
    return sum(not residue.can_be_made_again for residue in found) >= _PROBABLY_A_WORD


def _tell(found: Sequence[Residue], journal: Journal, *, action: str) -> None:
    journal.record(
        ResidueFound(
            paths=tuple(journal.mask_text(residue.path) for residue in found[:_MOST_TOLD]),
            details=tuple(journal.mask_text(str(residue)) for residue in found[:_MOST_TOLD]),
            action=action,
            more=max(len(found) - _MOST_TOLD, 0),
        )
    )


def _refusal(left: Sequence[Residue], journal: Journal, *, scrubbed: bool) -> str:
    shown = "; ".join(journal.mask_text(str(residue)) for residue in left[:_MOST_SHOWN])
    more = len(left) - _MOST_SHOWN
    rest = f"; and {more} more" if more > 0 else ""
    why = ", and it cannot be taken out of there safely" if scrubbed else ""
    return f"setup left a secret where the agent could read it{why}: {shown}{rest}"


def _hint(left: Sequence[Residue], how: str) -> str:
    remove = "remove it at the end of the script"
    if _probably_a_word(left):
        return "if its value is a common word, choose one that nobody else would write; else remove it in the script"
    if any("address with credentials" in residue.tool for residue in left):
        remove = "give the tool its credentials by a variable or a helper, and not in an address"
    scrub = ', or let it be taken out with residue = "scrub" in [setup]' if how == "refuse" else ""
    return f'{remove}{scrub}; a secret with mode = "brokered" never enters the sandbox at all'
