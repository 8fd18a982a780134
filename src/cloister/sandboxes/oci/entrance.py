"""The process that lets one person into a running container, and holds the door until the person has gone.

Standard library only, run as a program of its own, with a socket to whoever asked. What it is told is a JSON object:
`directory` (of the container's supervisor), `place` (an empty one of ours), `argv` (of the runtime, see
`Runtime.enter`), `hide` (mount points that the runtime must not see), `terminal` (the value of TERM), `state` (see
`Runtime.state_to_enter`; or null).

It answers with one message: `t NUMBER` and the descriptor of our end of the terminal, or `e TEXT`. When the shell is
over it sends `x STATUS`; when whoever asked has gone, the shell gets SIGHUP and soon after is killed.

The runtime is the only program that enters. It has no descriptor of ours but /dev/null, starts at the root directory,
and what it puts in force before anything of the container runs is what the container's own processes have.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
from typing import Any

from cloister.sandboxes.oci import supervisor

SECONDS = 10.0
"""For the runtime, which a container can make slow."""
_PTMX = os.makedev(5, 2)
"""What every end of a terminal like ours is, says Linux's list of devices."""


def main(descriptor: int) -> None:
    """Serve the one who asked, over that descriptor, as nobody's child: they need not wait for us."""
    if os.fork() != 0:
        os._exit(0)
    with socket.socket(fileno=descriptor) as asker:
        order = json.loads(asker.recv(supervisor.REQUEST_BYTES))
        supervisor.become_reaper(b"cloister-enter")
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        with socket.socket(socket.AF_UNIX) as watch:
            try:
                number = _announce(order["directory"], watch)
                shell, terminal = _start(order)
            except (OSError, ValueError) as error:
                asker.send(f"e {error}".encode()[:1000])
                return
            socket.send_fds(asker, [f"t {number}".encode()], [terminal])
            os.close(terminal)
            _hold(asker, shell)


def _announce(directory: str, watch: socket.socket) -> int:
    """Have it noted that somebody enters; the connection is the sign that they are there."""
    watch.settimeout(SECONDS)
    folder = os.open(directory, os.O_PATH)
    try:
        watch.connect(f"/proc/self/fd/{folder}/watch")
    finally:
        os.close(folder)
    watch.send(b"person\n")
    heard = b""
    while b"p" not in heard:
        if not (more := watch.recv(64)):
            raise ValueError("nobody may enter it")
        heard += more
    return int(heard.rpartition(b"p")[2])


def _start(order: dict[str, Any]) -> tuple[int, int]:
    """Return the shell's number, which is our child by now, and our end of its terminal."""
    place = order["place"]
    with open(os.path.join(order["directory"], "shell.json")) as file:
        process = json.load(file)
    others = [pair for pair in process["env"] if not pair.startswith("TERM=")]
    process["env"] = [*others, f"TERM={order['terminal']}"]
    with open(os.path.join(place, "process.json"), "w") as file:
        json.dump(process, file)
    network = _leave_network_out(order["state"], place) if order["state"] else None
    console = supervisor.listen(os.path.join(place, "console"))
    runtime = os.fork()
    if runtime == 0:
        _become_runtime(order, network)
    terminal = _await_terminal(console, runtime)
    status = _wait(runtime, SECONDS)
    if status != 0 or terminal is None:
        raise ValueError(f"the runtime could not enter: {_said(place) or 'it was too slow'}")
    with open(os.path.join(place, "pid")) as file:
        return int(file.read()), terminal


def _leave_network_out(state: str, place: str) -> str:
    """Write a state of the container that leaves its network namespace to us; return where that is."""
    with open(state) as file:
        account = json.load(file)
    network = account["namespace_paths"]["NEWNET"]
    config = account["config"]
    config["namespaces"] = [each for each in config["namespaces"] if each["type"] != "NEWNET"]
    folder = os.path.join(place, "state", os.path.basename(os.path.dirname(state)))
    os.makedirs(folder, mode=0o700)
    with open(os.path.join(folder, "state.json"), "w") as file:
        json.dump(account, file)
    return str(network)


def _become_runtime(order: dict[str, Any], network: str | None) -> None:
    try:
        if network is not None:
            supervisor.join_network(network)
        for path in order["hide"]:
            supervisor.hide_mount(path)
        null = os.open("/dev/null", os.O_RDWR)
        for number in (0, 1, 2):
            os.dup2(null, number)
        os.closerange(3, 256)
        os.execvp(order["argv"][0], order["argv"])
    finally:
        os._exit(127)


def _await_terminal(console: socket.socket, runtime: int) -> int | None:
    """Return our end of the terminal; None when the runtime ends, or takes too long, without one.

    What a container's /dev/ptmx leads to is the container's to choose: only a terminal is taken.
    """
    held = os.pidfd_open(runtime)
    try:
        ready, _, _ = select.select([console.fileno(), held], [], [], SECONDS)
        if console.fileno() not in ready:
            console.close()
            return None
        terminal = supervisor.receive_terminal(console)
    except ValueError:  # it says why in its log, when it has ended
        return None
    finally:
        os.close(held)
    if os.fstat(terminal).st_rdev != _PTMX:
        os.close(terminal)
        return None
    return terminal


def _hold(asker: socket.socket, shell: int) -> None:
    """Wait for the shell's end, or bring it about when the one who asked has gone."""
    held = os.pidfd_open(shell)
    while True:
        ready, _, _ = select.select([held, asker.fileno()], [], [])
        if held in ready:
            break
        if not asker.recv(16):
            signal.pidfd_send_signal(held, signal.SIGHUP)
            if not select.select([held], [], [], supervisor.FAREWELL_SECONDS)[0]:
                signal.pidfd_send_signal(held, signal.SIGKILL)
            break
    status = _wait(shell, None)
    with contextlib.suppress(OSError):
        asker.send(f"x {status}".encode())


def _wait(child: int, seconds: float | None) -> int | None:
    """Return how a child ended, as a shell tells it; None, and it is killed, when it takes longer."""
    held = os.pidfd_open(child)
    try:
        if not select.select([held], [], [], seconds)[0]:
            signal.pidfd_send_signal(held, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
    finally:
        os.close(held)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return code if code >= 0 else 128 - code


def _said(place: str) -> str:
    with contextlib.suppress(OSError), open(os.path.join(place, "runtime.log"), errors="replace") as file:
        return file.read()[-500:].strip()
    return ""


if __name__ == "__main__":
    main(int(sys.argv[1]))
