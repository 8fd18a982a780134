"""Reads a project's own manifests and lock files, and says how its dependencies are installed. Pure."""

from cloister.detection.plan import plan_setup as plan_setup
from cloister.detection.scripts import SetupScripts as SetupScripts
from cloister.detection.scripts import choose_scripts as choose_scripts
from cloister.detection.versions import NOTHING_CHOSEN as NOTHING_CHOSEN
from cloister.detection.versions import Toolchains as Toolchains
from cloister.detection.versions import choose_toolchains as choose_toolchains
