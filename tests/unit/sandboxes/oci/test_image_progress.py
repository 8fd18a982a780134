from hypothesis import given
from hypothesis import strategies as st

from cloister.sandboxes.oci.image_build import ProgressReader

LINES = [
    "I: automatically chosen mode: root",
    "I: running apt-get update...",
    "I: downloading packages with apt...",
    "0 upgraded, 2 newly installed, 0 to remove and 0 not upgraded.",
    "Get:1 http://mirror.test bookworm/main amd64 libc6",
    "I: installing essential packages...",
    "Unpacking libc6:amd64 (2.36) ...",
    "I: installing remaining packages inside the chroot...",
    "0 upgraded, 1 newly installed, 0 to remove and 0 not upgraded.",
    "Get:1 http://mirror.test bookworm/main amd64 git",
    "Unpacking git (1:2.39) ...",
    "Setting up git (1:2.39) ...",
    "I: cleaning package lists and apt cache...",
    "I: done",
]


@given(st.lists(st.one_of(st.sampled_from(LINES), st.text())))
def test_progress_never_goes_back_and_never_leaves_its_range(lines: list[str]) -> None:
    reader = ProgressReader()
    fractions = [step.fraction for line in lines if (step := reader.read(line))]
    assert fractions == sorted(fractions)
    assert all(0.0 <= fraction <= 1.0 for fraction in fractions)


def test_a_build_is_told_stage_by_stage() -> None:
    reader = ProgressReader()
    steps = [step for line in LINES if (step := reader.read(line))]
    assert [step.stage for step in steps] == [
        "reading the package lists",
        "fetching the essential packages",
        "fetching the essential packages: fetching",
        "installing the essential packages",
        "installing packages",
        "installing packages: fetching",
        "installing packages: unpacking",
        "installing packages: setting up",
        "cleaning up",
    ]
    assert steps[-2].fraction == steps[-1].fraction == 0.9
