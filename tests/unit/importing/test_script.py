"""What is put around commands of others is run here in a real bash."""

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from cloister.importing.expressions import Context
from cloister.importing.script import Section, assemble, in_double_quotes


def section(body: str, **more: Any) -> Section:
    return Section(title="step", body=body, **more)


def run(sections: Sequence[Section], home: Path, *, text: str | None = None) -> subprocess.CompletedProcess[str]:
    script = assemble(sections) or ""
    script = script.replace("/tmp/github", f"{home}/github").replace("/usr/local/bin", str(home)) + (text or "")
    return subprocess.run(
        ["bash", "-e", "-o", "pipefail", "-c", script],
        cwd=home,
        env={"HOME": str(home), "PATH": f"{home}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_step_that_fails_ends_the_script_unless_it_may(tmp_path: Path) -> None:
    done = run([section("false\necho on"), section("echo after")], tmp_path)
    assert (done.returncode, done.stdout) == (1, "")
    done = run([section("false\necho on", may_fail=True), section("echo after")], tmp_path)
    assert (done.returncode, done.stdout) == (0, "after\n")


def test_steps_share_nothing_but_what_they_hand_on(tmp_path: Path) -> None:
    (tmp_path / "in side").mkdir()
    handing_on = 'echo "GREETING=hello  there" >> "$GITHUB_ENV"; echo "/opt/my tools" >> $GITHUB_PATH; OWN=1'
    asking = 'echo "$GREETING|${PATH%%:*}|$OWN|$PWD"'
    done = run([section(handing_on, folder="in side"), section(asking)], tmp_path)
    assert done.stdout == f"hello  there|/opt/my tools||{tmp_path}\n", done.stderr
    agent = subprocess.run(
        ["bash", "-c", 'echo "$GREETING|${PATH%%:*}"'], env={"BASH_ENV": str(tmp_path / ".bashrc")}, capture_output=True
    )
    assert agent.stdout == b"hello  there|/opt/my tools\n"


def test_steps_that_hand_nothing_on_get_no_files_for_it() -> None:
    assert assemble([section("true")]) == "# step\n(\ntrue\n)\n"
    assert assemble([]) is None


def test_sudo_is_provided_where_there_is_none(tmp_path: Path) -> None:
    if shutil.which("sudo"):
        pytest.skip("this machine has its own")
    done = run([section("sudo -E A='1 2' printenv A; sudo -u root echo as root; sudo -n -- echo twice")], tmp_path)
    assert done.stdout == "1 2\nas root\ntwice\n", done.stderr


@pytest.mark.parametrize("text", ["plain", '"', "$HOME `id` $(id)", "\\", "a\nb", "'"])
def test_text_stands_for_itself_between_double_quotes(text: str) -> None:
    done = subprocess.run(["bash", "-c", f'printf %s "{in_double_quotes(text)}"'], capture_output=True, text=True)
    assert done.stdout == text


@pytest.mark.parametrize(
    ("text", "plain", "quoted", "unknown"),
    [
        ("a", "a", '"a"', ()),
        ("${{ runner.os }}-${{matrix.node}}", "Linux-22", '"Linux-22"', ()),
        ("${{ github.workspace }}/x", "/workspace/shop/x", '"/workspace/shop/x"', ()),
        ('$(id) "${{ secrets.A }}"', None, '"\\$(id) \\"${A}\\""', ()),
        ("${{ env.A }}", None, '"${A}"', ()),
        ("${{ secrets.GITHUB_TOKEN }}", None, '""', ("secrets.GITHUB_TOKEN",)),
        ("${{ github.event.issue.title }}", None, '""', ("github.event.issue.title",)),
        ("${{ secrets['A'] }}", None, '""', ("secrets['A']",)),
        ("${{ secrets.A; touch x }}", None, '""', ("secrets.A; touch x",)),
        ("${{ open", "${{ open", '"\\${{ open"', ()),
    ],
)
def test_expressions(text: str, plain: str | None, quoted: str, unknown: tuple[str, ...]) -> None:
    resolved = Context(workspace="/workspace/shop", matrix={"node": "22"}).resolve(text)
    assert (resolved.plain, resolved.quoted, resolved.unknown) == (plain, quoted, unknown)
