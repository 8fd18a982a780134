"""Which rule holds for a brokered secret: the vault's, as an environment narrows it."""

from collections.abc import Container, Mapping, Sequence

from cloister.errors import UsageError
from cloister.model.broker import check_sendable, narrow, parse_rule, rule_of_use
from cloister.model.secret import BrokerRule, KeptSecret, SecretMode, SecretUse


def check_rule(name: str, value: str, rule: BrokerRule) -> BrokerRule:
    """Return the rule in its canonical form. UsageError, without the value, when it cannot be one for that value."""
    try:
        parsed = parse_rule(rule)
        check_sendable(parsed, value)
    except ValueError as error:
        raise UsageError(f"the brokered secret {name} {error}") from error
    return parsed


def rule_of_kept(rule: BrokerRule | None, use: SecretUse, environment: str) -> BrokerRule | None:
    """Return the rule that holds for a secret of the vault; None for a setup secret.

    UsageError when the environment asks for more than the vault allows: whoever writes a repository's file must not
    be able to send a secret elsewhere, nor to bring it into the sandbox.
    """
    kept = SecretMode.SETUP if rule is None else SecretMode.BROKERED
    if use.mode not in (None, kept):
        raise UsageError(
            f"environment {environment} asks for {use.name} as a {use.mode} secret; the vault keeps it as a {kept} one",
            hint=f"leave its mode out, or set it anew: cloister secret set {environment} {use.name}",
        )
    if rule is None:
        return None
    try:
        return narrow(rule, use)
    except ValueError as error:
        raise UsageError(
            f"environment {environment} asks for {use.name} with {error}, which the vault does not allow",
            hint="a file can only narrow what `cloister secret set` said",
        ) from error


def rule_of_given(use: SecretUse, value: str) -> BrokerRule | None:
    """Return the rule of a value that came with a task: the environment's own, or none. UsageError when it has gaps."""
    if use.mode is not SecretMode.BROKERED:
        return None
    try:
        rule = rule_of_use(use)
    except ValueError as error:
        raise UsageError(f"the brokered secret {use.name} {error}") from error
    return check_rule(use.name, value, rule)


def check_uses(
    environment: str,
    uses: Sequence[SecretUse],
    *,
    kept: Mapping[str, KeptSecret],
    given: Container[str],
    own_file: bool,
) -> None:
    """Raise UsageError when one of these uses will not be possible.

    A value that is `given` with the task is brokered only by a file that its user chose (`own_file`): the
    repository's own must not say where it goes.
    """
    for use in uses:
        if use.name in given and use.mode is SecretMode.BROKERED and not own_file:
            raise UsageError(
                f"the repository's own environment file says where the value of {use.name} shall be sent",
                hint="if you trust it with that, name the file: --env .cloister/environment.toml; or keep the value "
                f"and its hosts in the vault: cloister secret set {environment} {use.name} --brokered --host HOST ...",
            )
        if use.name not in given:
            rule_of_kept(kept[use.name].rule, use, environment)
