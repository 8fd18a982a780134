"""The agent `check`: no model and no command, but a look at what an agent would find."""

from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.model_access import ModelApi
from cloister.model.pack import PackRecipe
from cloister.model.task import CHECK
from cloister.protocols import Agent

_SCRIPT = r"""
first_line_of() {
  local told status
  told=$(timeout 30 "$@" 2>/dev/null </dev/null)
  status=$?
  told=$(grep -m 1 '[0-9]' <<<"$told")
  if [ "$status" -eq 0 ] && [ -n "$told" ]; then echo "$told"; else echo "does not say (status $status)"; fi
}
count_python_packages() {
  python3 -c 'import importlib.metadata as m, sys
print(len({d.metadata["Name"] for d in m.distributions()}), "in", sys.prefix)'
}
count_node_packages() {
  if [ -f "$1/.package-lock.json" ]; then
    node -e 'const lock = JSON.parse(require("fs").readFileSync(0))
console.log(Object.keys(lock.packages).length)' <"$1/.package-lock.json"
  elif [ -d "$1/.pnpm" ]; then
    find "$1/.pnpm" -mindepth 1 -maxdepth 1 -type d ! -name node_modules | wc -l
  else
    find "$1" -mindepth 2 -maxdepth 3 -name package.json \( -path "$1/@*/*/*" -o ! -path "$1/*/*/*" \) | wc -l
  fi
}
say() {
  echo versions
  for program in python3 pip uv poetry pipenv node npm yarn pnpm bun go rustc cargo ruby bundle php composer java \
    mvn gradle; do
    command -v "$program" >/dev/null || continue
    case $program in go) option=version ;; *) option=--version ;; esac
    echo "  $program $(first_line_of "$program" "$option")"
  done
  echo packages
  if command -v python3 >/dev/null; then echo "  python $(count_python_packages)"; fi
  find . -maxdepth 4 -name node_modules -type d -prune | sort | head -n 20 | while read -r folder; do
    echo "  node $(count_node_packages "$folder") in ${folder#./}"
  done
}
say >/cloister/out/message.md 2>/dev/null
exit 0
"""


class CheckAgent:
    """Writes the versions of languages and package managers, and how much is installed, as its message.

    A line `versions` or `packages`, then one indented line each: a name, a space, and what is told of it.
    """

    name = CHECK
    api: ModelApi | None = None
    pack: PackRecipe | None = None

    def command(self, turn: AgentTurn) -> AgentCommand:
        """Run it with the image's bash; the prompt is not read."""
        return AgentCommand(argv=("/bin/bash", "-c", _SCRIPT), prompt=turn.prompt)

    def parser(self) -> None:
        """It prints nothing."""


def _conforms(agent: CheckAgent) -> Agent:
    return agent
