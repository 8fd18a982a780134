"""The scripted model: a strict server that speaks the protocols of models, and answers what a file says.

Real agents work against it without a key and without the internet. See docs/how-to/scripted-model.md.
"""

from cloister.testing.script import Script, ScriptError, read_script
from cloister.testing.server import ScriptedModel, open_model

__all__ = ["Script", "ScriptError", "ScriptedModel", "open_model", "read_script"]
