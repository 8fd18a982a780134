"""S9 and S10: a whole task with secrets, and where their values are while it runs and afterwards."""

from pathlib import Path

import pytest

from ..system.installation import QUIET, Installation, printed
from .test_secrets_at_rest import CANARIES, _forms, _found

SETUP = """
for name in {names}; do printf '%s=%s\\n' $name "${{!name}}"; printf '%s' "${{!name}}" | base64 -w0; echo; done
printf '%s' "$ASCII" | tee /run/b /dev/shm/c | sha256sum
mkfifo /cloister/out/gate; echo ready; read -r _ </cloister/out/gate
""".format(names=" ".join(CANARIES))


def _environment() -> str:
    names = "\n".join(f"{name} = {{}}" for name in CANARIES)
    setup = QUIET.replace("automatic = false", f"automatic = false\nscript = '''{SETUP}'''")
    return f"name = 'web'\n[secrets]\n{names}\n{setup}"


def test_no_value_is_anywhere_but_in_the_setup_container(installation: Installation) -> None:
    installation.warm = False  # processes are looked at
    for name in ("ASCII", "PEM", "DOCUMENT"):
        assert installation.cloister("secret", "set", "web", name, stdin=CANARIES[name]).code == 0
    installation.variables = {name: CANARIES[name] for name in ("UNICODE", "REGEX")}
    given = [word for name in ("UNICODE", "REGEX") for word in ("--secret-from-env", name)]
    task = installation.task("env; cat /proc/*/environ; ls -R /tmp /run /dev/shm", environment=_environment())
    with installation.started(*task, *given) as command:
        command.until("output", phase="setup", text="ready")
        assert _command_lines() == set()
        assert _found(installation.state) == set()
        attempt = next(event["attempt"] for event in command.events if event["attempt"])
        place = installation.paths.sandbox(attempt)
        # On tmpfs as long as the container lives: what it prints, unmasked, and the runtime's own copy of its order.
        found = {where for _, where in _found(place / "processes") | _found(installation.paths.containers)}
        assert found <= {"setup/output", f"{attempt}.setup/config.json"}
        (place / "root/cloister/out/gate").write_text("go\n")
        ended = command.end()
    assert ended.code == 0, ended
    everything = "".join(str(event) for event in command.events) + ended.stdout + ended.stderr
    assert not [
        name for name, value in CANARIES.items() if any(form.decode("latin-1") in everything for form in _forms(value))
    ]
    assert "ASCII=" not in printed(ended.events)
    assert _found(installation.state) == set()


def _command_lines() -> set[str]:
    """Canaries in the arguments of any process."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            data = file.read_bytes()
        except OSError:
            continue
        found |= {name for name, value in CANARIES.items() if value.encode() in data}
    return found


@pytest.mark.parametrize("name", ["ASCII", "UNICODE"])
def test_a_variable_is_found_by_the_same_search(installation: Installation, name: str) -> None:
    """The twin: a value that is no secret is in the database, and what an agent prints is in the log."""
    environment = "[variables]\n" + f"{name} = '{CANARIES[name]}'\n" + "[setup]\nautomatic = false\n"
    assert installation.cloister(*installation.task(f"echo ${name}", environment=environment)).code == 0
    assert {found for found, _ in _found(installation.state)} == {name}
