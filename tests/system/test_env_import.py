"""`cloister env import`: what it writes makes a repository ready."""

from cloister.environment_file import REPOSITORY_FILE

from .installation import Installation, printed

WORKFLOW = """
on: workflow_dispatch
jobs:
  copilot-setup-steps:
    runs-on: ubuntu-latest
    timeout-minutes: 5
    env:
      STAGE: test
    steps:
      - uses: actions/checkout@v5
      - name: As root
        run: sudo -E install -m 755 tool.sh /usr/local/bin/tool
      - name: Hand on
        working-directory: web
        env:
          WORD: it's
        run: |
          cat name | head -n 1 > /opt/name
          echo "GREETING=hello $WORD" >> "$GITHUB_ENV"
          echo /opt/bin >> "$GITHUB_PATH"
      - name: Interpreter
        run: python -c 'import sys; print("prepared by", sys.version_info.major)'
"""
FILES = {
    ".github/workflows/copilot-setup-steps.yml": WORKFLOW,
    "tool.sh": "#!/bin/sh\necho tool runs\n",
    "web/name": "shop\nand more\n",
}


def test_what_was_imported_makes_a_repository_ready(installation: Installation) -> None:
    installation.project.commit(FILES)
    done = installation.cloister("env", "import", "--repo", ".")
    assert done.code == 0, done.stderr
    file = installation.project.path / REPOSITORY_FILE
    checked = installation.cloister("env", "check", file)
    assert checked.code == 0, checked.stdout + checked.stderr
    assert "prepared by 3" in checked.stdout
    installation.project.commit({})  # now it is found by itself
    asking = 'tool; cat /opt/name; echo "$GREETING, $STAGE, ${PATH%%:*}"'
    ran = installation.cloister("run", "--json", "--command", asking, "say it")
    assert ran.code == 0, ran.stdout + ran.stderr
    assert printed(ran.events) == "tool runs\nshop\nhello it's, test, /opt/bin\n"
    assert "snapshot_hit" in [event["event"] for event in ran.events]
