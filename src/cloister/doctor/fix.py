"""What `cloister doctor --fix` does about findings, decided on data alone."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from cloister.doctor.checks import DISTRIBUTIONS
from cloister.doctor.finding import Finding, State


@dataclass(frozen=True, slots=True, kw_only=True)
class Fix:
    """What will be done, and what is for somebody else to do."""

    packages: tuple[str, ...] = ()
    """To be installed here."""
    foreign: tuple[str, ...] = ()
    """As Debian calls them; this is another distribution, which may call them otherwise."""
    sysctls: Mapping[str, int]
    """To be raised."""
    left: Sequence[Finding] = ()
    """Findings that nothing of this mends."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing will be done."""
        return not self.packages and not self.sysctls


def plan_fix(findings: Sequence[Finding], *, distribution: str, installed: Collection[str], with_sysctls: bool) -> Fix:
    """Plan what mends these findings on that distribution.

    A package that is installed and named all the same did not help, so it is not installed again. Kernel settings are
    the whole machine's, and only set when that was asked for.
    """
    packages: dict[str, None] = {}
    sysctls: dict[str, int] = {}
    left = []
    for finding in findings:
        lacking = [package for package in finding.packages if package not in installed]
        packages |= dict.fromkeys(lacking)
        if with_sysctls:
            sysctls |= finding.sysctls
        if finding.state is not State.OK and not lacking and not (with_sysctls and finding.sysctls):
            left.append(finding)
    known = distribution in DISTRIBUTIONS
    return Fix(
        packages=tuple(packages) if known else (),
        foreign=() if known else tuple(packages),
        sysctls=sysctls,
        left=left,
    )
