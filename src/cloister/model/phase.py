"""The five phases of an attempt, and what the network and the secrets are in each."""

from enum import StrEnum


class Phase(StrEnum):
    """A phase of an attempt, in the order in which they happen."""

    PROVISION = "provision"
    SETUP = "setup"
    AGENT = "agent"
    OUTPUT = "output"
    TEARDOWN = "teardown"
