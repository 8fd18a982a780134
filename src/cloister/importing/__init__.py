"""Reads what a repository says to other services about its environment, and writes it as an environment file. Pure."""

from cloister.importing.convert import CANDIDATES as CANDIDATES
from cloister.importing.convert import convert as convert
from cloister.importing.convert import find_sources as find_sources
from cloister.importing.draft import Note as Note
from cloister.importing.result import ImportedEnvironment as ImportedEnvironment
