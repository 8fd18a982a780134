"""What listens in one sandbox's network namespace, and outlives the worker that has it served.

The supervisor of every container that runs there holds the sockets too. So whoever connects while no worker lives is
neither refused nor served: it waits in the kernel's queue for the next worker, who gets them from the supervisor.
"""

import itertools
import os
import socket
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Self

import anyio

from cloister.model.sandbox import NAMES_PORT, PROXY_PORT, TRANSPARENT_PORT
from cloister.protocols import Listeners
from cloister.sandboxes.oci import network
from cloister.sandboxes.oci.process import connect_watch
from cloister.sandboxes.oci.supervisor import MOST_LISTENERS

_ANSWER_SECONDS = 5.0


class Listening:
    """The sockets of a sandbox, and our descriptors of them."""

    def __init__(self, namespace: Path, sockets: network.ListeningSockets) -> None:
        self._namespace = namespace
        self._sockets = sockets
        self._doors: dict[int, Sequence[socket.socket]] = {}

    @classmethod
    async def again(cls, namespace: Path, processes: Path) -> Self:
        """Take over those that a container of the directory `processes` holds; without one, listen anew."""
        by_port = defaultdict[int, list[socket.socket]](list)
        for kept in await _kept_in(processes):
            by_port[kept.getsockname()[1]].append(kept)
        if PROXY_PORT not in by_port:
            return cls(namespace, network.listen_again(namespace))
        own = [tuple(by_port.pop(port, ())) for port in (PROXY_PORT, TRANSPARENT_PORT, NAMES_PORT)]
        listening = cls(namespace, network.ListeningSockets(proxy=own[0], transparent=own[1], names=own[2]))
        listening._doors.update(by_port)
        return listening

    @property
    def catches(self) -> bool:
        """Whether programs that ignore the proxy are led to it."""
        return bool(self._sockets.transparent)

    def duplicates(self, doors: Collection[int]) -> Listeners:
        """Return descriptors of their own to serve, with these doors, which are opened where they were not."""
        for port in doors:  # kept, because a port that somebody listens at cannot be had a second time
            if port not in self._doors:
                self._doors[port] = network.listen_in(self._namespace, port)
        return Listeners(
            proxy=_duplicates(self._sockets.proxy),
            transparent=_duplicates(self._sockets.transparent),
            names=_duplicates(self._sockets.names),
            doors={port: _duplicates(self._doors[port]) for port in doors},
        )

    def descriptors(self) -> Sequence[int]:
        """Return what a supervisor has to hold."""
        return [held.fileno() for held in self._all()][:MOST_LISTENERS]

    def close(self) -> None:
        """Close our own descriptors. Harmless twice."""
        for held in self._all():
            held.close()

    def _all(self) -> Iterable[socket.socket]:
        return (*self._sockets.proxy, *self._sockets.transparent, *self._sockets.names, *self._of_doors())

    def _of_doors(self) -> Iterable[socket.socket]:
        return itertools.chain(*self._doors.values())


async def _kept_in(processes: Path) -> Sequence[socket.socket]:
    for directory in _list(processes):
        with anyio.move_on_after(_ANSWER_SECONDS):  # one that an older version started does not answer
            if kept := await _ask(directory):
                return kept
    return ()


def _list(processes: Path) -> Sequence[Path]:
    return sorted(processes.iterdir())


async def _ask(directory: Path) -> Sequence[socket.socket]:
    watch = connect_watch(directory)
    if watch is None:
        return ()
    with watch:
        try:
            watch.send(b"listeners\n")
            while True:
                await anyio.wait_readable(watch)
                signs, descriptors, _, _ = socket.recv_fds(watch, 4096, MOST_LISTENERS)
                if descriptors or b"l" in signs or not signs:
                    break
        except (BrokenPipeError, ConnectionResetError):
            return ()
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
    return [socket.socket(fileno=descriptor) for descriptor in descriptors]


def _duplicates(listeners: Sequence[socket.socket]) -> tuple[int, ...]:
    return tuple(os.dup(listener.fileno()) for listener in listeners)
