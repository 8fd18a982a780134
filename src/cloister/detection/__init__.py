"""Reads a project's own manifests and lock files, and says how its dependencies are installed. Pure."""

from cloister.detection.plan import plan_setup as plan_setup
from cloister.detection.scripts import SetupScripts as SetupScripts
from cloister.detection.scripts import choose_scripts as choose_scripts
