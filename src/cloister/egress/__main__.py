"""The egress process: `python -I -m cloister.egress UID GID`, with the control socket as standard input."""

import codecs
import gc
import os
import socket
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

# Everything is imported before the user changes, who may not be able to read the modules.
from cloister.egress.control import ControlChannel
from cloister.egress.loop import EgressLoop
from cloister.egress.privileges import lock_down
from cloister.egress.server import ORDERED, serve

_OBJECTS_BETWEEN_COLLECTIONS = 50_000
"""A tunnel makes some hundred objects, and hardly a cycle: looking for those so often took a tenth of its time."""

_LOOKUPS_AT_ONCE = 64
"""Threads, none of which is started before it is needed; a few would let one sandbox starve the others."""


def main() -> None:
    """Give up all privileges, then serve the worker on standard input until it is gone."""
    uid, gid = (int(argument) for argument in sys.argv[1:3])
    codecs.lookup("idna")  # imported at the first look-up otherwise
    lock_down(uid, gid)
    control = socket.socket(fileno=os.dup(sys.stdin.fileno()))
    gc.freeze()
    gc.set_threshold(_OBJECTS_BETWEEN_COLLECTIONS)
    loop = EgressLoop()
    loop.set_default_executor(ThreadPoolExecutor(_LOOKUPS_AT_ONCE))
    try:
        loop.run_until_complete(serve(ControlChannel(control, ORDERED)))
    except Exception:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)  # all that is open is reset, and a look-up that hangs keeps nobody waiting


main()
