import pytest

from cloister.testing import ScriptError, read_script
from cloister.testing.script import Edit


def refusal(text: str) -> str:
    with pytest.raises(ScriptError) as caught:
        read_script(text.encode(), source="turns.toml")
    return str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("turns = [", "turns.toml"),
        ("", "a script has either turns or conversations"),
        ("turns = []", "`turns`"),
        ('turns = [{say = "a"}]\nconversations = [{turns = [{say = "a"}]}]', "either turns or conversations"),
        ("turns = [{}]", "a turn needs an answer: one of run, edit, write, error and say"),
        ('turns = [{run = "a", write = {path = "b", text = ""}}]', "this one has run and write"),
        ('turns = [{runs = "a"}]', "unknown key `turns.runs`"),
        ('turns = [{say = "a", expect = {prompts = "b"}}]', "prompts"),
        ("turns = [{error = {status = 200}}]", "greater than or equal to 400"),
        ('turns = [{say = 1}]', "turns.say"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_played_is_refused(text: str, said: str) -> None:
    assert said in refusal(text)


def test_a_script_is_read() -> None:
    script = read_script(
        b"""
        key = "k"
        [[conversations]]
        times = 2
        [[conversations.turns]]
        expect = { prompt = "fix", result = ["a", "b"], status = 1 }
        edit = { path = "a", old = "b", new = "c" }
        [[conversations]]
        turns = [{ say = "done", delay_seconds = 1 }]
        """,
        source="turns.toml",
    )
    one, two, three = script.played
    assert one == two
    assert one[0].edit == Edit(path="a", old="b", new="c")
    assert one[0].expect.prompt == ("fix",)
    assert one[0].expect.result == ("a", "b")
    assert three[0].say == "done"
