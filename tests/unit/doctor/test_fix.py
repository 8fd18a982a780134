"""What is done about findings, and what is not."""

from dataclasses import replace

import pytest

from cloister.doctor.checks import judge
from cloister.doctor.fix import plan_fix

from .test_checks import HEALTHY, without

BARE = replace(HEALTHY, programs={}, runtimes={}, authorities=False, catching_error="libnftables.so.1 is not installed")
POOR = replace(HEALTHY, inotify_instances=16, namespace_errors={"user": "unshare failed"})


def test_on_another_distribution_nothing_is_installed_and_the_packages_are_named() -> None:
    findings = judge(replace(BARE, distribution="fedora"))
    plan = plan_fix(findings, distribution="fedora", installed=(), with_sysctls=False)
    assert plan.is_empty
    assert {"crun", "git", "uidmap"} <= set(plan.foreign)


def test_kernel_settings_are_left_alone_unless_that_was_asked_for() -> None:
    plan = plan_fix(judge(POOR), distribution="debian", installed=(), with_sysctls=False)
    assert plan.is_empty
    assert {"namespaces", "inotify instances"} <= {finding.name for finding in plan.left}
    asked = plan_fix(judge(POOR), distribution="debian", installed=(), with_sysctls=True)
    assert asked.sysctls["fs.inotify.max_user_instances"] > 16
    assert asked.sysctls["kernel.unprivileged_userns_clone"] == 1
    assert asked.left == []


def test_a_package_that_is_installed_and_did_not_help_is_not_installed_again() -> None:
    facts = replace(HEALTHY, catching_error="Error: No such file or directory")
    plan = plan_fix(judge(facts), distribution="debian", installed=("nftables",), with_sysctls=False)
    assert plan.is_empty
    assert "modprobe" in next(finding.do for finding in plan.left if finding.name.startswith("programs that"))


def test_everything_that_a_bare_debian_lacks_is_installed_at_once() -> None:
    plan = plan_fix(judge(BARE), distribution="debian", installed=(), with_sysctls=False)
    assert set(plan.packages) == {
        *("ca-certificates", "catatonit", "crun", "git", "mmdebstrap", "nftables", "openssh-client", "skopeo"),
        "uidmap",
    }
    assert plan.left == []


@pytest.mark.parametrize(("wanted", "package"), [("auto", "crun"), ("crun", "crun"), ("runc", "runc")])
def test_the_runtime_that_the_settings_name_is_the_one_installed(wanted: str, package: str) -> None:
    facts = replace(HEALTHY, wanted_runtime=wanted, runtimes={})
    assert plan_fix(judge(facts), distribution="debian", installed=(), with_sysctls=False).packages == (package,)


def test_a_runtime_that_no_package_has_is_left_to_its_owner() -> None:
    facts = replace(HEALTHY, wanted_runtime="/opt/kata", runtimes={})
    plan = plan_fix(judge(facts), distribution="debian", installed=(), with_sysctls=False)
    assert plan.is_empty
    assert "runtime" in [finding.name for finding in plan.left]


def test_a_machine_that_lacks_nothing_has_nothing_done_to_it() -> None:
    assert plan_fix(judge(HEALTHY), distribution="debian", installed=(), with_sysctls=True).is_empty


def test_what_a_finding_tells_people_to_install_is_what_it_tells_programs() -> None:
    for program in ("git", "newuidmap", "skopeo", "ssh"):
        (finding,) = [one for one in judge(replace(HEALTHY, programs=without(program))) if one.name == program]
        assert finding.do == f"apt install {' '.join(finding.packages)}"
