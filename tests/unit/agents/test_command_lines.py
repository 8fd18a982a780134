"""What each agent that comes with a pack is started with: the options that a turn adds, its variables and its files."""

import dataclasses

import pytest

from cloister.agents.aider import AiderAgent
from cloister.agents.claude import ClaudeAgent
from cloister.agents.codex import CodexAgent
from cloister.agents.gemini import GeminiAgent
from cloister.agents.mini_swe_agent import MiniSweAgent
from cloister.agents.needed import READ_AGENTS_MD
from cloister.agents.opencode import OpencodeAgent
from cloister.errors import UsageError
from cloister.model.agent import AgentCommand, AgentTurn
from cloister.model.model_access import ModelAccess, ModelApi
from cloister.protocols import Agent

KEY, BASE, MODEL = "placeholder-1", "http://127.0.0.1:3130", "m-1"
TEXT, PICTURE, SESSION = "/cloister/given/notes.txt", "/cloister/given/screen.png", "session-1"
AGENTS: tuple[Agent, ...] = (
    *(CodexAgent(), ClaudeAgent(), GeminiAgent(), OpencodeAgent(), MiniSweAgent(), AiderAgent()),
)
ADDED = [
    (CodexAgent(), ("resume", SESSION), (f"--image={PICTURE}",)),
    (ClaudeAgent(), ("--resume", SESSION), ()),
    (GeminiAgent(), ("--resume", SESSION), ()),
    (OpencodeAgent(), ("--session", SESSION), ("--file", TEXT, "--file", PICTURE)),
    (MiniSweAgent(), (), ()),
    (AiderAgent(), (), ("--read", TEXT, "--read", PICTURE, PICTURE)),
]
"""An agent, and what a resumed turn and files that came with the prompt add to its command line."""
MODEL_OPTIONS = {
    "codex": ("--model", MODEL),
    "claude": ("--model", MODEL),
    "gemini": ("--model", MODEL),
    "aider": ("--model", f"openai/{MODEL}"),
}
"""The others have it in a file."""
VARIABLES = {
    "codex": {"CLOISTER_MODEL_KEY": KEY},
    "claude": {"ANTHROPIC_BASE_URL": BASE, "ANTHROPIC_API_KEY": KEY, "ANTHROPIC_DEFAULT_HAIKU_MODEL": MODEL},
    "gemini": {"GOOGLE_GEMINI_BASE_URL": BASE, "GEMINI_API_KEY": KEY},
    "opencode": {"OPENCODE_CONFIG": "/cloister/in/opencode.json"},
    "mini-swe-agent": {"LITELLM_LOCAL_MODEL_COST_MAP": "True"},
    "aider": {"OPENAI_API_BASE": BASE, "OPENAI_API_KEY": KEY},
}
FILES = {
    "codex": [],
    "claude": [],
    "gemini": ["gemini.json"],
    "opencode": ["opencode.json", "opencode.sh"],
    "mini-swe-agent": ["mini-swe-agent.yaml"],
    "aider": ["aider-checks.sh", "aider.json", "aider.sh"],
}


@pytest.fixture
def turn(new_task) -> AgentTurn:
    return AgentTurn(task=new_task(), prompt="fix it", briefing="The network is off.")


def command_of(agent: Agent, turn: AgentTurn, **changes: object) -> AgentCommand:
    assert agent.api is not None
    access = ModelAccess(provider="hub", api=agent.api, base_url=BASE, model=MODEL, placeholder=KEY)
    return agent.command(dataclasses.replace(turn, **{"access": access, **changes}))


def added(argv: tuple[str, ...], to: tuple[str, ...]) -> tuple[str, ...]:
    """What is in one stretch of `argv` and not in `to`, which is otherwise the same."""
    start = next((at for at, pair in enumerate(zip(argv, to, strict=False)) if pair[0] != pair[1]), len(to))
    end = start + len(argv) - len(to)
    assert argv[:start] + argv[end:] == to
    return argv[start:end]


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_without_a_model_it_does_not_start(agent: Agent, turn: AgentTurn) -> None:
    with pytest.raises(UsageError, match=f"'{agent.name}' needs a model"):
        agent.command(turn)


@pytest.mark.parametrize("agent", [OpencodeAgent(), MiniSweAgent(), AiderAgent()], ids=lambda agent: agent.name)
def test_without_the_name_of_a_model_those_that_choose_none_do_not_start(agent: Agent, turn: AgentTurn) -> None:
    access = ModelAccess(provider="hub", api=ModelApi.CHAT, base_url=BASE, placeholder=KEY)
    with pytest.raises(UsageError, match="the provider 'hub' names none"):
        command_of(agent, turn, access=access)


@pytest.mark.parametrize("agent", AGENTS, ids=lambda agent: agent.name)
def test_a_code_turn(agent: Agent, turn: AgentTurn) -> None:
    asked = command_of(agent, turn)
    assert agent.pack is not None
    program = agent.pack.path
    assert program in asked.argv[0] or program in str(asked.files)
    options = MODEL_OPTIONS.get(agent.name)
    if options is not None:
        at = asked.argv.index(options[0])
        assert asked.argv[at : at + 2] == options
    else:
        assert MODEL in str(asked.files)
    assert VARIABLES[agent.name].items() <= asked.variables.items()
    assert sorted(asked.files) == FILES[agent.name]
    assert BASE in str((asked.argv, asked.variables, asked.files))
    assert KEY not in asked.argv, "whoever lists processes reads command lines"
    assert asked.prompt.removesuffix(f"\n\n{READ_AGENTS_MD}") == "fix it\n\nThe network is off."
    assert not any("fix it" in word for word in asked.argv), "a prompt may be longer than a command line"


@pytest.mark.parametrize(("agent", "resumed", "given"), ADDED, ids=lambda it: getattr(it, "name", ""))
def test_what_a_turn_adds(agent: Agent, resumed: tuple[str, ...], given: tuple[str, ...], turn: AgentTurn) -> None:
    plain = command_of(agent, turn)
    asking = command_of(agent, turn, ask=True)
    going_on = command_of(agent, turn, session=SESSION)
    looking = command_of(agent, turn, files=(TEXT, PICTURE), images=(PICTURE,))
    assert asking.argv == plain.argv
    assert "the work tree is read-only" in asking.prompt
    assert added(going_on.argv, plain.argv) == resumed
    assert going_on.prompt == plain.prompt
    assert added(looking.argv, plain.argv) == given
    assert f"- {TEXT}\n- {PICTURE} (a picture)" in looking.prompt
