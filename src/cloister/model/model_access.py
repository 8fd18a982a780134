"""How an agent reaches its model: a door in its sandbox, and what to say there. The provider's key is no part of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

MODEL_PORT = 3130
"""Where a sandbox's door to its model is, on 127.0.0.1 and ::1, while an agent may run."""


class ModelApi(StrEnum):
    """A protocol in which agents talk to models, named after what they post to."""

    RESPONSES = "responses"
    """OpenAI's `POST <base>/responses`."""
    CHAT = "chat"
    """OpenAI's `POST <base>/chat/completions`, which most servers speak."""
    MESSAGES = "messages"
    """Anthropic's `POST <base>/v1/messages`."""
    GEMINI = "gemini"
    """Google's `POST <base>/v1beta/models/NAME:generateContent`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelAccess:
    """What an agent's program has to be told to reach its model from inside its sandbox."""

    provider: str
    """Name of the provider in the settings, to show."""
    api: ModelApi
    base_url: str
    """`http://127.0.0.1:PORT`: stands for the `<base>` that `api` posts below, whatever the provider's own one is."""
    model: str | None = None
    """Name of the model; None leaves the choice to the agent's program."""
    placeholder: str
    """What to put where a program asks for a key, in whatever header it has for one. It is worth nothing elsewhere."""

    @property
    def variables(self) -> Mapping[str, str]:
        """What the usual clients of the protocol read from their environment."""
        named = {} if self.model is None else {"CLOISTER_MODEL": self.model}
        match self.api:
            case ModelApi.RESPONSES | ModelApi.CHAT:
                own = {"OPENAI_BASE_URL": self.base_url, "OPENAI_API_KEY": self.placeholder}
            case ModelApi.MESSAGES:
                own = {"ANTHROPIC_BASE_URL": self.base_url, "ANTHROPIC_API_KEY": self.placeholder}
            case ModelApi.GEMINI:
                own = {"GOOGLE_GEMINI_BASE_URL": self.base_url, "GEMINI_API_KEY": self.placeholder}
        return {"CLOISTER_MODEL_API": self.api.value, "CLOISTER_MODEL_BASE_URL": self.base_url, **named, **own}
