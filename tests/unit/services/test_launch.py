"""What an environment says reaches the launcher as data; the launcher itself is tried in tests/system."""

import string

from hypothesis import given
from hypothesis import strategies as st

from cloister.model.environment import Service
from cloister.model.sandbox import Command
from cloister.services.launch import with_services

ARGUMENT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))
TEXT = ARGUMENT.filter(str.strip)
NAME = st.text(string.ascii_letters + string.digits + "_-", min_size=1, max_size=64).filter(
    lambda it: it[0] not in "_-"
)
SERVICES = st.dictionaries(
    NAME, st.tuples(TEXT, st.none() | TEXT | st.just("tcp:80"), st.floats(0.001, 1e6)), min_size=1, max_size=4
)
AGENT = Command(id="agent", argv=("/bin/bash", "-c", "true"), timeout_seconds=9.0, output_bytes=3 * 1024 * 1024)


def arguments(command: Command) -> list[str]:
    """As `mapfile -d ''` reads them."""
    *found, rest = command.files["services.args"].decode().split("\0")
    assert rest == ""
    return found


def test_without_services_the_command_stays_as_it_is() -> None:
    assert with_services(AGENT, ()) is AGENT


@given(SERVICES, st.lists(ARGUMENT, min_size=1).map(tuple))
def test_nothing_that_is_said_becomes_part_of_a_script_of_ours(
    told: dict[str, tuple[str, str | None, float]], argv: tuple[str, ...]
) -> None:
    given = Command(id="agent", argv=argv, files={"prompt.md": b"x"}, timeout_seconds=9.0, output_bytes=1024 * 1024)
    services = [Service(name=name, command=it[0], ready=it[1], timeout_seconds=it[2]) for name, it in told.items()]
    made, plain = with_services(given, services), with_services(AGENT, [Service(name="a", command="b")])
    assert made.argv == plain.argv
    assert made.files["services.sh"] == plain.files["services.sh"]
    assert made.files["prompt.md"] == b"x"
    for service in services:
        assert made.files[f"service.{service.name}"].decode() == service.command + "\n"
        if service.ready is not None:
            assert made.files[f"ready.{service.name}"].decode() == service.ready + "\n"
    limit, *rest = arguments(made)
    assert limit == "1024"
    for service in services:
        name, ready, hundredths, *rest = rest
        assert name == service.name
        assert ready in ("at-once", "command", "tcp:80")
        assert (ready == "at-once") == (service.ready is None)
        assert hundredths.isdecimal() and int(hundredths) >= 1
    assert rest == ["--", *argv]


def test_all_else_of_the_command_stays_and_the_launchers_words_take_none_of_its_output() -> None:
    made = with_services(AGENT, [Service(name="db", command="postgres", ready="tcp:5432")])
    assert (made.id, made.timeout_seconds, made.cwd, made.stdin) == ("agent", 9.0, "/", b"")
    assert made.output_bytes > AGENT.output_bytes
    assert arguments(made) == ["3072", "db", "tcp:5432", "6000", "--", *AGENT.argv]


def test_only_a_port_is_taken_for_one() -> None:
    for ready in ("tcp:123456", "tcp:80; id", "tcp:٨٠", "tcp:", "TCP:80"):
        assert arguments(with_services(AGENT, [Service(name="db", command="x", ready=ready)]))[2] == "command"
