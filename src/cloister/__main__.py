"""`python -m cloister` is the command `cloister`."""

from cloister.cli.main import app

app(prog_name="cloister")
