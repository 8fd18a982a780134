import subprocess
from pathlib import Path

from cloister.phases import agent


def test_a_program_finds_what_setup_has_put_into_bashrc_and_gets_its_arguments_as_they_are(tmp_path: Path) -> None:
    bashrc = tmp_path / ".bashrc"
    bashrc.write_text('export PATH="/opt/of setup:$PATH"\n')
    program = ["/usr/bin/env", "sh", "-c", 'echo "$PATH"; echo "$1"; echo "$#"', "x", 'it\'s $HOME "b"', "", "*"]
    given = ["/bin/sh", "-c", agent._AFTER_BASHRC, *program]
    environ = {"PATH": "/usr/bin:/bin", "BASH_ENV": str(bashrc), "HOME": "/nowhere"}
    printed = subprocess.run(given, env=environ, capture_output=True, text=True, check=True).stdout
    assert printed == '/opt/of setup:/usr/bin:/bin\nit\'s $HOME "b"\n3\n'
