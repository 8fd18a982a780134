"""What a client of each protocol is told."""

import pytest

from cloister.model.model_access import ModelAccess, ModelApi


@pytest.mark.parametrize(
    ("api", "address", "key"),
    [
        (ModelApi.RESPONSES, "OPENAI_BASE_URL", "OPENAI_API_KEY"),
        (ModelApi.CHAT, "OPENAI_BASE_URL", "OPENAI_API_KEY"),
        (ModelApi.MESSAGES, "ANTHROPIC_BASE_URL", "ANTHROPIC_API_KEY"),
        (ModelApi.GEMINI, "GOOGLE_GEMINI_BASE_URL", "GEMINI_API_KEY"),
    ],
)
def test_the_usual_clients_find_the_door_and_a_placeholder(api: ModelApi, address: str, key: str) -> None:
    access = ModelAccess(provider="one", api=api, base_url="http://127.0.0.1:3130", model="m-1", placeholder="stand-in")
    assert access.variables == {
        "CLOISTER_MODEL": "m-1",
        "CLOISTER_MODEL_API": api,
        "CLOISTER_MODEL_BASE_URL": "http://127.0.0.1:3130",
        address: "http://127.0.0.1:3130",
        key: "stand-in",
    }


def test_a_model_that_is_not_chosen_is_not_named() -> None:
    access = ModelAccess(provider="one", api=ModelApi.CHAT, base_url="http://127.0.0.1:3130", placeholder="stand-in")
    assert "CLOISTER_MODEL" not in access.variables
